/** What a shard of share states decides, its records in Kafka's formats, and what a start reads from them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { leaderEpoch, offset, type Offset, partitionIndex, producerId, topicId } from "../../base/ids.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import { Turn } from "../turn.ts";
import {
  type ShareStateKey,
  type ShareStateRecord,
  shareStateRecords,
  type ShareStateTurn,
} from "./records.ts";
import { type Judged, ShareStateShard, type ShareStateSettings, type WrittenState } from "./shard.ts";
import type { KeptState, StateBatch } from "./state-batch.ts";

const orders = topicId("AAAAAAAAAAAAAAAAAAAAAQ");
const key: ShareStateKey = { groupId: "g", topicId: orders, partition: partitionIndex(3) };
const unknown = offset(-1);

class Fixture {
  shard: ShareStateShard;
  readonly records: ShareStateRecord[] = [];
  readonly topics = new Set([orders]);
  readonly #settings: ShareStateSettings;

  constructor(settings: Partial<ShareStateSettings> = {}) {
    this.#settings = {
      updatesPerSnapshot: 3,
      hasPartition: (topic) => this.topics.has(topic),
      mayGrow: () => true,
      ...settings,
    };
    this.shard = new ShareStateShard(this.#settings);
  }

  decide<T>(decision: (shard: ShareStateShard, turn: ShareStateTurn) => T): T {
    const turn: ShareStateTurn = new Turn({ monotonicMs: 1, wallMs: 1_000 }, (record) => {
      this.shard.apply(record, offset(this.records.length));
      this.records.push(record);
    });
    return decision(this.shard, turn);
  }

  initialize(stateEpoch: number, startOffset: Offset = unknown) {
    return this.decide((shard, turn) => shard.initialize(turn, key, { stateEpoch, startOffset }));
  }
  read(epoch: number) {
    return this.decide((shard, turn) => shard.read(turn, key, leaderEpoch(epoch)));
  }
  write(epoch: number, wanted: Partial<WrittenState> = {}) {
    const state: WrittenState = {
      stateEpoch: 1,
      leaderEpoch: leaderEpoch(epoch),
      startOffset: unknown,
      deliveryCompleteCount: -1,
      batches: [],
      ...wanted,
    };
    return this.decide((shard, turn) => shard.write(turn, key, state));
  }
  kinds(): string[] {
    return this.records.map(({ kind, value }) => (value === null ? "gone" : kind));
  }

  /** As a start reads them, from their bytes. */
  restart(from = 0): void {
    this.shard = new ShareStateShard(this.#settings);
    for (const [at, record] of this.records.entries()) {
      const read = shareStateRecords.decode(shareStateRecords.encode(record));
      assert.ok(read !== null);
      assert.deepEqual(read, record);
      if (at >= from) this.shard.load(read, offset(at));
    }
    this.shard.loaded();
  }
}

const said = (judged: Judged<unknown>): string =>
  judged.kind === "told" ? "NONE" : errorFacts(judged.errorCode).name;

function told<T>(judged: Judged<T>): T {
  assert.ok(judged.kind === "told");
  return judged.value;
}

const batch = (first: number, last: number, state: KeptState, deliveryCount: number): StateBatch => ({
  first: offset(first),
  last: offset(last),
  state,
  deliveryCount,
  letter: null,
});

test("a state is begun, read, written and told again", () => {
  const at = new Fixture();
  assert.equal(said(at.initialize(1)), "NONE");
  assert.deepEqual(told(at.read(0)), { stateEpoch: 1, startOffset: -1, batches: [] });
  const batches = [batch(10, 11, 2, 1), batch(14, 14, 0, 2)];
  assert.equal(said(at.write(0, { startOffset: offset(10), deliveryCompleteCount: 2, batches })), "NONE");
  assert.deepEqual(told(at.read(0)), { stateEpoch: 1, startOffset: 10, batches });
  const summary = { stateEpoch: 1, leaderEpoch: 0, startOffset: 10, deliveryCompleteCount: 2 };
  assert.deepEqual(told(at.shard.summary(key)), summary);
  at.restart();
  assert.deepEqual(told(at.read(0)), { stateEpoch: 1, startOffset: 10, batches });
  assert.deepEqual(told(at.shard.summary(key)), summary);
});

