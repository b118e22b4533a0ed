/** Groups whose partition goes to another broker, comes back, or stays after all. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { aBroker, SimulatedBroker } from "../../test/simulated-broker.ts";
import { leaderEpoch, NO_TOPIC_ID, offset, partitionIndex } from "../base/ids.ts";
import type { Partition } from "../log/partition.ts";
import { SegmentIndex } from "../log/segment-index.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { ConsumerGroupDescribe } from "../protocol/messages/consumer-group-describe.ts";
import { ConsumerGroupHeartbeat } from "../protocol/messages/consumer-group-heartbeat.ts";
import { DeleteGroups } from "../protocol/messages/delete-groups.ts";
import { DescribeGroups } from "../protocol/messages/describe-groups.ts";
import { Heartbeat } from "../protocol/messages/heartbeat.ts";
import { JoinGroup } from "../protocol/messages/join-group.ts";
import { LeaveGroup } from "../protocol/messages/leave-group.ts";
import { ListGroups } from "../protocol/messages/list-groups.ts";
import { OffsetCommit } from "../protocol/messages/offset-commit.ts";
import { OffsetDelete } from "../protocol/messages/offset-delete.ts";
import { OffsetFetch } from "../protocol/messages/offset-fetch.ts";
import { SyncGroup } from "../protocol/messages/sync-group.ts";
import { silentLogger } from "../sim/silence.ts";
import { OutcomeUnknownError } from "../store/errors.ts";
import { openPartitions } from "./partition-loading.ts";
import { shardIndex } from "./shards.ts";

const count = 3;
const settings = {
  "offsets.topic.num.partitions": String(count),
  "group.initial.rebalance.delay.ms": "0",
};

/** One broker whose partitions of `__consumer_offsets` go and come. */
class Moving {
  readonly broker: SimulatedBroker;

  constructor(broker: SimulatedBroker) {
    this.broker = broker;
  }

  get #services() {
    return this.broker.broker.services;
  }
  get #topic() {
    const topic = this.#services.topics.byName("__consumer_offsets");
    assert.ok(topic);
    return topic;
  }

  /** Undefined: it is somewhere else. */
  partitionOf(groupId: string): Partition | undefined {
    return this.#services.partitions.get(this.#topic.id, partitionIndex(shardIndex(groupId, count)));
  }

  /** A MOVE is on its way. */
  pause(groupId: string): void {
    const partition = this.partitionOf(groupId);
    if (partition?.takesAppends === true) this.#services.partitions.pause(partition);
  }

  /** It was void. */
  resume(groupId: string): void {
    const partition = this.partitionOf(groupId);
    if (partition?.takesAppends === false) this.#services.partitions.resume(partition);
  }

  /** It holds. */
  async giveAway(groupId: string): Promise<void> {
    this.resume(groupId);
    this.pause(groupId);
    await this.broker.scheduler.runUntil(this.broker.broker.flush());
    this.#services.partitions.close(this.#topic.id, partitionIndex(shardIndex(groupId, count)));
  }

  /** `unanswered`: so often the store does not answer who reads it. */
  async comeBack(groupId: string, unanswered = 0): Promise<void> {
    if (this.partitionOf(groupId) !== undefined) return;
    const { journal, partitions, topics } = this.#services;
    const topic = this.#topic;
    const partition = topic.partitions[shardIndex(groupId, count)];
    assert.ok(partition);
    const index = new SegmentIndex(this.broker.broker.store, 1_000_000);
    const ports = { log: silentLogger, topics, partitions, index };
    const opened = await this.broker.scheduler.runUntil(
      openPartitions([{ topic, partition }], new Map(), journal.state, ports),
    );
    let left = unanswered;
    for (const each of opened.values()) {
      const read = each.read.bind(each);
      each.read = (options) => {
        if (left-- > 0) return Promise.reject(new OutcomeUnknownError("get seg: 503"));
        return read(options);
      };
      partitions.serve(each);
    }
  }
}

async function aMovingBroker(t: Parameters<typeof aBroker>[0]): Promise<Moving> {
  const broker = await aBroker(t, settings);
  await broker.createTopic("orders");
  await commit(broker, "a", 1);
  return new Moving(broker);
}

