/** One shard in a test: time by hand, the records that it wrote, and the answers by ticket. */
import {
  leaderEpoch,
  NO_TOPIC_ID,
  offset,
  partitionIndex,
  type ProducerId,
  type TopicId,
  topicIdFromBytes,
} from "../base/ids.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import type { JoinGroupResponse } from "../protocol/messages/join-group.ts";
import type { SyncGroupResponse } from "../protocol/messages/sync-group.ts";
import type { CommitRequest } from "./group/commits.ts";
import type { Claim, Identity, Join } from "./group/classic-request.ts";
import type { ConsumerHeartbeat, HeartbeatAnswer } from "./group/consumer-request.ts";
import type { GroupSettings } from "./group/settings.ts";
import { type GroupRecord, groupRecords, type GroupTurn } from "./group/records.ts";
import { GroupShard, type Regression } from "./group/shard.ts";
import type { TransactionOutcome } from "./shard.ts";
import type { TopicFacts, TopicView } from "./topic-view.ts";
import { type Ticket, Turn } from "./turn.ts";

export const testSettings: GroupSettings = {
  sessionTimeoutMinMs: 6_000,
  sessionTimeoutMaxMs: 1_800_000,
  initialRebalanceDelayMs: 3_000,
  membersMax: 100,
  consumersMax: 100,
  consumerSessionTimeoutMs: () => 45_000,
  shareMembersMax: 200,
  shareSessionTimeoutMs: () => 45_000,
  mayGrow: () => true,
  mayUpgrade: true,
  mayDowngrade: true,
  metadataBytesMax: 4_096,
  offsetsRetentionMs: 7 * 24 * 3_600_000,
};

export const groupId = "g";

/** Topics by name, each with as many partitions as it is told to have. */
export class TestTopics implements TopicView {
  version = 0;
  readonly #topics = new Map<string, TopicFacts>();

  set(name: string, partitionCount: number): TopicFacts {
    this.version++;
    const id = topicIdFromBytes(Buffer.from(name.padEnd(16).slice(0, 16)));
    const topic = { id, name, partitionCount };
    this.#topics.set(name, topic);
    return topic;
  }
  delete(name: string): void {
    this.version++;
    this.#topics.delete(name);
  }
  find(name: string): TopicFacts | undefined {
    return this.#topics.get(name);
  }
  nameOf(id: TopicId): string | undefined {
    return Array.from(this.#topics.values()).find((topic) => topic.id === id)?.name;
  }
  names(): Iterable<string> {
    return this.#topics.keys();
  }
  isInternal(name: string): boolean {
    return name.startsWith("__");
  }
}

/** An answer that may not be there yet. */
export class Pending<Res> {
  response: Res | null = null;
  get isWaiting(): boolean {
    return this.response === null;
  }
}

/** What the log has, in its order. */
type Entry =
  | { readonly kind: "record"; readonly producer: ProducerId | null; readonly record: GroupRecord }
  | { readonly kind: "marker"; readonly producer: ProducerId; readonly outcome: TransactionOutcome };

export class ShardFixture {
  shard: GroupShard;
  readonly topics = new TestTopics();
  readonly #log: Entry[] = [];
  /** Commits that moved a group back. */
  readonly regressions: Regression[] = [];
  nowMs = 1_000;
  readonly #settings: GroupSettings;
  readonly #pending = new Map<number, Pending<unknown>>();
  #tickets = 0;
  #fresh = 0;

  constructor(settings: Partial<GroupSettings> = {}) {
    this.#settings = { ...testSettings, ...settings };
    this.shard = this.#empty();
    this.shard.loaded(this.nowMs);
  }

  #empty(): GroupShard {
    return new GroupShard(this.#settings, this.topics, (each) => this.regressions.push(each));
  }

  /** Records that were written, in their order. */
  get records(): readonly GroupRecord[] {
    return this.#log.flatMap((entry) => (entry.kind === "record" ? [entry.record] : []));
  }

  #turn(apply: (record: GroupRecord) => void): GroupTurn {
    return new Turn({ monotonicMs: this.nowMs, wallMs: 1_700_000_000_000 + this.nowMs }, apply);
  }