test("a reading by a newer leader is a record, and refuses the older one's writes also after a restart", () => {
  const at = new Fixture();
  at.initialize(1);
  at.read(4);
  const count = at.records.length;
  at.read(4);
  assert.equal(at.records.length, count, "the same leader needs no second one");
  at.read(5);
  assert.equal(said(at.write(4)), "FENCED_LEADER_EPOCH");
  assert.equal(said(at.read(4)), "FENCED_LEADER_EPOCH");
  at.restart();
  assert.equal(said(at.write(4)), "FENCED_LEADER_EPOCH");
  assert.equal(said(at.write(5)), "NONE");
});

test("a state that begins anew refuses who read the one before, and keeps who may lead", () => {
  const at = new Fixture();
  at.initialize(1);
  at.read(5);
  at.write(5, { startOffset: offset(0), batches: [batch(0, 3, 2, 1)] });
  assert.equal(said(at.initialize(2, offset(1))), "NONE");
  assert.equal(said(at.write(5)), "FENCED_STATE_EPOCH");
  assert.equal(said(at.initialize(1, offset(0))), "FENCED_STATE_EPOCH");
  assert.deepEqual(told(at.read(5)), { stateEpoch: 2, startOffset: 1, batches: [] });
  at.restart();
  assert.equal(said(at.write(4, { stateEpoch: 2 })), "FENCED_LEADER_EPOCH");
});

test("who does not know whether a state was begun begins it again, and takes nothing back", () => {
  const at = new Fixture();
  at.initialize(1);
  at.write(0, { startOffset: offset(5), batches: [batch(5, 6, 2, 1)] });
  assert.equal(said(at.initialize(3)), "NONE");
  assert.deepEqual(told(at.read(0)).batches, [batch(5, 6, 2, 1)]);
});

test("what was never begun is neither read nor written, and its summary says so", () => {
  const at = new Fixture();
  assert.equal(said(at.read(0)), "INVALID_REQUEST");
  assert.equal(said(at.write(0)), "INVALID_REQUEST");
  assert.equal(told(at.shard.summary(key)).startOffset, -1);
  assert.equal(said(at.decide((shard, turn) => shard.delete(turn, key))), "NONE");
  assert.deepEqual(at.records, []);
});

test("a deleted state is gone, also after a restart, and so are those of a deleted topic", () => {
  const at = new Fixture();
  at.initialize(1);
  at.decide((shard, turn) => shard.delete(turn, key));
  assert.equal(said(at.read(0)), "INVALID_REQUEST");
  at.initialize(2);
  at.decide((shard, turn) => shard.forgetTopics(turn, (id) => id === orders));
  // Between them what is remembered of the first: the topic, and so its second state, never comes back.
  assert.deepEqual(at.kinds(), ["snapshot", "snapshot", "gone", "snapshot", "gone"]);
  at.restart();
  assert.equal(at.shard.count, 0);
  assert.equal(at.shard.bytes, 0);
  at.topics.clear();
  assert.equal(said(at.initialize(3)), "UNKNOWN_TOPIC_OR_PARTITION");
});

test("what was read of a state that was deleted is not written into the one that came after it", () => {
  const fixture = new Fixture();
  fixture.initialize(5, offset(0));
  fixture.read(1);
  fixture.decide((shard, turn) => shard.delete(turn, key));
  // A group that is made anew counts from the beginning.
  fixture.initialize(4);
  const late = fixture.write(1, { stateEpoch: 5, startOffset: offset(7) });
  assert.equal(late.kind === "refused" && late.errorCode, ErrorCode.FENCED_STATE_EPOCH);
  const found = fixture.read(1);
  assert.equal(found.kind === "told" && found.value.startOffset, unknown);
});