function commitRequest(groupId: string, at: number) {
  const committed = {
    partitionIndex: partitionIndex(0),
    committedOffset: offset(at),
    committedLeaderEpoch: leaderEpoch(-1),
    committedMetadata: "",
  };
  return {
    groupId,
    generationIdOrMemberEpoch: -1,
    memberId: "",
    groupInstanceId: null,
    retentionTimeMs: -1,
    topics: [{ name: "orders", topicId: NO_TOPIC_ID, partitions: [committed] }],
  };
}

async function commit(broker: SimulatedBroker, groupId: string, at: number): Promise<ErrorCode | undefined> {
  const { topics } = await broker.ask(OffsetCommit, commitRequest(groupId, at), 9);
  return topics[0]?.partitions[0]?.errorCode;
}

/** The offset, or why it is not told. */
async function committed(broker: SimulatedBroker, ...groupIds: readonly string[]) {
  const topics = [{ name: "orders", topicId: NO_TOPIC_ID, partitionIndexes: [partitionIndex(0)] }];
  const asked = groupIds.map((groupId) => ({ groupId, memberId: null, memberEpoch: -1, topics }));
  const request = { groupId: "", topics: [], groups: asked, requireStable: false };
  const { groups } = await broker.ask(OffsetFetch, request, 9);
  return groups.map(({ errorCode, topics: [told] }) =>
    errorCode === ErrorCode.NONE ? Number(told?.partitions[0]?.committedOffset) : { errorCode },
  );
}

const elsewhere = { errorCode: ErrorCode.NOT_COORDINATOR };
const loading = { errorCode: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS };

function joinRequest(groupId: string, memberId: string) {
  return {
    groupId,
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    memberId,
    groupInstanceId: null,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: new Uint8Array([0, 0, 0, 0, 0, 0]) }],
    reason: null,
  };
}

const beatRequest = {
  groupId: "a",
  memberId: "m",
  memberEpoch: 0,
  instanceId: null,
  rackId: null,
  rebalanceTimeoutMs: 10_000,
  subscribedTopicNames: ["orders"],
  subscribedTopicRegex: null,
  serverAssignor: null,
  topicPartitions: [],
};

const claim = { groupId: "a", memberId: "m", generationId: 1, groupInstanceId: null };

/** What every request about group "a" is answered. */
async function answers(broker: SimulatedBroker): Promise<readonly ErrorCode[]> {
  const sync = { ...claim, protocolType: "consumer", protocolName: "range", assignments: [] };
  const members = [{ memberId: "m", groupInstanceId: null, reason: null }];
  const described = { includeAuthorizedOperations: false };
  const names = [{ name: "orders", partitions: [{ partitionIndex: partitionIndex(0) }] }];
  const told = [
    (await broker.ask(JoinGroup, joinRequest("a", ""))).errorCode,
    (await broker.ask(SyncGroup, sync)).errorCode,
    (await broker.ask(Heartbeat, claim)).errorCode,
    (await broker.ask(LeaveGroup, { groupId: "a", memberId: "", members })).errorCode,
    await commit(broker, "a", 99),
    (await broker.ask(OffsetDelete, { groupId: "a", topics: names })).errorCode,
    (await broker.ask(DescribeGroups, { groups: ["a"], ...described })).groups[0]?.errorCode,
    (await broker.ask(DeleteGroups, { groupsNames: ["a"] })).results[0]?.errorCode,
    (await broker.ask(ConsumerGroupHeartbeat, beatRequest)).errorCode,
    (await broker.ask(ConsumerGroupDescribe, { groupIds: ["a"], ...described })).groups[0]?.errorCode,
  ];
  return told.map((code) => code ?? ErrorCode.NONE);
}

async function listed(broker: SimulatedBroker) {
  const { errorCode, groups } = await broker.ask(ListGroups, { statesFilter: [], typesFilter: [] });
  return { errorCode, groups: groups.map(({ groupId }) => groupId).sort() };
}

function pass(broker: SimulatedBroker, ms: number): Promise<void> {
  const { clock } = broker.clientPorts();
  return broker.scheduler.runUntil(new Promise<void>((resolve) => clock.schedule(ms, resolve)));
}

