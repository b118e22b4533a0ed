/**
 * Looks at a segment object by itself, without the journal: header, then sections from the end by their
 * trailers, each footer, each block. For scrubbing and for people; says everything that is wrong and
 * never stops at the first.
 */
import { crc32c } from "../base/crc32c.ts";
import { MalformedError } from "../base/errors.ts";
import {
  blockPosition,
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
  readonly sections: readonly InspectedSection[];
  /** One sentence for everything that is wrong; empty: the object is whole. */
  readonly damage: readonly string[];
}

export interface InspectedSection {
  readonly start: number;
  readonly footerBytes: number;
  readonly footer: SegmentFooter;
}

/** `key`: under which name the object was found. */
export function inspectObject(key: string, bytes: Uint8Array): ObjectInspection {
  const sections: Section[] = [];
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
      for (const what of section.damage) damage.push(`${key}: ${what}.`);
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

interface Section extends InspectedSection {
  readonly damage: readonly string[];
}

/** Throws `MalformedError` when neither footer can be read. */
function readSection(bytes: Uint8Array, end: number): Section {
  const room = end - objectHeaderBytes;
  if (room < trailerBytes) throw new MalformedError("there is no room for a trailer");
  const { sectionBytes, footerBytes, checksum } = decodeTrailer(bytes.subarray(end - trailerBytes, end));
  if (footerBytes < 0 || sectionBytes < 2 * footerBytes + trailerBytes || sectionBytes > room) {
    throw new MalformedError("its trailer is damaged");
  }
  const start = end - sectionBytes;
  const damage: string[] = [];
  let footer: SegmentFooter | null = null;
  let why: unknown;
  for (const at of [start, end - trailerBytes - footerBytes]) {
    try {
      const raw = bytes.subarray(at, at + footerBytes);
      footer = decodeFooter(raw, { ...peekFooter(raw), checksum });
    } catch (cause) {
      why = cause;
      damage.push(`the footer at byte ${at} is damaged: ${reasonOf(cause)}`);
    }
  }
  if (footer === null) throw why;
  const blocks = damagedBlocks(bytes, { sectionStart: start, footerBytes }, footer);
  return { start, footerBytes, footer, damage: [...damage, ...blocks] };
}

function damagedBlocks(
  bytes: Uint8Array,
  section: { readonly sectionStart: number; readonly footerBytes: number },
  footer: SegmentFooter,
): readonly string[] {
  const damage: string[] = [];
  for (const [i, block] of footer.blocks.entries()) {
    const at = blockPosition(section, block);
    const part = bytes.subarray(at, at + block.bytes);
    if (crc32c(part, checksumSeed(footer, block.base)) === block.checksum) continue;
    const to = footer.blocks[i + 1]?.base ?? footer.end;
    damage.push(
      `offsets ${block.base} to ${to} of partition ${footer.partition} of topic ${footer.topicId}, ` +
        `at byte ${at}, fail their checksum`,
    );
  }
  return damage;
}
