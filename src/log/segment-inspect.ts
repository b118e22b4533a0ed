/**
 * Looks at a segment object by itself, without the journal: header, then sections from the end by their
 * trailers, each footer, each block. For scrubbing and for people; says everything that is wrong and
 * never stops at the first.
 */
import { crc32c } from "../base/crc32c.ts";
import { MalformedError } from "../base/errors.ts";
import {
  checksumSeed,
  decodeFooter,
  decodeObjectHeader,
  decodeTrailer,
  ObjectKind,
  objectHeaderBytes,
  objectKey,
  peekFooter,
  type SegmentFooter,
  trailerBytes,
} from "./segment-format.ts";

export interface ObjectInspection {
  /** In the order in which they lie. */
  readonly sections: readonly { readonly start: number; readonly footer: SegmentFooter }[];
  /** One sentence for everything that is wrong; empty: the object is whole. */
  readonly damage: readonly string[];
}

/** `key`: under which name the object was found. */
export function inspectObject(key: string, bytes: Uint8Array): ObjectInspection {
  const sections: { start: number; footer: SegmentFooter }[] = [];
  const damage: string[] = [];
  try {
    const header = decodeObjectHeader(bytes);
    if (header.kind !== ObjectKind.segment) throw new MalformedError("it is no segment");
    if (objectKey(header.epoch, header.counter) !== key)
      throw new MalformedError("it has another name inside");
    const bodyBytes = bytes.byteLength - objectHeaderBytes;
    if (bodyBytes !== header.bodyBytes) {
      throw new MalformedError(`it has ${bodyBytes} bytes behind its header instead of ${header.bodyBytes}`);
    }
  } catch (cause) {
    damage.push(`${key}: ${reasonOf(cause)}.`);
  }
  for (let end = bytes.byteLength; end > objectHeaderBytes; ) {
    try {
      const section = readSection(bytes, end);
      sections.unshift(section);
      damage.push(...damagedBlocks(key, bytes, section));
      end = section.start;
    } catch (cause) {
      damage.push(`${key}: the section that ends at byte ${end} cannot be read: ${reasonOf(cause)}.`);
      break;
    }
  }
  return { sections, damage };
}

function reasonOf(cause: unknown): string {
  if (cause instanceof MalformedError) return cause.message;
  throw cause;
}

function readSection(bytes: Uint8Array, end: number): { start: number; footer: SegmentFooter } {
  const room = end - objectHeaderBytes;
  if (room < trailerBytes) throw new MalformedError("there is no room for a trailer");
  const trailer = decodeTrailer(bytes.subarray(end - trailerBytes, end));
  const { sectionBytes, footerBytes, checksum } = trailer;
  if (footerBytes < 0 || sectionBytes < footerBytes + trailerBytes || sectionBytes > room) {
    throw new MalformedError("its trailer is damaged");
  }
  const footerEnd = end - trailerBytes;
  const raw = bytes.subarray(footerEnd - footerBytes, footerEnd);
  const claimed = peekFooter(raw);
  return { start: end - sectionBytes, footer: decodeFooter(raw, { ...claimed, checksum }) };
}

function damagedBlocks(
  key: string,
  bytes: Uint8Array,
  { start, footer }: { readonly start: number; readonly footer: SegmentFooter },
): readonly string[] {
  const damage: string[] = [];
  for (const [i, block] of footer.blocks.entries()) {
    const at = start + block.start;
    const part = bytes.subarray(at, at + block.bytes);
    if (crc32c(part, checksumSeed(footer, block.base)) === block.checksum) continue;
    const to = footer.blocks[i + 1]?.base ?? footer.end;
    damage.push(
      `${key}: offsets ${block.base} to ${to} of partition ${footer.partition} of topic ${footer.topicId}, ` +
        `at byte ${at}, fail their checksum.`,
    );
  }
  return damage;
}
