/**
 * What one share-partition has decided on its way to its share state, in order. Where the state is here, a change
 * is in the log in the same step, and one does not wait for another; at another broker one write is under way, and
 * what is decided meanwhile leaves together. Who asks hears once everything that was decided up to then is durable
 * (I1), or that it never will be: a newer leader has read the state, or it began anew. A state that is away for a
 * while is asked again; nothing is ever taken back.
 */
import { assert } from "../../base/assert.ts";
import { type LeaderEpoch, offset } from "../../base/ids.ts";
import { type Clock, sleep } from "../../base/ports.ts";
import type { StateBatch } from "../../coordinator/share/state-batch.ts";
import type { AppendSession } from "../../log/memory-tail.ts";
import type { Partitions } from "../../log/partitions.ts";
import type { Wal } from "../../log/wal.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { SharePartitionKey, SharePersister, StateChange } from "./persister.ts";

/** What leaves next. `attach` puts more into the same frame, after the change is in it. */
export interface LeavingChange {
  readonly startOffset: number;
  readonly deliveryCompleteCount: number;
  readonly batches: readonly StateBatch[];
  readonly attach?: (session: AppendSession) => void;
}

export interface StateLineOptions {
  readonly key: SharePartitionKey;
  readonly stateEpoch: number;
  readonly leaderEpoch: LeaderEpoch;
  readonly persister: SharePersister;
  readonly partitions: Pick<Partitions, "begin" | "failure">;
  readonly wal: Pick<Wal, "whenDurable" | "durable">;
  readonly clock: Clock;
  /** What was decided since the last call; null: nothing. `isHere`: the change can have something attached. */
  readonly take: (isHere: boolean) => LeavingChange | null;
  /** Once: nothing of what is decided from now on will be kept. `cause`: of a write that failed where it may not. */
  readonly onLost: (why: ErrorCode, cause?: unknown) => void;
}

/** Null: it is durable. */
export type Persisted = ErrorCode | null;

/** Until a state that is away is asked again: the persister has tried for long by then. */
const retryMs = 200;

const persistedNow: Promise<Persisted> = Promise.resolve(null);

export class StateLine {
  readonly #options: StateLineOptions;
  /** Of what left last. */
  #newest: Promise<Persisted> = persistedNow;
  /** The write to another broker that is under way. */
  #away: Promise<Persisted> | null = null;
  /** What leaves behind that. */
  #next: Promise<Persisted> | null = null;
  #lost: ErrorCode | null = null;

  constructor(options: StateLineOptions) {
    this.#options = options;
  }

  /** Resolves when everything that was decided up to now is durable, or never will be. Rejects when the log closed. */
  persisted(): Promise<Persisted> {
    if (this.#lost !== null) return Promise.resolve(this.#lost);
    const { failure } = this.#options.partitions;
    if (failure !== null) return Promise.reject(failure);
    return this.#leaveInTurn();
  }

  #leaveInTurn(): Promise<Persisted> {
    if (this.#away === null) return this.#leave();
    this.#next ??= this.#away
      .finally(() => {
        this.#next = null;
      })
      // Somebody else may have been faster, and is under way again. What was decided before the end leaves all the same.
      .then((lost) => lost ?? this.#leaveInTurn());
    return this.#next;
  }

  /** Resolves when nothing is on its way any more. Never rejects. */
  async idle(): Promise<void> {
    for (let last = this.#next ?? this.#away; last !== null; last = this.#next ?? this.#away)
      await last.catch(() => undefined);
    await this.#newest.catch(() => undefined);
  }

  #leave(): Promise<Persisted> {
    const { key, persister, take } = this.#options;
    const isHere = persister.isHere(key);
    const changes = take(isHere);
    if (changes === null) return this.#newest;
    this.#newest = (isHere ? this.#append(changes) : null) ?? this.#send(changes);
    return this.#newest;
  }

  /** Synchronous up to the log. Null: the state is not here. */
  #append(changes: LeavingChange): Promise<Persisted> | null {
    const { key, persister, partitions, wal } = this.#options;
    const session = partitions.begin();
    const written = persister.writeIn(session, key, this.#changeOf(changes));
    if (written.kind === "appended") changes.attach?.(session);
    const number = session.commit();
    switch (written.kind) {
      case "appended":
        return number <= wal.durable ? persistedNow : wal.whenDurable(number).then(() => null);
      case "refused":
        return Promise.resolve(this.#lose(written.errorCode));
      case "elsewhere":
        assert(
          changes.attach === undefined,
          "what goes into one frame with the state is attached where that is",
        );
        return null;
      default:
        return written satisfies never;
    }
  }

  #send(changes: LeavingChange): Promise<Persisted> {
    const sending = this.#sendUntilTold(changes).finally(() => {
      if (this.#away === sending) this.#away = null;
    });
    this.#away = sending;
    return sending;
  }

  async #sendUntilTold(changes: LeavingChange): Promise<Persisted> {
    const { key, persister, partitions, clock } = this.#options;
    const change = this.#changeOf(changes);
    for (;;) {
      const told = await persister.write(key, change).catch((cause: unknown) => {
        // What left with it is nowhere now: nothing that follows may be told as kept.
        if (partitions.failure === null) this.#lose(ErrorCode.KAFKA_STORAGE_ERROR, cause);
        throw cause;
      });
      if (told.kind === "told") return null;
      if (told.kind === "refused") return this.#lose(told.errorCode);
      if (partitions.failure !== null) throw partitions.failure;
      await sleep(clock, retryMs);
      if (this.#lost !== null) return this.#lost;
    }
  }

  /** The share-partition ends here: what was decided still leaves behind what is under way, and nothing else does. */
  end(why: ErrorCode): void {
    this.#lost ??= why;
  }

  #lose(code: ErrorCode, cause?: unknown): ErrorCode {
    const why = toldToClients(code);
    if (this.#lost !== null) return this.#lost;
    this.#lost = why;
    this.#options.onLost(why, cause);
    return why;
  }

  #changeOf({ startOffset, batches, deliveryCompleteCount }: LeavingChange): StateChange {
    const { stateEpoch, leaderEpoch } = this.#options;
    return {
      stateEpoch,
      leaderEpoch,
      startOffset: offset(startOffset),
      deliveryCompleteCount,
      batches,
    };
  }
}

/** As Kafka tells members what the state's keeper said: whoever is fenced is not the leader they look for. */
export function toldToClients(code: ErrorCode): ErrorCode {
  switch (code) {
    case ErrorCode.FENCED_LEADER_EPOCH:
    case ErrorCode.FENCED_STATE_EPOCH:
      return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    case ErrorCode.NOT_COORDINATOR:
    case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
      return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    default:
      return code;
  }
}
