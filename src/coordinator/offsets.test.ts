/** Committed offsets: who may commit, what goes and when. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { partitionIndex, topicId } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { groupId, ShardFixture, testSettings } from "./shard-fixture.ts";

const holdsNothing = { holds: () => false };
const dayMs = 24 * 3_600_000;

describe("a commit", () => {
  test("of somebody who assigns partitions by himself needs no group, and a restart knows it", () => {
    const group = new ShardFixture();
    assert.deepEqual(group.commit(7), [ErrorCode.NONE]);
    group.restart();
    assert.equal(group.committed(), 7);
    assert.equal(group.shard.group(groupId)?.classic, null);
  });

  test("needs the generation of now: an older one would hide what its new owner has not processed", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(1);
    const [memberId = ""] = ids;
    assert.deepEqual(group.commit(3, { memberId, generation }), [ErrorCode.NONE]);
    const refused = (claim: Parameters<ShardFixture["commit"]>[1]) => group.commit(9, claim)[0];
    assert.equal(refused({ memberId, generation: generation - 1 }), ErrorCode.ILLEGAL_GENERATION);
    assert.equal(refused({ memberId: "other", generation }), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(refused({}), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(group.committed(), 3);
  });

  test("of a member whose group is gone is refused", () => {
    const group = new ShardFixture();
    assert.deepEqual(group.commit(3, { memberId: "m", generation: 4 }), [ErrorCode.ILLEGAL_GENERATION]);
    assert.equal(group.committed(), undefined);
  });

  test("is allowed while the others join again, and not while the leader divides", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(2);
    const [a = "", b = ""] = ids;
    group.enter();
    assert.deepEqual(group.commit(4, { memberId: a, generation }), [ErrorCode.NONE]);
    group.join({ memberId: a });
    group.join({ memberId: b });
    const next = generation + 1;
    assert.deepEqual(group.commit(5, { memberId: a, generation }), [ErrorCode.ILLEGAL_GENERATION]);
    assert.deepEqual(group.commit(5, { memberId: a, generation: next }), [ErrorCode.REBALANCE_IN_PROGRESS]);
  });

  test("keeps a member's session alive", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(1);
    const [memberId = ""] = ids;
    for (let at = 0; at < 4; at++) {
      group.pass(6_000);
      assert.deepEqual(group.commit(at, { memberId, generation }), [ErrorCode.NONE]);
    }
  });

  test("with too much text beside it is refused", () => {
    const group = new ShardFixture();
    const text = "x".repeat(testSettings.metadataBytesMax + 1);
    assert.deepEqual(group.commit(1, {}, "orders", text), [ErrorCode.OFFSET_METADATA_TOO_LARGE]);
    assert.equal(group.records.length, 0);
  });

  test("that goes back is taken, and said", () => {
    const group = new ShardFixture();
    group.commit(10);
    group.commit(4);
    group.commit(4);
    assert.deepEqual(group.regressions, [{ group: groupId, topic: "orders", partition: 0, from: 10, to: 4 }]);
    assert.equal(group.committed(), 4);
  });
});

test("without memory nothing new is taken, and what is there goes on", () => {
  let bytesMax = Infinity;
  const group: ShardFixture = new ShardFixture({ mayGrow: (bytes) => group.shard.bytes + bytes <= bytesMax });
  const { ids, generation } = group.stable(2);
  const [memberId = ""] = ids;
  group.commit(1, { memberId, generation });
  bytesMax = group.shard.bytes;
  assert.equal(group.join().response?.errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED);
  assert.equal(group.beat("new", 0).errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED);
  assert.deepEqual(group.commit(1, { memberId, generation }, "bills"), [ErrorCode.COORDINATOR_NOT_AVAILABLE]);
  assert.deepEqual(group.commit(2, { memberId, generation }), [ErrorCode.NONE]);
  assert.equal(group.heartbeat(memberId, generation), ErrorCode.NONE);
  assert.ok(group.join({ memberId }).isWaiting, "also to join again");
  group.restart();
  assert.ok(Math.abs(group.shard.bytes - bytesMax) < 300, "a restart counts the same");
  for (const id of ids) group.leave({ memberId: id, instanceId: null });
  group.turn((shard, turn) => shard.deleteGroup(turn, groupId));
  assert.equal(group.shard.bytes, 0);
});

describe("what is committed goes", () => {
  const expire = (group: ShardFixture, data = holdsNothing) =>
    group.turn((shard, turn) => shard.expire(turn, data)).map(({ topic }) => topic);

  test("when nobody was in the group for the retention time, counted from when the last one left", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(1);
    group.commit(3, { memberId: ids[0] as string, generation });
    for (let at = 0; at < 8 * 24 * 600; at++) {
      group.pass(6_000);
      group.heartbeat(ids[0] as string, generation);
    }
    assert.deepEqual(expire(group), [], "it is in use");
    group.leave({ memberId: ids[0] as string, instanceId: null });
    group.pass(7 * dayMs - 1);
    assert.deepEqual(expire(group), []);
    group.pass(1);
    assert.deepEqual(expire(group), ["orders"]);
    assert.equal(group.shard.group(groupId), undefined, "the group goes with its last offset");
    group.restart();
    assert.equal(group.shard.groupCount, 0);
  });

  test("when a tool committed it that long ago, unless its data is held", () => {
    const group = new ShardFixture();
    group.commit(3);
    group.pass(7 * dayMs);
    assert.deepEqual(expire(group, { holds: () => true }), []);
    assert.deepEqual(expire(group), ["orders"]);
  });

  test("when the members read other topics now", () => {
    const group = new ShardFixture();
    group.commit(3, {}, "bills");
    const { ids, generation } = group.stable(1, { sessionTimeoutMs: 1_800_000 });
    group.commit(3, { memberId: ids[0] as string, generation });
    for (let at = 0; at < 7 * 48 + 1; at++) {
      group.heartbeat(ids[0] as string, generation);
      group.pass(1_799_000);
    }
    assert.deepEqual(expire(group), ["bills"]);
  });

  test("with the group, when it is deleted, which one with members is not", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(1);
    group.commit(3, { memberId: ids[0] as string, generation });
    const remove = () => group.turn((shard, turn) => shard.deleteGroup(turn, groupId));
    assert.equal(remove(), ErrorCode.NON_EMPTY_GROUP);
    group.leave({ memberId: ids[0] as string, instanceId: null });
    assert.equal(remove(), ErrorCode.NONE);
    assert.equal(remove(), ErrorCode.GROUP_ID_NOT_FOUND);
    group.restart();
    assert.equal(group.shard.groupCount, 0);
  });

  test("alone, where the group does not read that topic", () => {
    const group = new ShardFixture();
    group.commit(3, {}, "bills");
    group.stable(1);
    const names = ["orders", "bills"].map((topic) => ({ topic, partition: partitionIndex(0) }));
    const { errorCodes } = group.turn((shard, turn) => shard.deleteOffsets(turn, groupId, names));
    assert.deepEqual(errorCodes, [ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC, ErrorCode.NONE]);
    assert.equal(group.committed("bills"), undefined);
  });

  test("with its topic", () => {
    const group = new ShardFixture();
    const gone = topicId("QUFBQUFBQUFBQUFBQUFBQQ");
    const to = { partition: partitionIndex(0), offset: 3, leaderEpoch: 0, metadata: "" } as never as object;
    const offsets = [{ ...to, topic: "orders", topicId: gone }] as never;
    const claim = { memberId: "", instanceId: null, generation: -1 };
    group.turn((shard, turn) => shard.commit(turn, { groupId, claim, offsets, isTransactional: false }));
    group.turn((shard, turn) => shard.forgetTopics(turn, (id) => id === gone));
    assert.equal(group.committed(), undefined);
  });
});
