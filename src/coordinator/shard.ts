/**
 * What the runtime needs of a coordinator: its state is what its records say, so that it can be read again
 * from them, and its decisions are made in turns. A shard knows no clock and does no I/O.
 */
import type { Offset, ProducerId } from "../base/ids.ts";
import type { RawRecord } from "./record-format.ts";
import type { Turn } from "./turn.ts";

/** The state that lies in one partition of a coordinator's topic. `R`: its records. */
export interface Shard<R> {
  /** At a start: the next record of the log, which lies `at` this offset. */
  load(record: R, at: Offset): void;
  /** The whole log is read. `nowMs`: monotonic; nobody could be heard before. */
  loaded(nowMs: number): void;
  /** A record was written, to this offset; what it says holds from now on. */
  apply(record: R, at: Offset): void;
  /** Monotonic ms; `Infinity`: nothing will happen by itself. */
  readonly nextDeadlineMs: number;
  /** Does what is due. */
  onTime(turn: Turn<R>): void;
  /** The broker stops: whoever waits for an answer looks for its coordinator anew. */
  dismiss(turn: Turn<R>): void;
}

/** A shard that producers write to inside their transactions. */
export interface Participant<R> extends Shard<R> {
  /** A record of an open transaction is in the log: what it says holds once the transaction commits. */
  hold(producer: ProducerId, record: R): void;
  /** The producer's transaction ended. Without an open one nothing happens: markers may come twice. */
  settle(producer: ProducerId, outcome: TransactionOutcome): void;
  /** Producers whose transactions hold something here. */
  holders(): Iterable<ProducerId>;
}

export function isParticipant<S extends Shard<R>, R>(shard: S): shard is S & Participant<R> {
  return "hold" in shard;
}

export type TransactionOutcome = "commit" | "abort";

/** How a shard's records lie in its partition. */
export interface RecordCodec<R> {
  encode(record: R): RawRecord;
  /** Null: of a kind that is not served here. Throws `MalformedError`. Shares no bytes with `raw`. */
  decode(raw: RawRecord): R | null;
}
