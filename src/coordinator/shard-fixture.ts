/** One shard in a test: time by hand, the records that it wrote, and the answers by ticket. */
import {
  leaderEpoch,
  NO_TOPIC_ID,
  offset,
  partitionIndex,
  type TopicId,
  topicIdFromBytes,
} from "../base/ids.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import type { JoinGroupResponse } from "../protocol/messages/join-group.ts";
import type { SyncGroupResponse } from "../protocol/messages/sync-group.ts";
import type { Claim, Identity, Join } from "./group/classic-request.ts";
import type { ConsumerHeartbeat, HeartbeatAnswer } from "./group/consumer-request.ts";
import type { GroupSettings } from "./group/settings.ts";
import { type GroupRecord, groupRecords, type GroupTurn } from "./group/records.ts";
import { GroupShard } from "./group/shard.ts";
import type { TopicFacts, TopicView } from "./topic-view.ts";
import { type Ticket, Turn } from "./turn.ts";

export const testSettings: GroupSettings = {
  sessionTimeoutMinMs: 6_000,
  sessionTimeoutMaxMs: 1_800_000,
  initialRebalanceDelayMs: 3_000,
  membersMax: 100,
  consumersMax: 100,
  consumerSessionTimeoutMs: 45_000,
  consumerHeartbeatMs: 5_000,
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

export class ShardFixture {
  shard: GroupShard;
  readonly topics = new TestTopics();
  readonly records: GroupRecord[] = [];
  nowMs = 1_000;
  readonly #settings: GroupSettings;
  readonly #pending = new Map<number, Pending<unknown>>();
  #tickets = 0;
  #fresh = 0;

  constructor(settings: Partial<GroupSettings> = {}) {
    this.#settings = { ...testSettings, ...settings };
    this.shard = new GroupShard(this.#settings, this.topics);
    this.shard.loaded(this.nowMs);
  }

  turn<T>(decide: (shard: GroupShard, turn: GroupTurn) => T): T {
    const wallMs = 1_700_000_000_000 + this.nowMs;
    const turn = new Turn<GroupRecord>({ monotonicMs: this.nowMs, wallMs }, (record) =>
      this.shard.apply(record),
    );
    const result = decide(this.shard, turn);
    // Through the bytes, so that what is kept is what a restart would read.
    this.records.push(...turn.records.map(throughBytes));
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
    this.shard = new GroupShard(this.#settings, this.topics);
    for (const record of this.records) this.shard.load(record);
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
    const to = {
      topic,
      partition: partitionIndex(0),
      offset: offset(at),
      leaderEpoch: leaderEpoch(0),
      metadata,
      topicId: NO_TOPIC_ID,
    };
    const full = { memberId: "", instanceId: null, generation: -1, ...claim };
    return this.turn((shard, turn) => shard.commit(turn, groupId, full, [to]));
  }

  committed(topic = "orders"): number | undefined {
    return this.shard.group(groupId)?.offsets.get(topic, partitionIndex(0))?.offset;
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