test("a state that is deleted and begun anew never has an epoch that one of its key had, also after a restart", () => {
  const at = new Fixture();
  for (const asked of [3, 1, 1, 9, 2]) {
    at.initialize(asked);
    at.restart(at.shard.neededFrom ?? 0);
    at.decide((shard, turn) => shard.delete(turn, key));
    at.restart(at.shard.neededFrom ?? 0);
    at.decide((shard, turn) => shard.refresh(turn, offset(at.records.length)));
    at.restart(at.shard.neededFrom ?? 0);
  }
  const epochs = at.records.flatMap(({ kind, key: { groupId }, value }) =>
    kind === "snapshot" && groupId === "g" && value !== null ? [value.stateEpoch] : [],
  );
  assert.deepEqual(epochs, [3, 4, 5, 9, 10]);
  assert.deepEqual([at.shard.count, at.shard.bytes], [0, 0]);
});

test("what is late of a state's end leaves the one that began after it", () => {
  const at = new Fixture();
  at.initialize(1);
  const end = (upTo: number) => at.decide((shard, turn) => said(shard.delete(turn, key, upTo)));
  assert.equal(end(1), "NONE");
  at.initialize(1);
  assert.equal(end(1), "NONE", "it was carried out already");
  assert.deepEqual(told(at.read(0)), { stateEpoch: 2, startOffset: -1, batches: [] });
  assert.equal(end(2), "NONE");
  assert.equal(said(at.read(0)), "INVALID_REQUEST");
});

test("who asks twice to begin anew with one epoch takes back nothing that was written in between", () => {
  const at = new Fixture();
  at.initialize(1, offset(5));
  at.write(0, { startOffset: offset(6), batches: [batch(7, 8, 2, 1)] });
  assert.equal(said(at.initialize(1, offset(5))), "NONE");
  assert.deepEqual(told(at.read(0)), { stateEpoch: 1, startOffset: 6, batches: [batch(7, 8, 2, 1)] });
});

test("who begins without an offset is not asked for an epoch: the state may be a later one's of its group", () => {
  const at = new Fixture();
  at.initialize(7);
  assert.equal(said(at.initialize(2)), "NONE");
  assert.equal(told(at.read(0)).stateEpoch, 7);
});

test("nonsense is refused", () => {
  const at = new Fixture();
  assert.equal(said(at.initialize(2 ** 31 - 1)), "INVALID_REQUEST");
  at.initialize(1);
  assert.equal(said(at.write(0, { batches: [batch(5, 4, 2, 1)] })), "INVALID_REQUEST");
  assert.equal(said(at.write(0, { batches: [batch(0, 4, 1 as KeptState, 1)] })), "INVALID_REQUEST");
  const negative = { ...key, partition: partitionIndex(-1) };
  assert.equal(said(at.shard.summary(negative)), "INVALID_REQUEST");
});

test("where memory is used up no state begins, and those that are there go on", () => {
  let isFull = false;
  const at = new Fixture({ mayGrow: () => !isFull });
  at.initialize(1);
  isFull = true;
  assert.equal(said(at.write(0, { startOffset: offset(2) })), "NONE");
  const judged = at.decide((shard, turn) =>
    shard.initialize(turn, { ...key, groupId: "other" }, { stateEpoch: 1, startOffset: unknown }),
  );
  assert.ok(judged.kind === "refused" && judged.errorCode === ErrorCode.COORDINATOR_NOT_AVAILABLE);
});

test("after so many updates the whole is written, and what lies before it is not needed", () => {
  const at = new Fixture();
  at.initialize(1);
  for (let n = 0; n < 9; n++) at.write(0, { startOffset: offset(n), batches: [batch(n + 1, n + 1, 2, 1)] });
  const four = ["snapshot", "update", "update", "update"];
  assert.deepEqual(at.kinds(), [...four, ...four, "snapshot", "update"]);
  assert.equal(at.shard.neededFrom, 8);
  const before = told(at.read(0));
  at.restart(8);
  assert.deepEqual(told(at.read(0)), before);
});

test("an old snapshot that holds up the log is written anew", () => {
  const at = new Fixture();
  at.initialize(1);
  at.write(0, { startOffset: offset(7) });
  at.decide((shard, turn) => shard.refresh(turn, offset(1)));
  assert.equal(at.shard.neededFrom, 2);
  at.restart(2);
  assert.equal(told(at.read(0)).startOffset, 7);
});

