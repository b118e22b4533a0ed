/**
 * Whether everything that partitions refer to is in the store and as it was written: lists, footers, and
 * where it is asked for every block. Brokers may be at work: what is gone is damage only if the journal, read
 * again, still names it.
 */
import { DamageError, MalformedError } from "../../base/errors.ts";
import { type PartitionIndex, type TopicId } from "../../base/ids.ts";
import type { ObjectStore } from "../../base/ports.ts";
import { BlockLoader } from "../../log/block-loader.ts";
import { decodeObjectHeader, objectHeaderBytes, objectKey } from "../../log/segment-format.ts";
import { ObjectGoneError, SegmentIndex, type SegmentSource } from "../../log/segment-index.ts";
import { isListed } from "../../log/segment-list.ts";
import type { SegmentRef } from "../../log/segment-ref.ts";
import type { ClusterState, PartitionState } from "../state.ts";
import { type Damage, damage } from "./finding.ts";

export interface SegmentCheckOptions {
  readonly store: ObjectStore;
  readonly state: () => ClusterState;
  /** Brings `state` up to date. */
  readonly refresh: () => Promise<void>;
  /** Bytes of the objects that a listing showed. */
  readonly listed: ReadonlyMap<string, number>;
  /** Whether every byte is read, or only what says where the records are. */
  readonly contents: boolean;
}

interface Place {
  readonly topic: string;
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
}

/** Partitions that are looked at together. */
const partitionsAtOnce = 8;
const blocksAtOnce = 16;
const indexBytesMax = 16 * 1024 * 1024;

export class SegmentCheck {
  readonly #options: SegmentCheckOptions;
  readonly #index: SegmentIndex;
  readonly #loader: BlockLoader;
  readonly #found: Damage[] = [];
  /** Sections and objects that were looked at. */
  readonly #checked = new Set<string>();
  /** Everything that partitions refer to, as far as it could be read. */
  readonly referenced = new Set<string>();
  /** A list could not be read: what it names is not in `referenced`. */
  isIncomplete = false;
  segments = 0;
  readBytes = 0;

