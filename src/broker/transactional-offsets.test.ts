/** Offsets that groups commit in transactions, in a whole broker: who is told them when, and what power cuts and compaction leave of them. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aBroker, SimulatedBroker } from "../../test/simulated-broker.ts";
import {
  leaderEpoch,
  NO_TOPIC_ID,
  offset,
  partitionIndex,
  producerEpoch,
  type ProducerId,
  producerId,
} from "../base/ids.ts";
import { expectedOffset, type OffsetStep } from "../coordinator/offset-model.ts";
import type { TransactionOutcome } from "../coordinator/shard.ts";
import { objectHeaderBytes } from "../log/segment-format.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { OffsetCommit } from "../protocol/messages/offset-commit.ts";
import { OffsetDelete } from "../protocol/messages/offset-delete.ts";
import { OffsetFetch } from "../protocol/messages/offset-fetch.ts";
import { SimRandom } from "../sim/random.ts";

const settings = { "offsets.topic.num.partitions": "1" };
const groupId = "g";
const claim = { memberId: "", instanceId: null, generation: -1 };
const partition = partitionIndex(0);

/** Commits inside a transaction, with no coordinator of transactions that would have to allow it. */
async function hold(broker: SimulatedBroker, producer: ProducerId, topic: string, at: number, epoch = 0) {
  const { groups } = broker.broker.services;
  await broker.scheduler.runUntil(Promise.resolve(groups.enter(groupId)));
  const to = {
    topic,
    partition,
    offset: offset(at),
    leaderEpoch: leaderEpoch(-1),
    metadata: "",
    topicId: NO_TOPIC_ID,
  };
  const identity = { producerId: producer, producerEpoch: producerEpoch(epoch) };
  const request = { groupId, claim, offsets: [to], isTransactional: true };
  return broker.scheduler.runUntil(
    groups.runIn(groupId, identity, (shard, turn) => shard.commit(turn, request)),
  );
}

/** Returns once the marker is durable. */
async function mark(broker: SimulatedBroker, producer: ProducerId, outcome: TransactionOutcome, epoch = 0) {
  const { groups, wal } = broker.broker.services;
  await broker.scheduler.runUntil(Promise.resolve(groups.enter(groupId)));
  const wish = { producerId: producer, producerEpoch: producerEpoch(epoch), coordinatorEpoch: 0, outcome };
  const marked = groups.mark(groups.partitionOf(groupId), wish);
  assert.ok(marked.kind !== "elsewhere");
  await broker.scheduler.runUntil(wal.whenDurable(marked.walNumber));
  return marked;
}

async function commit(broker: SimulatedBroker, topic: string, at: number) {
  const committed = {
    partitionIndex: partition,
    committedOffset: offset(at),
    committedLeaderEpoch: leaderEpoch(-1),
    committedMetadata: null,
  };
  const { topics } = await broker.ask(
    OffsetCommit,
    {
      groupId,
      generationIdOrMemberEpoch: -1,
      memberId: "",
      groupInstanceId: null,
      retentionTimeMs: -1,
      topics: [{ name: topic, topicId: NO_TOPIC_ID, partitions: [committed] }],
    },
    9,
  );
  assert.equal(topics[0]?.partitions[0]?.errorCode, ErrorCode.NONE);
}

async function fetched(broker: SimulatedBroker, topic: string, requireStable: boolean, wantsAll = false) {
  const wanted = [{ name: topic, topicId: NO_TOPIC_ID, partitionIndexes: [partition] }];
  const group = { groupId, memberId: null, memberEpoch: -1, topics: wantsAll ? null : wanted };
  const { groups } = await broker.ask(
    OffsetFetch,
    { groupId: "", topics: [], groups: [group], requireStable },
    9,
  );
  const answer = groups[0]?.topics.find(({ name }) => name === topic)?.partitions[0];
  return answer?.errorCode === ErrorCode.UNSTABLE_OFFSET_COMMIT
    ? "unstable"
    : (answer?.committedOffset ?? -1);
}

const p = producerId(1);

describe("an offset committed in a transaction", () => {
  test("is told once the marker is there, and makes who asks for what is stable wait until then", async (t) => {
    const broker = await aBroker(t, settings);
    await broker.createTopic("orders");
    await commit(broker, "orders", 3);
    assert.equal((await hold(broker, p, "orders", 7)).kind, "decided");
    for (const wantsAll of [false, true]) {
      assert.equal(await fetched(broker, "orders", false, wantsAll), 3);
      assert.equal(await fetched(broker, "orders", true, wantsAll), "unstable");
    }
    assert.equal((await mark(broker, p, "commit")).kind, "marked");
    for (const isStable of [false, true]) assert.equal(await fetched(broker, "orders", isStable), 7);
  });

  test("survives a power cut with its transaction, before the marker and after it", async (t) => {
    const broker = await aBroker(t, settings);
    await broker.createTopic("orders");
    await hold(broker, p, "orders", 7);
    broker.crash();
    await broker.boot();
    assert.equal(await fetched(broker, "orders", true), "unstable");
    assert.equal(await fetched(broker, "orders", false), -1);
    await mark(broker, p, "commit");
    broker.crash();
    await broker.boot();
    assert.equal(await fetched(broker, "orders", true), 7);
  });

  test("of a producer that was fenced is refused, and leaves nothing behind", async (t) => {
    const broker = await aBroker(t, settings);
    await broker.createTopic("orders");
    await hold(broker, p, "orders", 7, 1);
    await mark(broker, p, "abort", 2);
    assert.equal((await hold(broker, p, "orders", 8, 1)).kind, "stale-producer-epoch");
    assert.equal(await fetched(broker, "orders", true), -1);
    assert.equal((await mark(broker, p, "commit", 1)).kind, "stale-producer-epoch");
    assert.equal(broker.broker.services.tail.waiting, 0);
  });
});