describe("a group whose partition is", () => {
  test("are read again and again from a store that does not answer, which ends no broker", async (t) => {
    const moving = await aMovingBroker(t);
    await moving.giveAway("a");
    await moving.comeBack("a", 3);
    assert.deepEqual(await committed(moving.broker, "a"), [1]);
  });

  test("somewhere else is refused in every request with what makes a client look for its coordinator anew", async (t) => {
    const moving = await aMovingBroker(t);
    const { broker } = moving;
    await moving.giveAway("a");
    const codes = await answers(broker);
    assert.deepEqual(
      codes,
      codes.map(() => ErrorCode.NOT_COORDINATOR),
    );
    assert.deepEqual(await committed(broker, "a"), [elsewhere]);
  });

  test("on its way is refused until that is decided, in words by which every client asks again", async (t) => {
    const moving = await aMovingBroker(t);
    const { broker } = moving;
    moving.pause("a");
    const codes = await answers(broker);
    const inWords = new Map([
      // The words for which there is no client that gives up.
      [1, ErrorCode.REBALANCE_IN_PROGRESS],
      [2, ErrorCode.NONE],
    ]);
    assert.deepEqual(
      codes,
      codes.map((_, at) => inWords.get(at) ?? ErrorCode.COORDINATOR_LOAD_IN_PROGRESS),
    );
    assert.deepEqual(await committed(broker, "a"), [loading]);
    assert.deepEqual(await listed(broker), { ...loading, groups: [] });
    moving.resume("a");
    assert.deepEqual(await committed(broker, "a"), [1]);
    assert.deepEqual(await listed(broker), { errorCode: ErrorCode.NONE, groups: ["a"] });
  });

  test("somewhere else says nothing about the others, in one request with it and in listings", async (t) => {
    const moving = await aMovingBroker(t);
    const { broker } = moving;
    assert.equal(await commit(broker, "b", 2), ErrorCode.NONE);
    await moving.giveAway("a");
    assert.deepEqual(await committed(broker, "b", "a", "b"), [2, elsewhere, 2]);
    assert.deepEqual(await listed(broker), { errorCode: ErrorCode.NONE, groups: ["b"] });
  });

  test("here again is read anew, with what was committed while it was here before", async (t) => {
    const moving = await aMovingBroker(t);
    const { broker } = moving;
    await moving.giveAway("a");
    await moving.comeBack("a");
    assert.deepEqual(await committed(broker, "a"), [1]);
    assert.equal(await commit(broker, "a", 2), ErrorCode.NONE);
    await broker.restart();
    assert.deepEqual(await committed(broker, "a"), [2]);
  });

  test("here after all knows what was appended before the move and became durable during it", async (t) => {
    const moving = await aMovingBroker(t);
    const { broker } = moving;
    const { wal } = broker.broker.services;
    const { appended } = wal;
    let wasDurable: boolean | null = null;
    broker.scheduler.afterEvent = () => {
      if (wasDurable !== null || wal.appended === appended) return;
      wasDurable = wal.durable === wal.appended;
      moving.pause("a");
      moving.resume("a");
    };
    const answer = broker.connect().call(OffsetCommit, 9, commitRequest("a", 7));
    const { topics } = await broker.scheduler.runUntil(answer);
    assert.equal(topics[0]?.partitions[0]?.errorCode, ErrorCode.NONE);
    assert.equal(wasDurable, false);
    assert.deepEqual(await committed(broker, "a"), [7]);
  });
});