  constructor(options: SegmentCheckOptions) {
    this.#options = options;
    this.#index = new SegmentIndex(options.store, indexBytesMax, {
      // Readers go on with the copy of a footer; that one of both is damaged is told all the same.
      error: (_, facts) => this.#noteError(facts?.["cause"] as Error),
    });
    this.#loader = new BlockLoader(options.store, 0);
  }

  async *run(): AsyncGenerator<Damage, void, void> {
    const places: Place[] = [];
    for (const { id, name, partitions } of this.#options.state().topics.values()) {
      for (const { index } of partitions) places.push({ topic: name, topicId: id, partition: index });
    }
    for (let at = 0; at < places.length; at += partitionsAtOnce) {
      await Promise.all(places.slice(at, at + partitionsAtOnce).map((place) => this.#partition(place)));
      yield* this.#found.splice(0);
    }
  }

  /** As often as the journal moves on under the reading. */
  async #partition(place: Place): Promise<void> {
    let isNewest = false;
    for (;;) {
      const state = this.#options.state().topics.get(place.topicId)?.partitions[place.partition];
      if (state === undefined) return;
      try {
        return await this.#state(place, state, isNewest);
      } catch (cause) {
        if (!(cause instanceof ObjectGoneError)) throw cause;
      }
      await this.#options.refresh();
      isNewest = this.#options.state().topics.get(place.topicId)?.partitions[place.partition] === state;
    }
  }

  /** `isNewest`: what is gone is damage; else it is thrown, and asked again by a fresh view. */
  async #state(place: Place, state: PartitionState, isNewest: boolean): Promise<void> {
    const source: SegmentSource = { ...place, segments: () => state };
    const refs = await this.#refs(source, state, isNewest);
    for (const ref of refs) {
      const name = `${ref.object}@${ref.sectionStart}`;
      if (this.#checked.has(name)) continue;
      await this.#orDamage(ref.object, isNewest, () => this.#segment(place, source, ref));
      this.#checked.add(name);
      this.segments++;
    }
    const newest = refs.at(-1);
    if (newest !== undefined && newest.end !== state.flushed) {
      this.#note(
        newest.object,
        `segments of ${place.topic}-${place.partition} end at offset ${newest.end}, and by the journal at ${state.flushed}`,
      );
    }
  }

  /** Every reference that reaches above the log start, ascending. */
  async #refs(
    source: SegmentSource,
    { folded, recent, start }: PartitionState,
    isNewest: boolean,
  ): Promise<readonly SegmentRef[]> {
    const parts = [recent];
    // What lies wholly below the start may be gone, and is referred to all the same.
    for (let pointer = folded; pointer !== null; ) {
      const { object } = pointer;
      this.referenced.add(object);
      const at = pointer;
      const list = await this.#orDamage(object, isNewest || !isListed(at, start), () =>
        this.#index.list(source, at),
      );
      if (list === null) {
        this.isIncomplete = true;
        break;
      }
      parts.push(list.segments);
      pointer = list.previous;
    }
    const refs = parts.reverse().flat();
    for (const { object } of refs) this.referenced.add(object);
    return refs.filter((ref) => ref.end > start || ref === refs.at(-1));
  }

  /** Null: damaged, which is noted. */
  async #orDamage<T>(object: string, isNewest: boolean, work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (cause) {
      if (!(cause instanceof DamageError)) throw cause;
      if (cause instanceof ObjectGoneError && !isNewest) throw cause;
      this.#note(object, cause.message.replace(/\.$/, ""));
      return null;
    }
  }

  async #segment(place: Place, source: SegmentSource, ref: SegmentRef): Promise<void> {
    const { contents, listed } = this.#options;
    const bytes = listed.get(ref.object);
    if (bytes !== undefined && bytes < ref.sectionStart + ref.sectionBytes) {
      const what = `offsets ${ref.base} to ${ref.end - 1} of ${place.topic}-${place.partition}`;
      this.#note(
        ref.object,
        `it has ${bytes} bytes, and ${what} end at byte ${ref.sectionStart + ref.sectionBytes}`,
      );
    }
    const footer = await this.#index.footer(source, ref);
    this.readBytes += ref.footerBytes;
    if (!contents) return;
    await this.#header(ref.object, bytes);
    for (let first = 0; first < footer.blocks.length; first += blocksAtOnce) {
      const end = Math.min(footer.blocks.length, first + blocksAtOnce);
      for (const block of await this.#loader.load(source, ref, footer, first, end)) {
        if (block.kind === "damaged") {
          this.#note(ref.object, block.error.message.replace(/\.$/, ""));
          continue;
        }
        this.readBytes += block.bytes.byteLength;
        block.loan?.release();
      }
    }
  }

  /** Readers do not need it: it tells people, and this check, whose object it is. */
  async #header(object: string, bytes: number | undefined): Promise<void> {
    if (this.#checked.has(object)) return;
    this.#checked.add(object);
    const head = await this.#options.store.get(object, { start: 0, length: objectHeaderBytes });
    if (head === null) return;
    try {
      const { epoch, counter, clusterId, bodyBytes } = decodeObjectHeader(head);
      const own = objectKey(epoch, counter);
      if (own !== object) this.#note(object, `by its header it is ${own}`);
      if (clusterId !== this.#options.state().clusterId)
        this.#note(object, `it belongs to cluster ${clusterId}`);
      const whole = bodyBytes + objectHeaderBytes;
      if (bytes !== undefined && bytes !== whole) {
        this.#note(object, `it has ${bytes} bytes, and ${whole} by its header`);
      }
    } catch (cause) {
      if (!(cause instanceof MalformedError)) throw cause;
      this.#note(object, cause.message);
    }
  }

  #noteError(cause: Error): void {
    const object = /seg\/\d+\/\d+/.exec(cause.message)?.[0] ?? "seg/";
    this.#note(object, cause.message.replace(/\.$/, ""));
  }

  #note(object: string, reason: string): void {
    this.#found.push(damage(object, reason));
  }
}