test("an offset whose marker is damaged is dropped at the next start, loudly, and keeps nobody waiting", async (t) => {
  const broker = await aBroker(t, { ...settings, "holdfast.flush.age.ms": "100" });
  await broker.createTopic("orders");
  const flushed = () => broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 2_000 });
  const segments = () => new Set(broker.disk.paths().filter((path) => path.includes("/seg/")));
  await hold(broker, p, "orders", 7);
  await flushed();
  const before = segments();
  await mark(broker, p, "commit");
  await flushed();
  await broker.stop();
  const [path = "", ...more] = [...segments()].filter((each) => !before.has(each));
  assert.deepEqual(more, []);
  const bytes = Buffer.from(broker.disk.contents(path));
  // Behind the header and a copy of the footer lies the one block, with the marker.
  const footerBytes = bytes.readInt32BE(bytes.byteLength - 8);
  broker.disk.flipBit(path, 8 * (objectHeaderBytes + footerBytes + 70));
  await broker.boot();
  assert.equal(await fetched(broker, "orders", true), -1);
  await commit(broker, "orders", 9);
  assert.equal(await fetched(broker, "orders", true), 9);
});

/** Everything that moves records about, as often as it can. */
const hasty = {
  ...settings,
  "holdfast.flush.age.ms": "100",
  "log.cleaner.backoff.ms": "40",
  "log.cleaner.min.cleanable.ratio": "0",
  "log.cleaner.delete.retention.ms": "200",
  "log.retention.check.interval.ms": "100",
  "log.segment.delete.delay.ms": "50",
};
const seeds = Number(process.env["OFFSET_SEEDS"] ?? 2);

function nextStep(random: SimRandom): OffsetStep {
  const topic = random.pick(["orders", "bills"]);
  const producer = producerId(random.between(1, 3));
  const at = random.below(100);
  const kind = random.below(12);
  if (kind < 3) return { kind: "commit", topic, at };
  if (kind < 7) return { kind: "hold", topic, at, producer };
  if (kind < 10) return { kind: "mark", producer, outcome: random.chance(0.6) ? "commit" : "abort" };
  return kind === 10 ? { kind: "delete", topic } : { kind: "restart" };
}

async function take(broker: SimulatedBroker, step: OffsetStep): Promise<void> {
  switch (step.kind) {
    case "commit":
      return commit(broker, step.topic, step.at);
    case "hold":
      assert.equal((await hold(broker, step.producer, step.topic, step.at)).kind, "decided");
      return;
    case "mark":
      assert.equal((await mark(broker, step.producer, step.outcome)).kind, "marked");
      return;
    case "delete": {
      const topics = [{ name: step.topic, partitions: [{ partitionIndex: partition }] }];
      await broker.ask(OffsetDelete, { groupId, topics });
      return;
    }
    default:
      broker.crash();
      await broker.boot();
      // Until the connection of before has heard that it was cut.
      await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 50 });
  }
}

test(`what is committed is what the log's order says, over ${seeds} × 120 commits, markers and power cuts with compaction`, async () => {
  let replacements = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const random = new SimRandom(seed);
    const broker = await SimulatedBroker.start(hasty, seed);
    for (const topic of ["orders", "bills"]) await broker.createTopic(topic);
    const steps: OffsetStep[] = [];
    const listen = (): void =>
      void broker.broker.services.journal.onApplied((event) => {
        if (event.kind !== "slot") return;
        for (const { command, outcome } of event.commands) {
          if (command.kind === "replace" && outcome.kind === "applied") replacements++;
        }
      });
    listen();
    for (let count = 0; count < 120; count++) {
      const step = nextStep(random);
      await take(broker, step);
      if (step.kind === "restart") listen();
      steps.push(step);
      await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + random.below(80) });
      for (const topic of ["orders", "bills"]) {
        const { committed = -1, isUnstable } = expectedOffset(steps, topic);
        const where = `seed ${seed}, step ${count}: ${JSON.stringify(step)}`;
        assert.equal(await fetched(broker, topic, false), committed, where);
        assert.equal(await fetched(broker, topic, true), isUnstable ? "unstable" : committed, where);
      }
    }
    await broker.stop();
  }
  assert.ok(replacements > seeds * 3, `${replacements} segments were exchanged by compaction`);
});
