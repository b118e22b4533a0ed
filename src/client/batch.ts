/**
 * One batch of a producer, from its first record to its outcome. It has one promise for all its records,
 * which always resolves, also with a failure: what is derived from it for a record rejects, and so a
 * failure that nobody handles is the process's unhandled rejection.
 */
import { assert } from "../base/assert.ts";
import type { ProducerEpoch, ProducerId } from "../base/ids.ts";
import { BatchView } from "../record/batch.ts";
import { BatchWriter, byteLengthOf, stampProducer } from "../record/batch-writer.ts";
import { recordsIn } from "../record/record.ts";
import { DeliveryError, type Fate } from "./errors.ts";
import type { Lane } from "./lane.ts";
import type { ProducerSettings } from "./producer-settings.ts";
import type { Acknowledgement, RecordMetadata } from "./records.ts";

export type Outcome =
  /** `logAppendTimeMs` −1: the records keep their own times. `baseOffset` −1: not told. */
  | { readonly kind: "written"; readonly baseOffset: number; readonly logAppendTimeMs: number }
  | { readonly kind: "failed"; readonly fate: Fate; readonly cause: Error }
  /** The batch was too large and went as two, of which the first has `count` records. */
  | { readonly kind: "split"; readonly count: number; readonly first: Outcome; readonly second: Outcome };

type SealSettings = Pick<ProducerSettings, "codec" | "compressionLevel" | "transactionalId">;

/** Of what a producer wrote itself; a bound that only a bug could reach. */
const inflatedBytesMax = 2 ** 31 - 1;

export class Batch {
  readonly lane: Lane;
  readonly outcome: Promise<Outcome>;
  readonly writer: BatchWriter;
  /** On the monotonic clock: given up then. */
  readonly deadlineMs: number;
  /** Takes no more records. */
  closed = false;
  /** −1: not given yet. */
  sequence = -1;
  /** An attempt may have been carried out without our knowing. */
  inDoubt = false;
  attempts = 0;
  /** Memory that the producer's buffer counts for it. */
  chargedBytes: number;
  /** The broker acknowledged it, and it is settled after one before it; null otherwise. */
  acknowledged: Outcome | null = null;
  lastCause: Error | null = null;
  #settle: (outcome: Outcome) => void = () => undefined;
  #result: Outcome | null = null;
  /** Called synchronously, so that what is settled after it is told after it. */
  #onSettled: () => void = () => undefined;
  #bytes: Uint8Array | null = null;
  #stamped = false;

  constructor(lane: Lane, writer: BatchWriter, deadlineMs: number) {
    this.lane = lane;
    this.writer = writer;
    this.deadlineMs = deadlineMs;
    this.chargedBytes = writer.capacity;
    this.outcome = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  get settled(): boolean {
    return this.#result !== null;
  }

  get recordCount(): number {
    return this.writer.recordCount;
  }

  /** Ends the filling; compresses. Returns by how much the memory that it takes has changed. */
  seal({ codec, compressionLevel, transactionalId }: SealSettings): number {
    if (this.#bytes !== null) return 0;
    this.closed = true;
    this.#bytes = this.writer.finish(codec, compressionLevel, transactionalId !== null);
    const change = this.#bytes.buffer.byteLength - this.chargedBytes;
    this.chargedBytes += change;
    return change;
  }

  /** The sealed bytes as they are sent. */
  get bytes(): Uint8Array {
    assert(this.#bytes !== null, "a batch is sealed before it is sent");
    return this.#bytes;
  }

  /** Gives the batch its place in the producer's sequence; for retries it stays. */
  stamp(id: ProducerId, epoch: ProducerEpoch, sequence: number): void {
    // What an earlier attempt sent may still be on its way out of this process: it is left as it was.
    if (this.#stamped) this.#bytes = new Uint8Array(this.bytes);
    this.#stamped = true;
    this.sequence = sequence;
    stampProducer(this.bytes, id, epoch, sequence);
  }

  settle(outcome: Outcome): void {
    if (this.settled) return;
    this.#result = outcome;
    this.#settle(outcome);
    this.#onSettled();
  }

  /** The same records as two batches of half as many, not sealed; their outcomes become this one's. */
  split(batchBytes: number): [Batch, Batch] {
    assert(this.recordCount > 1, "a batch of one record cannot be split");
    const count = this.recordCount >> 1;
    const [first, second] = [count, this.recordCount - count].map(
      () => new Batch(this.lane, new BatchWriter(batchBytes, this.bytes.byteLength >> 1), this.deadlineMs),
    ) as [Batch, Batch];
    let index = 0;
    for (const { key, value, headers, timestamp } of recordsIn(BatchView.at(this.bytes), inflatedBytesMax)) {
      const into = index++ < count ? first : second;
      into.writer.append(key, byteLengthOf(key), value, byteLengthOf(value), headers, timestamp);
    }
    const settleBoth = (): void => {
      const [one, two] = [first.#result, second.#result];
      if (one !== null && two !== null) this.settle({ kind: "split", count, first: one, second: two });
    };
    first.#onSettled = second.#onSettled = settleBoth;
    return [first, second];
  }

  /** What a record's promise gives. Throws `DeliveryError`. */
  metadataOf(outcome: Outcome, index: number, timestampMs: number): RecordMetadata {
    let at = index;
    let part = outcome;
    while (part.kind === "split") {
      if (at < part.count) part = part.first;
      else {
        at -= part.count;
        part = part.second;
      }
    }
    if (part.kind === "failed") throw this.#failure(part);
    const { baseOffset, logAppendTimeMs } = part;
    return {
      topic: this.lane.topic,
      partition: this.lane.partition,
      offset: baseOffset < 0 ? -1 : baseOffset + at,
      timestampMs: logAppendTimeMs < 0 ? timestampMs : logAppendTimeMs,
    };
  }

  /** What became of the `count` records from `from` on: runs that are written, and failures. */
  runsOf(
    outcome: Outcome,
    from: number,
    count: number,
  ): { written: Acknowledgement[]; failed: DeliveryError[] } {
    if (outcome.kind === "split") {
      const inFirst = Math.max(0, Math.min(count, outcome.count - from));
      const first = inFirst === 0 ? nothing() : this.runsOf(outcome.first, from, inFirst);
      const left = count - inFirst;
      if (left === 0) return first;
      const second = this.runsOf(outcome.second, Math.max(0, from - outcome.count), left);
      return {
        written: [...first.written, ...second.written],
        failed: [...first.failed, ...second.failed],
      };
    }
    if (outcome.kind === "failed") return { written: [], failed: [this.#failure(outcome, count)] };
    const { topic, partition } = this.lane;
    const offset = outcome.baseOffset < 0 ? -1 : outcome.baseOffset + from;
    return { written: [{ topic, partition, offset, recordCount: count }], failed: [] };
  }

  #failure(outcome: Outcome & { kind: "failed" }, recordCount = this.recordCount): DeliveryError {
    const { topic, partition } = this.lane;
    return new DeliveryError({ topic, partition, recordCount, fate: outcome.fate, cause: outcome.cause });
  }
}

const nothing = (): { written: Acknowledgement[]; failed: DeliveryError[] } => ({ written: [], failed: [] });
