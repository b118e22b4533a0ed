/**
 * Reads again what lies in segments, slowly and in a circle, so that damage is known while a copy of the
 * bytes may still exist, and not when somebody needs them. Every list, footer and block is held against its
 * checksum; what fails is named by topic, partition, offsets and object, once. Nothing is changed or
 * deleted, and no cache of readers is used or filled.
 */
import { DamageError } from "../base/errors.ts";
import type { Offset } from "../base/ids.ts";
import type { Env, ObjectStore, Timer } from "../base/ports.ts";
import { BlockLoader } from "./block-loader.ts";
import { Pace, PaceClosedError } from "./pace.ts";
import type { SegmentFooter } from "./segment-format.ts";
import { tookNoEffect } from "./object-writer.ts";
import { ObjectGoneError, SegmentIndex, type SegmentSource } from "./segment-index.ts";
import type { SegmentRef } from "./segment-ref.ts";

export interface ScrubSource extends SegmentSource {
  readonly logStart: Offset;
}

export interface ScrubOptions {
  readonly env: Env;
  readonly store: ObjectStore;
  /** The one that readers use: what is read here is in use there, so that it is not deleted meanwhile. */
  readonly index: Pick<SegmentIndex, "inUse">;
  readonly sources: () => Iterable<ScrubSource>;
  /** Asked at each use. `intervalMs`: from the end of one round to the next; −1: none. */
  readonly settings: () => { readonly intervalMs: number; readonly bytesPerSecondMax: number };
  /** As in `SegmentReaderOptions`: what is gone is damage only if a fresh view still names it. */
  readonly refresh?: () => Promise<void>;
  /** The store failed for good. */
  readonly onFailure: (cause: Error) => void;
}

/** So many blocks are read together: about 1 MiB. */
const blocksAtOnce = 16;
/** Nothing that was read is to be found again. */
const cacheBytes = 0;
/** The first round begins so soon after a start, at the latest. */
const firstMsMax = 3_600_000;
/** Whether scrubbing was switched on is looked at so often. */
const offMs = 60_000;
/** So many findings are remembered as reported. */
const reportedMax = 10_000;

export class Scrub {
  readonly #options: ScrubOptions;
  readonly #index: SegmentIndex;
  readonly #loader: BlockLoader;
  readonly #reported = new Set<string>();
  #timer: Timer | null = null;
  #running: Promise<void> | null = null;
  readonly #pace: Pace;
  readonly #bytes;
  readonly #damaged;

  constructor(options: ScrubOptions) {
    this.#options = options;
    const { env, store } = options;
    this.#index = new SegmentIndex(store, cacheBytes, {
      error: (_, facts) => this.#report(facts?.["cause"]),
    });
    this.#loader = new BlockLoader(store, cacheBytes);
    this.#pace = new Pace(env.clock, () => options.settings().bytesPerSecondMax);
    this.#bytes = env.meter.counter("holdfast_scrub_bytes", "Bytes of segments that were read again");
    this.#damaged = env.meter.counter("holdfast_scrub_damaged_total", "Damaged places that scrubbing found");
  }

  start(): void {
    const { intervalMs } = this.#options.settings();
    this.#arm(intervalMs < 0 ? offMs : Math.min(intervalMs, firstMsMax));
  }

  #arm(delayMs: number): void {
    if (this.#pace.isClosed) return;
    this.#timer = this.#options.env.clock.schedule(delayMs, () => {
      this.#running = this.round()
        .catch((cause: unknown) => this.#failed(cause as Error))
        .finally(() => {
          this.#running = null;
          const { intervalMs } = this.#options.settings();
          this.#arm(intervalMs < 0 ? offMs : intervalMs);
        });
    });
  }

  #failed(cause: Error): void {
    const { env, onFailure } = this.#options;
    if (tookNoEffect(cause)) return env.log.warn("scrub.retried", { cause });
    this.#pace.close();
    onFailure(cause);
  }

  async close(): Promise<void> {
    this.#pace.close();
    this.#timer?.cancel();
    await this.#running;
  }

  /** Reads everything once. Rejects with what the store rejects with. */
  async round(): Promise<void> {
    if (this.#options.settings().intervalMs < 0) return;
    try {
      for (const source of this.#options.sources()) {
        await this.#pace.spend(0);
        await this.#scrub(source);
      }
    } catch (cause) {
      if (!(cause instanceof PaceClosedError)) throw cause;
    }
  }

  async #scrub(source: ScrubSource): Promise<void> {
    const refs = await this.#refsOf(source);
    for (const ref of refs ?? []) {
      const release = this.#options.index.inUse.hold(ref.object);
      try {
        await this.#scrubSegment(source, ref);
      } catch (cause) {
        if (!(cause instanceof DamageError)) throw cause;
        if (!(cause instanceof ObjectGoneError) || (await this.#isNamed(source, ref))) this.#report(cause);
      } finally {
        release();
      }
    }
  }

  /** Null: its list cannot be read, which is reported. */
  async #refsOf(source: ScrubSource): Promise<readonly SegmentRef[] | null> {
    try {
      return await this.#index.from(source, source.logStart);
    } catch (cause) {
      if (!(cause instanceof DamageError)) throw cause;
      if (!(cause instanceof ObjectGoneError)) this.#report(cause);
      return null;
    }
  }

  /** Whether the journal still names it: an object that was exchanged meanwhile may be gone. */
  async #isNamed(source: ScrubSource, ref: SegmentRef): Promise<boolean> {
    await this.#options.refresh?.();
    return (await this.#refsOf(source))?.some(({ object }) => object === ref.object) ?? true;
  }

  async #scrubSegment(source: ScrubSource, ref: SegmentRef): Promise<void> {
    const footer = await this.#index.footer(source, ref);
    await this.#spend(ref.footerBytes);
    for (let first = 0; first < footer.blocks.length; first += blocksAtOnce) {
      const end = Math.min(footer.blocks.length, first + blocksAtOnce);
      await this.#spend(await this.#scrubBlocks(source, ref, footer, first, end));
    }
  }

  /** How many bytes were read. */
  async #scrubBlocks(
    source: ScrubSource,
    ref: SegmentRef,
    footer: SegmentFooter,
    first: number,
    end: number,
  ): Promise<number> {
    let bytes = 0;
    for (const block of await this.#loader.load(source, ref, footer, first, end)) {
      if (block.kind === "damaged") this.#report(block.error);
      else {
        bytes += block.bytes.byteLength;
        block.loan?.release();
      }
    }
    return bytes;
  }

  #spend(bytes: number): Promise<void> {
    this.#bytes.add(bytes);
    return this.#pace.spend(bytes);
  }

  #report(cause: unknown): void {
    const { message } = cause as Error;
    if (this.#reported.has(message)) return;
    if (this.#reported.size === reportedMax) this.#reported.clear();
    this.#reported.add(message);
    this.#damaged.add(1);
    this.#options.env.log.error("scrub.damaged", { cause });
  }
}