test("any history says the same when it is read from its records, from any snapshot on that is needed", () => {
  const state = fc.constantFrom<KeptState>(0, 2, 3, 4);
  const step = fc.record({
    kind: fc.constantFrom("write", "write", "write", "write", "read", "initialize", "delete", "refresh"),
    epoch: fc.nat(3),
    start: fc.integer({ min: -1, max: 30 }),
    first: fc.nat(40),
    length: fc.integer({ min: 1, max: 9 }),
    state,
    count: fc.nat(4),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const at = new Fixture();
      for (const { kind, epoch, start, first, length, state, count } of steps) {
        if (kind === "initialize") at.initialize(epoch, offset(start));
        else if (kind === "read") at.read(epoch);
        else if (kind === "delete") at.decide((shard, turn) => shard.delete(turn, key));
        else if (kind === "refresh")
          at.decide((shard, turn) => shard.refresh(turn, offset(at.records.length)));
        else {
          at.write(epoch, {
            stateEpoch: epoch,
            startOffset: offset(start),
            batches: [batch(first, first + length - 1, state, count)],
          });
        }
        assertEpochsRise(at.records);
        const { bytes, count: kept } = at.shard;
        const summary = at.shard.summary(key);
        at.restart(at.shard.neededFrom ?? 0);
        assert.deepEqual(at.shard.summary(key), summary);
        assert.deepEqual([at.shard.bytes, at.shard.count], [bytes, kept]);
      }
    }),
    { numRuns: 200 },
  );
});

/** Over all states that the key had: each one that began has a greater epoch than those before it. */
function assertEpochsRise(records: readonly ShareStateRecord[]): void {
  let newest = -1;
  let isGone = true;
  for (const { kind, key: of, value } of records) {
    if (kind !== "snapshot" || of.groupId !== key.groupId) continue;
    if (value !== null) {
      assert.ok(
        isGone ? value.stateEpoch > newest : value.stateEpoch >= newest,
        `${value.stateEpoch} after ${newest}`,
      );
      newest = value.stateEpoch;
    }
    isGone = value === null;
  }
}

test("records are written as Kafka writes them", () => {
  const snapshot: ShareStateRecord = {
    kind: "snapshot",
    key,
    value: {
      snapshotEpoch: 1,
      stateEpoch: 2,
      leaderEpoch: leaderEpoch(3),
      startOffset: offset(4),
      deliveryCompleteCount: 5,
      createTimestamp: 6,
      writeTimestamp: 7,
      stateBatches: [
        {
          firstOffset: offset(8),
          lastOffset: offset(9),
          deliveryState: 2,
          deliveryCount: 1,
          letterProducerId: producerId(-1),
          letterSequence: -1,
        },
      ],
    },
  };
  const { key: keyBytes, value } = shareStateRecords.encode(snapshot);
  // Kind, group, topic id, partition; keys are not flexible.
  assert.equal(Buffer.from(keyBytes).toString("hex"), `0000000167${"0".repeat(31)}100000003`);
  const hex = [
    "0000 00000001 00000002 00000003 0000000000000004 0000000000000006 0000000000000007",
    // One batch without tags of its own; then the count of complete deliveries, as tag 0.
    "02 0000000000000008 0000000000000009 02 0001 00",
    "01 00 04 00000005",
  ];
  assert.equal(Buffer.from(value ?? []).toString("hex"), hex.join("").replaceAll(" ", ""));
  const update: ShareStateRecord = {
    kind: "update",
    key,
    value: {
      snapshotEpoch: 1,
      leaderEpoch: leaderEpoch(3),
      startOffset: offset(-1),
      deliveryCompleteCount: -1,
      stateBatches: [],
    },
  };
  const encoded = shareStateRecords.encode(update);
  assert.equal(Buffer.from(encoded.key).readInt16BE(), 1);
  assert.equal(Buffer.from(encoded.value ?? []).toString("hex"), "00000000000100000003ffffffffffffffff0100");
});
