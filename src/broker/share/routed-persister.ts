/**
 * Finds the share state of a partition wherever it is: in a shard of this broker, or at the broker that owns it,
 * which is looked for again until it answers or `awayMsMax` is over. What a broker that was replaced would tell
 * from its memory leaves only after the barrier (I7); what it writes is refused by its log.
 */
import { HoldfastError } from "../../base/errors.ts";
import type { BrokerEpoch, LeaderEpoch } from "../../base/ids.ts";
import { type Clock, sleep } from "../../base/ports.ts";
import type { ShareStateTurn } from "../../coordinator/share/records.ts";
import type { Judged, ShareStateShard } from "../../coordinator/share/shard.ts";
import { decodedBatch, encodedBatch } from "../../coordinator/share/state-batch.ts";
import type { AppendSession, MemoryTail } from "../../log/memory-tail.ts";
import type { Api } from "../../protocol/api.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { DeleteShareGroupState } from "../../protocol/messages/delete-share-group-state.ts";
import { InitializeShareGroupState } from "../../protocol/messages/initialize-share-group-state.ts";
import { ReadShareGroupState } from "../../protocol/messages/read-share-group-state.ts";
import { ReadShareGroupStateSummary } from "../../protocol/messages/read-share-group-state-summary.ts";
import { WriteShareGroupState } from "../../protocol/messages/write-share-group-state.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { PeerError } from "../cluster/errors.ts";
import { attempt } from "../refusal.ts";
import { type Beginning, type ReadState, type SharePartitionKey, type SharePersister } from "./persister.ts";
import {
  awayMsMax,
  type StateChange,
  type StateSummary,
  type Told,
  weighChange,
  type WrittenIn,
} from "./persister.ts";
import type { ShareStates } from "./state.ts";

export interface RoutedPersisterOptions {
  readonly states: ShareStates;
  readonly cluster: Cluster;
  readonly tail: MemoryTail;
  readonly clock: Clock;
  /** This broker. */
  readonly epoch: BrokerEpoch;
}

const retryMsMin = 20;
const retryMsMax = 500;

/** One question, both ways. */
interface Question<T> {
  readonly key: SharePartitionKey;
  /** Of the records that it may write. */
  readonly bytes: number;
  readonly here: (shard: ShareStateShard, turn: ShareStateTurn) => Judged<T>;
  /** Whether what was told rests on nothing that was written along with it. */
  readonly isFromMemory: boolean;
  readonly there: (owner: BrokerEpoch) => Promise<Told<T>>;
}

/** What every answer of another broker has about one partition. */
interface Answered {
  readonly errorCode: ErrorCode;
  readonly errorMessage: string | null;
}

/** As the wire names an epoch that fences nobody. */
const anyEpoch = -1 as LeaderEpoch;

export class RoutedPersister implements SharePersister {
  readonly #options: RoutedPersisterOptions;

  constructor(options: RoutedPersisterOptions) {
    this.#options = options;
  }