describe("members of a group whose partition goes", () => {
  test("who wait for others look for their coordinator anew", async (t) => {
    const moving = await aMovingBroker(t);
    const { broker } = moving;
    const leader = (await broker.ask(JoinGroup, joinRequest("a", ""))).memberId;
    await broker.ask(JoinGroup, joinRequest("a", leader));
    const { memberId } = await broker.ask(JoinGroup, joinRequest("a", ""));

    const joining = broker.connect().call(JoinGroup, 9, joinRequest("a", memberId));
    await pass(broker, 100);
    moving.pause("a");
    assert.equal((await broker.scheduler.runUntil(joining)).errorCode, ErrorCode.NOT_COORDINATOR);

    moving.resume("a");
    await pass(broker, 100);
    const again = (await broker.ask(JoinGroup, joinRequest("a", ""))).memberId;
    const joined = broker.connect().call(JoinGroup, 9, joinRequest("a", again));
    await pass(broker, 100);
    await broker.ask(JoinGroup, joinRequest("a", leader));
    const { generationId } = await broker.scheduler.runUntil(joined);
    const sync = { ...claim, memberId: again, generationId, protocolType: null, protocolName: null };
    const syncing = broker.connect().call(SyncGroup, 5, { ...sync, assignments: [] });
    await pass(broker, 100);
    moving.pause("a");
    assert.equal((await broker.scheduler.runUntil(syncing)).errorCode, ErrorCode.NOT_COORDINATOR);
  });

  test("do not run out of time here any more, and begin anew where it is read", async (t) => {
    const moving = await aMovingBroker(t);
    const { broker } = moving;
    const { memberId } = await broker.ask(JoinGroup, joinRequest("a", ""));
    await broker.ask(JoinGroup, joinRequest("a", memberId));
    const sync = { ...claim, memberId, protocolType: "consumer", protocolName: "range" };
    const assignments = [{ memberId, assignment: new Uint8Array([1]) }];
    assert.equal((await broker.ask(SyncGroup, { ...sync, assignments })).errorCode, ErrorCode.NONE);
    await moving.giveAway("a");
    const { appended } = broker.broker.services.wal;
    await pass(broker, 60_000);
    assert.equal(broker.broker.services.wal.appended, appended);
    await moving.comeBack("a");
    await pass(broker, 9_000);
    assert.equal((await broker.ask(Heartbeat, { ...claim, memberId })).errorCode, ErrorCode.NONE);
    await pass(broker, 11_000);
    assert.equal(
      (await broker.ask(Heartbeat, { ...claim, memberId })).errorCode,
      ErrorCode.UNKNOWN_MEMBER_ID,
    );
  });

  test("of KIP-848 go on with their epoch where it is read", async (t) => {
    const moving = await aMovingBroker(t);
    const { broker } = moving;
    const joined = await broker.ask(ConsumerGroupHeartbeat, beatRequest);
    assert.equal(joined.errorCode, ErrorCode.NONE);
    const beat = { ...beatRequest, memberEpoch: joined.memberEpoch, topicPartitions: null };
    await moving.giveAway("a");
    assert.equal((await broker.ask(ConsumerGroupHeartbeat, beat)).errorCode, ErrorCode.NOT_COORDINATOR);
    await moving.comeBack("a");
    const after = await broker.ask(ConsumerGroupHeartbeat, beat);
    assert.deepEqual([after.errorCode, after.memberEpoch], [ErrorCode.NONE, joined.memberEpoch]);
  });
});

type Step =
  | { readonly kind: "commit"; readonly group: string; readonly at: number }
  | { readonly kind: "pause" | "resume" | "giveAway" | "comeBack"; readonly group: string };

const groupIds = ["a", "b", "c", "d"];

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("commit" as const), group: fc.constantFrom(...groupIds), at: fc.nat(99) }),
    fc.record({
      kind: fc.constantFrom("pause" as const, "resume" as const, "giveAway" as const, "comeBack" as const),
      group: fc.constantFrom(...groupIds),
    }),
  ),
  { maxLength: 30 },
);

describe("whatever goes and comes", () => {
  test("an acknowledged commit is told by whoever tells anything of its group", async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(), async (taken, seed) => {
        const broker = await SimulatedBroker.start(settings, seed);
        try {
          await broker.createTopic("orders");
          const moving = new Moving(broker);
          const acknowledged = new Map<string, number>();
          for (const group of groupIds) {
            assert.equal(await commit(broker, group, 0), ErrorCode.NONE);
            acknowledged.set(group, 0);
          }
          for (const step of taken) {
            if (step.kind === "commit") {
              const code = await commit(broker, step.group, step.at);
              if (code === ErrorCode.NONE) acknowledged.set(step.group, step.at);
              const isHere = moving.partitionOf(step.group)?.takesAppends ?? false;
              assert.equal(code === ErrorCode.NONE, isHere);
            } else await moving[step.kind](step.group);
            const told = await committed(broker, ...groupIds);
            for (const [index, group] of groupIds.entries()) {
              const one = told[index];
              if (typeof one === "number") assert.equal(one, acknowledged.get(group), group);
            }
          }
          for (const group of groupIds) {
            await moving.comeBack(group);
            moving.resume(group);
          }
          assert.deepEqual(
            await committed(broker, ...groupIds),
            groupIds.map((group) => acknowledged.get(group)),
          );
        } finally {
          await broker.stop();
        }
      }),
      { numRuns: Number(process.env["MOVES"] ?? 30) },
    );
  });
});
