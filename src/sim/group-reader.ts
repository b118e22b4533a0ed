/** What a member of either protocol does with the partitions that it has: reads, processes, commits. */
import type { GroupProtocol } from "../audit/words.ts";
import { leaderEpoch, NO_TOPIC_ID, offset, partitionIndex } from "../base/ids.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { ListedOffset } from "../protocol/messages/list-offsets.ts";
import { OffsetCommit } from "../protocol/messages/offset-commit.ts";
import { OffsetFetch, type OffsetFetchResponse } from "../protocol/messages/offset-fetch.ts";
import type { Actor } from "./actor.ts";
import type { Caller } from "./client.ts";
import { SimConsumer } from "./consumer.ts";
import { GroupAccount } from "./group-account.ts";
import type { GroupHistory, Owner } from "./group-history.ts";
import type { TransactionalId } from "./transactional-id.ts";
import type { Place, TransactionProtocol } from "./transactional-producer.ts";

const version = 9;

export interface MemberOptions {
  readonly group: string;
  readonly topic: string;
  readonly partitionCount: number;
  readonly number: number;
  readonly protocol: GroupProtocol;
  readonly sessionMs: number;
  readonly history: GroupHistory;
  /** What is read becomes records elsewhere, in transactions (KIP-447). */
  readonly transform?: Transform;
}

export interface Transform {
  readonly id: TransactionalId;
  readonly protocol: TransactionProtocol;
  readonly targets: readonly Place[];
  /** Names the records; no other producer has it. */
  readonly number: number;
  readonly nextOrder: () => number;
}

export type Progress = readonly (readonly [partition: number, next: number])[];

/** A record that was read. */
export interface Seen {
  readonly at: number;
  readonly value: string;
}

/** As which the member commits. */
export interface Membership {
  readonly memberId: string;
  /** Generation, or epoch. */
  readonly epoch: number;
  /** Of the group. */
  readonly life: number;
}

export class GroupReader {
  protected readonly actor: Actor;
  protected readonly options: MemberOptions;
  protected readonly account: GroupAccount;
  readonly #owner: Owner & { leaseEndMs: number };
  /** Next offset to be processed, by partition that it has. */
  readonly #positions = new Map<number, number>();
  readonly #committed = new Map<number, number>();

  /** `life`: names this one of the member's lives. */
  constructor(actor: Actor, options: MemberOptions, life: string) {
    this.actor = actor;
    this.options = options;
    this.#owner = { name: `${options.group}-${options.number}${life}`, leaseEndMs: 0 };
    this.account = new GroupAccount(actor, options, life);
  }

  /** Its process is gone. */
  get isDead(): boolean {
    return false;
  }

  /** It is not needed any more. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  get partitions(): readonly number[] {
    return [...this.#positions.keys()];
  }
  get isLate(): boolean {
    return this.actor.clock.monotonicMs() >= this.#owner.leaseEndMs;
  }
  /** A heartbeat that was sent at this time was answered well. */
  renew(sentMs: number): void {
    this.#owner.leaseEndMs = sentMs + this.options.sessionMs;
  }

