/**
 * Footers and folded lists of all partitions, read when needed and kept under a bound in bytes: the way
 * from an offset to the segment that has it. Only what passed its checksum is kept.
 */
import { DamageError, MalformedError } from "../base/errors.ts";
import type { Offset } from "../base/ids.ts";
import type { Logger, ObjectStore } from "../base/ports.ts";
import { ByteLru } from "./block-cache.ts";
import { ObjectsInUse } from "./objects-in-use.ts";
import { decodeFooter, type SectionIdentity, type SegmentFooter, trailerBytes } from "./segment-format.ts";
import {
  decodeList,
  findSegment,
  isListed,
  type PartitionSegments,
  type SegmentList,
} from "./segment-list.ts";
import type { ListPointer, SegmentRef } from "./segment-ref.ts";

/** A partition whose segments are to be read. */
export interface SegmentSource extends SectionIdentity {
  /** As the journal has them at this moment; asked again when an object is gone. */
  segments(): PartitionSegments;
}

/** Something is referred to and not there: out of date, if fresh references name another object, and else damage. */
export class ObjectGoneError extends DamageError {}

/** A footer or list takes about so many times its bytes when decoded. */
const decodedWeight = 4;

const silent = { error: () => undefined };

export class SegmentIndex {
  /** Who reads an object that was found here holds it, so that it is not deleted meanwhile. */
  readonly inUse = new ObjectsInUse();
  readonly #store: ObjectStore;
  readonly #log: Pick<Logger, "error">;
  readonly #footers: ByteLru<Promise<SegmentFooter>>;
  readonly #lists: ByteLru<Promise<SegmentList>>;

  constructor(store: ObjectStore, bytesMax: number, log: Pick<Logger, "error"> = silent) {
    this.#store = store;
    this.#log = log;
    this.#footers = new ByteLru(bytesMax / 2);
    this.#lists = new ByteLru(bytesMax / 2);
  }

  get bytes(): number {
    return this.#footers.bytes + this.#lists.bytes;
  }

  /** Throws `DamageError`. */
  footer(identity: SectionIdentity, ref: SegmentRef): Promise<SegmentFooter> {
    const key = `${ref.object}@${ref.sectionStart}`;
    const weight = ref.footerBytes * decodedWeight + 256;
    return remembered(this.#footers, key, weight, () => this.#loadFooter(identity, ref));
  }

  /** One list object, without the one that it goes on from. Throws `DamageError`. */
  list(identity: SectionIdentity, pointer: ListPointer): Promise<SegmentList> {
    const weight = pointer.bytes * decodedWeight;
    return remembered(this.#lists, pointer.object, weight, () => this.#loadList(identity, pointer));
  }

  /** The segment with the first record at or above `offset`; null: there is none. Throws `DamageError` for a list. */
  async locate(source: SegmentSource, offset: Offset): Promise<SegmentRef | null> {
    const { folded, recent } = source.segments();
    let after = recent;
    for (let pointer = folded; isListed(pointer, offset); ) {
      const { previous, segments } = await this.list(source, pointer);
      if (isListed(previous, offset)) {
        after = segments;
        pointer = previous;
        continue;
      }
      const found = segments[findSegment(segments, offset)];
      if (found !== undefined) return found;
      break;
    }
    return after[findSegment(after, offset)] ?? null;
  }

  /** All references that reach above `from`, ascending. Throws `DamageError` for a list. */
  async from(source: SegmentSource, from: Offset): Promise<readonly SegmentRef[]> {
    const { folded, recent } = source.segments();
    const parts = [recent];
    for (let pointer = folded; isListed(pointer, from); ) {
      const { previous, segments } = await this.list(source, pointer);
      parts.push(segments);
      pointer = previous;
    }
    return parts
      .reverse()
      .flat()
      .filter((ref) => ref.end > from);
  }

  /** The newest reference with its footer: what the partition is. Null: it has no segment. Throws `DamageError`. */
  async newest(
    source: SegmentSource,
  ): Promise<{ readonly ref: SegmentRef; readonly footer: SegmentFooter } | null> {
    const { folded, recent } = source.segments();
    const ref =
      recent.at(-1) ?? (folded === null ? undefined : (await this.list(source, folded)).segments.at(-1));
    return ref === undefined ? null : { ref, footer: await this.footer(source, ref) };
  }

  /** The footer at the section's end, or else its copy at the beginning. */
  async #loadFooter(identity: SectionIdentity, ref: SegmentRef): Promise<SegmentFooter> {
    const atEnd = ref.sectionStart + ref.sectionBytes - trailerBytes - ref.footerBytes;
    const footer = await this.#readFooter(identity, ref, atEnd);
    if (!(footer instanceof DamageError)) return footer;
    const copy = await this.#readFooter(identity, ref, ref.sectionStart);
    if (copy instanceof DamageError) throw footer;
    this.#log.error("segment.footer.damaged", { cause: footer });
    return copy;
  }

  async #readFooter(
    identity: SectionIdentity,
    ref: SegmentRef,
    start: number,
  ): Promise<SegmentFooter | DamageError> {
    const bytes = await this.#store.get(ref.object, { start, length: ref.footerBytes });
    if (bytes === null) throw goneError(identity, ref);
    try {
      if (bytes.byteLength < ref.footerBytes) throw new MalformedError("the object ends inside the footer");
      return decodeFooter(bytes, { ...identity, base: ref.base, end: ref.end, checksum: ref.footerChecksum });
    } catch (cause) {
      if (!(cause instanceof MalformedError)) throw cause;
      const what = `Offsets ${ref.base} to ${ref.end} of ${nameOf(identity)} in ${ref.object}`;
      return new DamageError(`${what} cannot be found there: ${cause.message}.`, { cause });
    }
  }

  async #loadList(identity: SectionIdentity, pointer: ListPointer): Promise<SegmentList> {
    const bytes = await this.inUse.during(pointer.object, () => this.#store.get(pointer.object));
    if (bytes === null) {
      throw new ObjectGoneError(`The segment list ${pointer.object} of ${nameOf(identity)} is gone.`);
    }
    return decodeList(bytes, identity, pointer);
  }
}

/** One load at a time for each key; a failed one is forgotten. */
function remembered<T>(
  cache: ByteLru<Promise<T>>,
  key: string,
  weight: number,
  load: () => Promise<T>,
): Promise<T> {
  const known = cache.get(key);
  if (known !== undefined) return known;
  const loading = load();
  cache.put(key, loading, weight);
  loading.catch(() => cache.delete(key));
  return loading;
}

export function goneError(identity: SectionIdentity, ref: SegmentRef): ObjectGoneError {
  return new ObjectGoneError(
    `${ref.object} is gone; it held offsets ${ref.base} to ${ref.end} of ${nameOf(identity)}.`,
  );
}

export const nameOf = (identity: SectionIdentity): string =>
  `partition ${identity.partition} of topic ${identity.topicId}`;
