/** Members of the classic protocol: what they are told, and when. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ErrorCode } from "../protocol/errors.ts";
import { groupId, ShardFixture, subscription } from "./shard-fixture.ts";

const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString();

describe("entering a group", () => {
  test("a member hears its id first and joins with it, so that a retry makes no second member", () => {
    const group = new ShardFixture();
    const told = group.join().response;
    assert.equal(told?.errorCode, ErrorCode.MEMBER_ID_REQUIRED);
    assert.equal(told?.memberId, "c-1");
    assert.equal(group.records.length, 0);
    const joined = group.join({ memberId: "c-1" });
    assert.ok(joined.isWaiting);
    group.pass(3_000);
    assert.equal(joined.response?.errorCode, ErrorCode.NONE);
    assert.equal(joined.response?.leader, "c-1");
    assert.equal(joined.response?.protocolName, "range");
    assert.deepEqual(
      joined.response?.members.map(({ memberId }) => memberId),
      ["c-1"],
    );
  });

  test("an older client joins at once, without an id", () => {
    const group = new ShardFixture({ initialRebalanceDelayMs: 0 });
    assert.equal(group.join({ mustKnowId: false }).response?.generationId, 1);
  });

  test("a generation is in the log before anybody hears its number", () => {
    const group = new ShardFixture({ initialRebalanceDelayMs: 0 });
    const { response } = group.enter();
    const written = group.records.map((record) =>
      record.kind === "classic" ? record.value?.generation : null,
    );
    assert.deepEqual(written, [response?.generationId]);
  });

  test("the first generation waits for those who come soon after the first", () => {
    const group = new ShardFixture();
    const first = group.enter();
    group.pass(2_900);
    const second = group.enter();
    group.pass(200);
    assert.ok(first.isWaiting);
    group.pass(3_000);
    assert.equal(first.response?.generationId, 1);
    assert.equal(second.response?.generationId, 1);
    assert.equal(first.response?.members.length, 2);
    assert.equal(second.response?.members.length, 0);
  });

  test("an id that was never given out is refused, and so are sessions out of bounds and strange protocols", () => {
    const group = new ShardFixture();
    const code = (over: Parameters<ShardFixture["join"]>[0]) => group.join(over).response?.errorCode;
    assert.equal(code({ memberId: "forged" }), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(code({ sessionTimeoutMs: 5_999 }), ErrorCode.INVALID_SESSION_TIMEOUT);
    assert.equal(code({ sessionTimeoutMs: 1_800_001 }), ErrorCode.INVALID_SESSION_TIMEOUT);
    assert.equal(code({ protocols: [] }), ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    group.stable(1);
    assert.equal(code({ protocolType: "connect" }), ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    const other = [{ name: "roundrobin", metadata: new Uint8Array() }];
    assert.equal(code({ protocols: other }), ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
  });

  test("a full group takes nobody, not even those who only asked for an id", () => {
    const group = new ShardFixture({ membersMax: 2 });
    group.enter();
    group.join();
    assert.equal(group.join().response?.errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED);
  });

  test("all speak the protocol that all know and most prefer", () => {
    const group = new ShardFixture();
    const offer = (...names: string[]) => names.map((name) => ({ name, metadata: new Uint8Array() }));
    const first = group.enter({ protocols: offer("sticky", "range") });
    group.enter({ protocols: offer("range", "sticky") });
    group.enter({ protocols: offer("range", "odd", "sticky") });
    group.pass(10_000);
    assert.equal(first.response?.protocolName, "range");
  });
});

test("a thousand members that join at once are one generation", () => {
  const group = new ShardFixture({ membersMax: 1_000 });
  const { ids, generation } = group.stable(1_000);
  assert.equal(generation, 1);
  assert.equal(
    group.records.filter(({ kind }) => kind === "classic").length,
    2,
    "one record for who, one for what",
  );
  assert.equal(group.waiting, 0);
  for (const id of ids) assert.equal(group.heartbeat(id, generation), ErrorCode.NONE);
});

describe("dividing the partitions", () => {
  test("everybody waits for the leader and hears the own part", () => {
    const group = new ShardFixture();
    const [a, b] = [group.enter(), group.enter()];
    group.pass(6_000);
    assert.equal(a.response?.leader, a.memberId);
    const second = group.sync(b.memberId, 1);
    assert.ok(second.isWaiting);
    const first = group.sync(a.memberId, 1, { [a.memberId]: "0,1", [b.memberId]: "2" });
    assert.equal(text(first.response?.assignment), "0,1");
    assert.equal(text(second.response?.assignment), "2");
    assert.equal(text(group.sync(b.memberId, 1).response?.assignment), "2", "a retry hears the same");
  });

  test("another generation, member or protocol is refused", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(1);
    const [id = ""] = ids;
    assert.equal(group.sync(id, generation - 1).response?.errorCode, ErrorCode.ILLEGAL_GENERATION);
    assert.equal(group.sync("nobody", generation).response?.errorCode, ErrorCode.UNKNOWN_MEMBER_ID);
    const other = group.sync(id, generation, {}, { protocol: "sticky" }).response?.errorCode;
    assert.equal(other, ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
  });

  test("whoever does not ask for its part in time is out, and the others begin anew", () => {
    const group = new ShardFixture();
    const [a, b] = [group.enter({ sessionTimeoutMs: 60_000 }), group.enter({ sessionTimeoutMs: 60_000 })];
    group.pass(6_000);
    group.sync(a.memberId, 1, { [a.memberId]: "0", [b.memberId]: "1" });
    for (let at = 0; at < 4; at++) {
      group.pass(8_000);
      group.heartbeat(a.memberId, 1);
      group.heartbeat(b.memberId, 1);
    }
    assert.equal(group.heartbeat(a.memberId, 1), ErrorCode.REBALANCE_IN_PROGRESS);
    assert.equal(group.heartbeat(b.memberId, 1), ErrorCode.UNKNOWN_MEMBER_ID);
  });
});

describe("coming and going", () => {
  test("a new member makes the others join again, and the next generation has all of them", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(2);
    const third = group.enter();
    assert.equal(group.heartbeat(ids[0] as string, generation), ErrorCode.REBALANCE_IN_PROGRESS);
    assert.ok(third.isWaiting);
    const again = ids.map((memberId) => group.join({ memberId }));
    assert.equal(third.response?.generationId, generation + 1);
    assert.equal(again[0]?.response?.members.length, 3);
  });

  test("a member that is not heard of is out when its session ends", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(2);
    const [kept = "", silent = ""] = ids;
    group.pass(6_000);
    assert.equal(group.heartbeat(kept, generation), ErrorCode.NONE);
    group.pass(6_000);
    assert.equal(group.heartbeat(silent, generation), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(group.heartbeat(kept, generation), ErrorCode.REBALANCE_IN_PROGRESS);
    assert.equal(group.join({ memberId: kept }).response?.generationId, generation + 1);
  });

  test("a member that does not join again within the rebalance is left behind", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(2, { sessionTimeoutMs: 100_000 });
    const again = group.join({ memberId: ids[0] as string, sessionTimeoutMs: 100_000 });
    assert.ok(again.isWaiting, "the leader comes back, so all must");
    group.pass(30_000);
    assert.equal(again.response?.generationId, generation + 1);
    assert.equal(again.response?.members.length, 1);
  });

  test("the last one to leave leaves an empty group with the next generation", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(1);
    assert.deepEqual(group.leave({ memberId: ids[0] as string, instanceId: null }), [ErrorCode.NONE]);
    assert.equal(group.shard.group(groupId)?.classic?.phase, "Empty");
    assert.equal(group.shard.group(groupId)?.classic?.generation, generation + 1);
  });

  test("a follower that asks again hears the same, a leader that comes back begins anew", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(2);
    assert.equal(group.join({ memberId: ids[1] as string }).response?.generationId, generation);
    assert.equal(group.join({ memberId: ids[0] as string }).response, null);
  });

  test("a retry of a join takes the place of the one that waits", () => {
    const group = new ShardFixture();
    const first = group.enter();
    const again = group.join({ memberId: first.memberId });
    assert.equal(first.response?.errorCode, ErrorCode.REBALANCE_IN_PROGRESS);
    group.pass(6_000);
    assert.equal(again.response?.errorCode, ErrorCode.NONE);
  });
});

describe("a static member", () => {
  const instanceId = "one";

  test("that comes back under a new id keeps its part without a rebalance, and its former self is fenced", () => {
    const group = new ShardFixture();
    const first = group.join({ instanceId });
    group.pass(6_000);
    const former = first.response?.memberId as string;
    group.sync(former, 1, { [former]: "0" }, { instanceId });
    const again = group.join({ instanceId });
    const memberId = again.response?.memberId as string;
    assert.equal(again.response?.generationId, 1);
    assert.equal(again.response?.skipAssignment, true);
    assert.notEqual(memberId, former);
    assert.equal(text(group.sync(memberId, 1, {}, { instanceId }).response?.assignment), "0");
    assert.equal(group.heartbeat(former, 1, instanceId), ErrorCode.FENCED_INSTANCE_ID);
    assert.deepEqual(group.commit(5, { memberId: former, instanceId, generation: 1 }), [
      ErrorCode.FENCED_INSTANCE_ID,
    ]);
    group.restart();
    assert.equal(group.heartbeat(memberId, 1, instanceId), ErrorCode.NONE, "also after a restart");
  });

  test("that wants other topics now begins a rebalance", () => {
    const group = new ShardFixture();
    const first = group.join({ instanceId }).response?.memberId;
    assert.equal(first, undefined);
    group.pass(6_000);
    const protocols = [{ name: "range", metadata: subscription("orders", "bills") }];
    assert.equal(group.join({ instanceId, protocols }).response?.generationId, 2);
  });

  test("is removed by its instance id alone", () => {
    const group = new ShardFixture();
    group.join({ instanceId });
    group.pass(6_000);
    assert.deepEqual(group.leave({ memberId: "", instanceId: "other" }), [ErrorCode.UNKNOWN_MEMBER_ID]);
    assert.deepEqual(group.leave({ memberId: "", instanceId }), [ErrorCode.NONE]);
    assert.equal(group.shard.group(groupId)?.hasMembers, false);
  });
});

describe("a restarted broker", () => {
  test("knows its members, their parts and their generation, and gives each a new session", () => {
    const group = new ShardFixture();
    const { ids, generation } = group.stable(3);
    group.pass(5_000);
    group.restart();
    for (const id of ids) {
      assert.equal(group.heartbeat(id, generation), ErrorCode.NONE);
      assert.equal(text(group.sync(id, generation).response?.assignment), id);
    }
    group.pass(10_001);
    assert.equal(group.heartbeat(ids[0] as string, generation), ErrorCode.UNKNOWN_MEMBER_ID);
  });

  test("goes on with a generation whose leader had not divided yet", () => {
    const group = new ShardFixture();
    const [a, b] = [group.enter(), group.enter()];
    group.pass(6_000);
    group.restart();
    const waiting = group.sync(b.memberId, 1);
    const first = group.sync(a.memberId, 1, { [a.memberId]: "0", [b.memberId]: "1" });
    assert.equal(text(first.response?.assignment), "0");
    assert.equal(text(waiting.response?.assignment), "1");
  });

  test("never gives a generation's number to other members", () => {
    const group = new ShardFixture({ initialRebalanceDelayMs: 0 });
    const first = group.enter();
    group.restart();
    const second = group.enter();
    group.pass(60_000);
    assert.ok((second.response?.generationId ?? 0) > (first.response?.generationId ?? 0));
  });

  test("tells whoever waits to look for its coordinator anew when it stops", () => {
    const group = new ShardFixture();
    const { response } = ((joined) => {
      group.turn((shard, turn) => shard.dismiss(turn));
      return joined;
    })(group.enter());
    assert.equal(response?.errorCode, ErrorCode.NOT_COORDINATOR);
    assert.equal(group.waiting, 0);
  });
});