  /** Goes on where the group is. False: an answer says to begin anew. */
  async take(client: Caller, partitions: readonly number[], as: Membership): Promise<boolean> {
    const { group, topic, history } = this.options;
    const added = partitions.filter((partition) => !this.#positions.has(partition));
    for (const partition of added) history.owns(group, partition, this.#owner);
    this.account.joined(partitions, as);
    if (added.length === 0) return true;
    for (const partition of added) this.#positions.set(partition, -1);
    const atLeast = new Map(added.map((each) => [each, history.committedBefore(group, each)]));
    const fetching = this.account.fetching();
    const wanted = [{ name: topic, topicId: NO_TOPIC_ID, partitionIndexes: added.map(partitionIndex) }];
    const asking = async (): Promise<OffsetFetchResponse["groups"][number] | undefined> => {
      for (;;) {
        const { groups } = await client.call(OffsetFetch, version, {
          groupId: "",
          topics: [],
          groups: [{ groupId: group, memberId: as.memberId, memberEpoch: as.epoch, topics: wanted }],
          requireStable: this.options.transform !== undefined,
        });
        const all = groups[0]?.topics[0]?.partitions ?? [];
        if (!all.some(({ errorCode }) => errorCode === ErrorCode.UNSTABLE_OFFSET_COMMIT)) return groups[0];
        // Somebody before it has a transaction open.
        await this.actor.pause(20);
      }
    };
    const answer = await asking().catch((cause: unknown) => {
      // It does not know where to begin, and must not begin anywhere else.
      this.drop(added);
      throw cause;
    });
    if (answer?.errorCode !== ErrorCode.NONE) return false;
    const found = answer.topics[0]?.partitions ?? [];
    if (found.some(({ errorCode }) => errorCode !== ErrorCode.NONE)) return false;
    for (const { partitionIndex: partition, committedOffset } of found) {
      if (committedOffset < 0 && !history.isHeld) this.account.expired(partition);
    }
    fetching.found(found.map(({ partitionIndex: at, committedOffset }) => [at, committedOffset]));
    for (const { partitionIndex: partition, committedOffset } of found) {
      history.found(group, partition, committedOffset, atLeast.get(partition) ?? -1);
      this.#positions.set(partition, Math.max(0, committedOffset));
      this.#committed.set(partition, committedOffset);
    }
    return true;
  }

  drop(partitions: readonly number[] = this.partitions): void {
    for (const partition of partitions) {
      this.#positions.delete(partition);
      this.#committed.delete(partition);
      this.options.history.disowns(this.options.group, partition, this.#owner);
    }
  }

  /** Reads a little of one partition. */
  async read(client: Caller): Promise<void> {
    const { group, topic, history } = this.options;
    const partitions = this.partitions;
    if (partitions.length === 0) return this.actor.pause(20);
    const partition = this.actor.random.pick(partitions);
    const from = this.#positions.get(partition) as number;
    const reader = new SimConsumer(this.actor, topic, partition, this.actor.pace.memberPollMs);
    const seen: Seen[] = [];
    const next = await reader.fetch(client, offset(from), (value, at) => {
      this.actor.history.observed(value, { topic, partition, offset: at });
      seen.push({ at, value });
    });
    if (!this.#positions.has(partition) || this.isLate) return;
    for (const { at } of seen) history.processed(group, partition, at);
    this.handled(partition, seen);
    if (next !== null) return void this.#positions.set(partition, next);
    // Retention passed it: what is gone is gone, and the first record that is left comes next.
    const start = await reader.end(client, ListedOffset.earliest);
    if (start > from) {
      this.actor.history.startSeen(topic, partition, start);
      if (this.#positions.has(partition)) this.#positions.set(partition, start);
    }
  }

  /** What was processed so far. An answer that refuses is returned. */
  async commit(client: Caller, as: Membership): Promise<ErrorCode> {
    const { group, history } = this.options;
    const progress = Array.from(this.#positions).filter(
      ([at, next]) => next > (this.#committed.get(at) ?? -1),
    );
    if (progress.length === 0) return ErrorCode.NONE;
    // Half of those that overslept do not look at the clock: the broker has to know better.
    if (this.isLate && this.actor.random.below(2) === 0) return ErrorCode.NONE;
    const before = new Map(
      progress.map(([partition]) => [partition, history.committedBefore(group, partition)]),
    );
    let refused: ErrorCode = ErrorCode.NONE;
    for (const [partition, errorCode] of await this.send(client, progress, as)) {
      if (errorCode !== ErrorCode.NONE) {
        refused = errorCode;
        continue;
      }
      const next = progress.find(([each]) => each === partition)?.[1] as number;
      history.committed(group, partition, next, before.get(partition) ?? -1);
      if (this.#committed.has(partition)) this.#committed.set(partition, next);
    }
    if (refused !== ErrorCode.NONE)
      this.actor.record(`commit of ${this.#owner.name}: ${errorFacts(refused).name}`);
    return refused;
  }

  /** Nothing more than to read them. */
  protected handled(partition: number, records: readonly Seen[]): void {
    this.account.handled(partition, records);
  }

  /** What each partition is answered. */
  protected async send(
    client: Caller,
    progress: Progress,
    as: Membership,
  ): Promise<readonly (readonly [partition: number, errorCode: ErrorCode])[]> {
    const { group, topic } = this.options;
    const committing = this.account.committing(progress, as);
    const answer = await client.call(OffsetCommit, version, {
      groupId: group,
      generationIdOrMemberEpoch: as.epoch,
      memberId: as.memberId,
      groupInstanceId: null,
      retentionTimeMs: -1,
      topics: [
        {
          name: topic,
          topicId: NO_TOPIC_ID,
          partitions: progress.map(([partition, next]) => ({
            partitionIndex: partitionIndex(partition),
            committedOffset: offset(next),
            committedLeaderEpoch: leaderEpoch(-1),
            committedMetadata: null,
          })),
        },
      ],
    });
    return (answer.topics[0]?.partitions ?? []).map(({ partitionIndex: partition, errorCode }) => {
      committing.answered(partition, errorCode === ErrorCode.NONE);
      return [partition, errorCode] as const;
    });
  }
}