  /** Through the bytes, so that what is kept is what a restart would read. */
  #keep(turn: GroupTurn, producer: ProducerId | null): void {
    for (const record of turn.records) {
      this.#log.push({ kind: "record", producer, record: throughBytes(record) });
    }
  }

  turn<T>(decide: (shard: GroupShard, turn: GroupTurn) => T): T {
    const turn = this.#turn((record) => this.shard.apply(record));
    const result = decide(this.shard, turn);
    this.#keep(turn, null);
    for (const { ticket, response } of turn.replies) {
      const pending = this.#pending.get(ticket.id);
      if (pending === undefined) throw new Error(`ticket ${ticket.id} is answered twice`);
      this.#pending.delete(ticket.id);
      pending.response = response;
    }
    return result;
  }

  #ask<Res>(decide: (turn: GroupTurn, ticket: Ticket<Res>) => void): Pending<Res> {
    const ticket: Ticket<Res> = { id: ++this.#tickets };
    const pending = new Pending<Res>();
    this.#pending.set(ticket.id, pending as Pending<unknown>);
    this.turn((_, turn) => decide(turn, ticket));
    return pending;
  }

  /** Requests that nobody has answered yet. */
  get waiting(): number {
    return this.#pending.size;
  }

  /** Time passes; what becomes due happens in its order. */
  pass(ms: number): void {
    const end = this.nowMs + ms;
    for (let due = this.shard.nextDeadlineMs; due <= end; due = this.shard.nextDeadlineMs) {
      this.nowMs = Math.max(this.nowMs, due);
      this.turn((shard, turn) => shard.onTime(turn));
    }
    this.nowMs = end;
  }

  /** Another process reads the log. */
  restart(): void {
    this.#pending.clear();
    this.shard = this.#empty();
    for (const entry of this.#log) {
      if (entry.kind === "marker") this.shard.settle(entry.producer, entry.outcome);
      else if (entry.producer === null) this.shard.load(entry.record);
      else this.shard.hold(entry.producer, entry.record);
    }
    this.shard.loaded(this.nowMs);
  }

  join(over: Partial<Join> = {}): Pending<JoinGroupResponse> {
    const join: Join = {
      memberId: "",
      instanceId: null,
      clientId: "c",
      clientHost: "/127.0.0.1",
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 30_000,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: subscription("orders") }],
      mustKnowId: true,
      maySkipAssignment: true,
      freshId: String(++this.#fresh),
      ...over,
    };
    return this.#ask((turn, ticket) => this.shard.join(turn, groupId, join, ticket));
  }

  /** Hears its id, and joins with it. */
  enter(over: Partial<Join> = {}): Pending<JoinGroupResponse> & { readonly memberId: string } {
    const memberId = this.join(over).response?.memberId ?? "";
    return Object.assign(this.join({ ...over, memberId }), { memberId });
  }

  sync(
    memberId: string,
    generation: number,
    parts: { readonly [memberId: string]: string } = {},
    over: { readonly instanceId?: string; readonly protocol?: string } = {},
  ): Pending<SyncGroupResponse> {
    const encoded = Object.entries(parts).map(([id, part]) => [id, Buffer.from(part)] as const);
    return this.syncWith(memberId, generation, encoded, over);
  }

  syncWith(
    memberId: string,
    generation: number,
    parts: readonly (readonly [memberId: string, part: Uint8Array])[],
    over: { readonly instanceId?: string; readonly protocol?: string } = {},
  ): Pending<SyncGroupResponse> {
    const assignments = parts.map(([id, assignment]) => ({ memberId: id, assignment }));
    const { instanceId = null, protocol = null } = over;
    const sync = { memberId, instanceId, generation, protocolType: null, protocol, assignments };
    return this.#ask((turn, ticket) => this.shard.sync(turn, groupId, sync, ticket));
  }

  heartbeat(memberId: string, generation: number, instanceId: string | null = null): ErrorCode {
    return this.turn((shard, turn) => shard.heartbeat(turn, groupId, { memberId, generation, instanceId }));
  }

  leave(...leaving: Identity[]) {
    return this.turn((shard, turn) => shard.leave(turn, groupId, leaving)).members;
  }

  commit(at: number, claim: Partial<Claim> = {}, topic = "orders", metadata = "") {
    const request = this.#request(at, claim, topic, metadata);
    return this.turn((shard, turn) => shard.commit(turn, request));
  }

  /** Inside the transaction of a producer. */
  commitIn(producer: ProducerId, at: number, claim: Partial<Claim> = {}, topic = "orders", metadata = "") {
    return this.holdIn(producer, this.#request(at, claim, topic, metadata));
  }

  #request(at: number, claim: Partial<Claim>, topic: string, metadata: string): CommitRequest {
    const to = {
      topic,
      partition: partitionIndex(0),
      offset: offset(at),
      leaderEpoch: leaderEpoch(0),
      metadata,
      topicId: this.topics.find(topic)?.id ?? NO_TOPIC_ID,
    };
    const full = { memberId: "", instanceId: null, generation: -1, ...claim };
    return { groupId, claim: full, offsets: [to], isTransactional: false };
  }

  holdIn(producer: ProducerId, request: CommitRequest) {
    const turn = this.#turn(() => undefined);
    const answers = this.shard.commit(turn, { ...request, isTransactional: true });
    for (const record of turn.records) this.shard.hold(producer, record);
    this.#keep(turn, producer);
    return answers;
  }

  /** The producer's transaction ends. */
  mark(producer: ProducerId, outcome: TransactionOutcome): void {
    this.#log.push({ kind: "marker", producer, outcome });
    this.shard.settle(producer, outcome);
  }

  committed(topic = "orders"): number | undefined {
    return this.shard.group(groupId)?.offsets.get(topic, partitionIndex(0))?.offset;
  }

  /** Whether a transaction that is open is about to change what is committed. */
  isUnstable(topic = "orders"): boolean {
    return this.shard.group(groupId)?.pending.has(topic, partitionIndex(0)) ?? false;
  }

  beat(memberId: string, memberEpoch: number, over: Partial<ConsumerHeartbeat> = {}): HeartbeatAnswer {
    const joins = memberEpoch === 0;
    const beat: ConsumerHeartbeat = {
      memberId,
      memberEpoch,
      instanceId: null,
      rackId: null,
      clientId: "c",
      clientHost: "/127.0.0.1",
      rebalanceTimeoutMs: joins ? 30_000 : -1,
      topicNames: joins ? ["orders"] : null,
      topicRegex: null,
      assignor: null,
      owned: joins ? new Map() : null,
      ...over,
    };
    return this.turn((shard, turn) => shard.beat(turn, groupId, beat));
  }

  /** Members in a stable group, each with its id as its part. */
  stable(
    count: number,
    over: Partial<Join> = {},
  ): { readonly ids: readonly string[]; readonly generation: number } {
    const entered = Array.from({ length: count }, () => this.enter(over));
    this.pass(testSettings.initialRebalanceDelayMs * 2);
    const ids = entered.map(({ memberId }) => memberId);
    const generation = entered[0]?.response?.generationId ?? -1;
    const leader = entered[0]?.response?.leader ?? "";
    const parts = Object.fromEntries(ids.map((id) => [id, id]));
    for (const id of ids) this.sync(id, generation, id === leader ? parts : {});
    return { ids, generation };
  }
}

function throughBytes(record: GroupRecord): GroupRecord {
  const decoded = groupRecords.decode(groupRecords.encode(record));
  if (decoded === null) throw new Error(`a record of kind ${record.kind} is not read again`);
  return decoded;
}

/** As a consumer tells which topics it wants (ConsumerProtocolSubscription, version 0). */
export function subscription(...topics: readonly string[]): Uint8Array {
  const names = topics.map((topic) => {
    const name = Buffer.from(topic);
    return Buffer.concat([Buffer.from([0, name.length]), name]);
  });
  return Buffer.concat([Buffer.from([0, 0, 0, 0, 0, topics.length]), ...names, Buffer.from([0, 0, 0, 0])]);
}