  initialize(key: SharePartitionKey, beginning: Beginning): Promise<Told<void>> {
    return this.#ask({
      key,
      bytes: weighChange(key),
      here: (shard, turn) => shard.initialize(turn, key, beginning),
      isFromMemory: true,
      there: (owner) => this.#call(owner, InitializeShareGroupState, key, beginning, nothing),
    });
  }

  read(key: SharePartitionKey, leaderEpoch: LeaderEpoch): Promise<Told<ReadState>> {
    return this.#ask({
      key,
      bytes: weighChange(key),
      here: (shard, turn) => shard.read(turn, key, leaderEpoch),
      isFromMemory: true,
      there: (owner) =>
        this.#call(owner, ReadShareGroupState, key, { leaderEpoch }, (found) => ({
          stateEpoch: found.stateEpoch,
          startOffset: found.startOffset,
          batches: found.stateBatches.map(decodedBatch),
        })),
    });
  }

  write(key: SharePartitionKey, change: StateChange): Promise<Told<void>> {
    return this.#ask({
      key,
      bytes: weighChange(key, change.batches.length),
      here: (shard, turn) => shard.write(turn, key, change),
      isFromMemory: false,
      there: (owner) => {
        const { batches, ...rest } = change;
        const asked = { ...rest, stateBatches: batches.map(encodedBatch) };
        return this.#call(owner, WriteShareGroupState, key, asked, nothing);
      },
    });
  }

  delete(key: SharePartitionKey, stateEpoch: number): Promise<Told<void>> {
    return this.#ask({
      key,
      bytes: weighChange(key),
      here: (shard, turn) => shard.delete(turn, key, stateEpoch),
      isFromMemory: true,
      there: (owner) => this.#call(owner, DeleteShareGroupState, key, { stateEpoch }, nothing),
    });
  }

  readSummary(key: SharePartitionKey): Promise<Told<StateSummary>> {
    return this.#ask({
      key,
      bytes: 0,
      here: (shard) => shard.summary(key),
      isFromMemory: true,
      there: (owner) =>
        this.#call(owner, ReadShareGroupStateSummary, key, { leaderEpoch: anyEpoch }, (found) => ({
          stateEpoch: found.stateEpoch,
          leaderEpoch: found.leaderEpoch,
          startOffset: found.startOffset,
          deliveryCompleteCount: found.deliveryCompleteCount,
        })),
    });
  }

  isHere(key: SharePartitionKey): boolean {
    return this.#options.states.away(key) === null;
  }

  writeIn(session: AppendSession, key: SharePartitionKey, change: StateChange): WrittenIn {
    if (!this.isHere(key)) return { kind: "elsewhere" };
    const { states } = this.#options;
    const judged = states.runInto(session, key, (shard, turn) => shard.write(turn, key, change));
    return judged.kind === "told" ? { kind: "appended" } : judged;
  }

  async #ask<T>(question: Question<T>): Promise<Told<T>> {
    const { clock } = this.#options;
    const endMs = clock.monotonicMs() + awayMsMax;
    for (let pauseMs = retryMsMin; ; pauseMs = Math.min(2 * pauseMs, retryMsMax)) {
      // Synchronous up to the append where the state is here: writes keep the order in which they are asked for.
      const told = await this.#askOnce(question);
      if (told.kind !== "away" || clock.monotonicMs() + pauseMs > endMs) return told;
      await sleep(clock, pauseMs);
    }
  }

  #askOnce<T>(question: Question<T>): Promise<Told<T>> {
    const { states, tail } = this.#options;
    if (!this.isHere(question.key)) return this.#askElsewhere(question);
    const room = question.bytes === 0 ? undefined : tail.admit(question.bytes);
    if (room === undefined) return this.#decide(question);
    return room.then(() => {
      if (states.away(question.key) === null) return this.#decide(question);
      tail.dismiss(question.bytes);
      return away();
    });
  }

  async #decide<T>({ key, bytes, here, isFromMemory }: Question<T>): Promise<Told<T>> {
    const { states, cluster } = this.#options;
    const judged = await states.run(key, here, bytes);
    if (judged.kind === "told" && !isFromMemory) return judged;
    try {
      await cluster.barrier.pass();
      return judged;
    } catch (cause) {
      // It was given away, or we were replaced, while the answer waited: somebody else knows better.
      if (cause instanceof HoldfastError) return away();
      throw cause;
    }
  }

  async #askElsewhere<T>({ key, there }: Question<T>): Promise<Told<T>> {
    const { states, epoch } = this.#options;
    const unmade = await attempt(async () => states.whenMade());
    const owner = unmade === undefined ? states.placeOf(key)?.owner : undefined;
    return owner === undefined || owner === epoch ? away() : there(owner);
  }

  async #call<Asked, Found extends Answered, T>(
    owner: BrokerEpoch,
    api: Api<StateRequest<Asked>, StateResponse<Found>>,
    { groupId, topicId, partition }: SharePartitionKey,
    asked: Omit<Asked, "partition">,
    understand: (found: Found) => T,
  ): Promise<Told<T>> {
    const topics = [{ topicId, partitions: [{ partition, ...asked } as unknown as Asked] }];
    try {
      const { results } = await this.#options.cluster.peers.call(owner, api, { groupId, topics });
      const found = results[0]?.partitions[0];
      if (found === undefined) return away();
      const { errorCode, errorMessage } = found;
      if (errorCode === ErrorCode.NONE) return { kind: "told", value: understand(found) };
      if (passing.has(errorCode)) return { kind: "away", errorCode };
      return { kind: "refused", errorCode, errorMessage: errorMessage ?? "" };
    } catch (cause) {
      // Whether it was carried out is not known: it is asked for again, which does no harm.
      if (cause instanceof PeerError) return away();
      throw cause;
    }
  }
}

interface StateRequest<Asked> {
  readonly groupId: string;
  readonly topics: readonly {
    readonly topicId: SharePartitionKey["topicId"];
    readonly partitions: readonly Asked[];
  }[];
}
interface StateResponse<Found> {
  readonly results: readonly { readonly partitions: readonly Found[] }[];
}

/** Answers that say "somebody else, or later". */
const passing: ReadonlySet<ErrorCode> = new Set([
  ErrorCode.NOT_COORDINATOR,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.REQUEST_TIMED_OUT,
]);

const nothing = (): void => undefined;
const away = (): Told<never> => ({ kind: "away", errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE });
