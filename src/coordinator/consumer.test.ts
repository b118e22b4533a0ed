/** Members of KIP-848: what they are told to have, in which order it moves, and who is fenced. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ErrorCode } from "../protocol/errors.ts";
import type { HeartbeatAnswer } from "./group/consumer-request.ts";
import { each, noPartitions, type PartitionSet, sizeOf } from "./group/partition-set.ts";
import { groupId, ShardFixture } from "./shard-fixture.ts";

const phase = (group: ShardFixture) => group.shard.group(groupId)?.consumer?.phase;

/** A member as a well-behaved client is one: it has what it was told, once it has given up what it was not. */
class Client {
  readonly id: string;
  epoch = 0;
  has: PartitionSet = noPartitions;
  last: HeartbeatAnswer | null = null;
  readonly #group: ShardFixture;

  constructor(group: ShardFixture, id: string) {
    this.#group = group;
    this.id = id;
  }

  beat(over: Parameters<ShardFixture["beat"]>[2] = {}): ErrorCode {
    const owned = this.epoch === 0 ? noPartitions : this.has;
    this.last = this.#group.beat(this.id, this.epoch, { owned, ...over });
    const { errorCode, memberEpoch, assignment } = this.last;
    if (errorCode !== ErrorCode.NONE) {
      this.epoch = 0;
      this.has = noPartitions;
    } else {
      this.epoch = memberEpoch;
      if (assignment !== null) this.has = assignment;
    }
    return errorCode;
  }
}

function settle(clients: readonly Client[]): void {
  for (let round = 0; round < 4; round++) for (const client of clients) client.beat();
}

function owners(clients: readonly Client[]): string[] {
  return clients.flatMap((client) => Array.from(each(client.has), ([, partition]) => `${partition}`)).sort();
}

describe("joining", () => {
  test("the first member has everything at once", () => {
    const group = new ShardFixture();
    group.topics.set("orders", 4);
    const a = new Client(group, "a");
    assert.equal(a.beat(), ErrorCode.NONE);
    assert.equal(sizeOf(a.has), 4);
    assert.equal(a.epoch, 2, "as in Kafka");
    assert.equal(phase(group), "Stable");
  });

  test("a second one gets its half only when the first has said that it let go of it", () => {
    const group = new ShardFixture();
    group.topics.set("orders", 4);
    const [a, b] = [new Client(group, "a"), new Client(group, "b")];
    a.beat();
    b.beat();
    assert.equal(sizeOf(b.has), 0);
    assert.equal(phase(group), "Reconciling");
    const [epoch, had] = [a.epoch, a.has];
    a.beat();
    assert.equal(sizeOf(a.has), 2, "it is told to keep two");
    assert.equal(a.epoch, epoch, "and stays at its epoch until it has given up the others");
    b.beat();
    assert.equal(sizeOf(b.has), 0);
    a.has = had;
    a.beat();
    b.beat();
    assert.equal(sizeOf(b.has), 0, "it says that it still has them");
    a.has =
      (a.last as HeartbeatAnswer).assignment ??
      new Map([[[...had.keys()][0] as never, new Set([0, 1] as never[])]]);
    settle([a, b]);
    assert.deepEqual(owners([a, b]), ["0", "1", "2", "3"]);
    assert.equal(phase(group), "Stable");
  });

  test("what a member wants may be a pattern, and topics that come later are in it", () => {
    const group = new ShardFixture();
    group.topics.set("orders-eu", 2);
    group.topics.set("bills", 2);
    const a = new Client(group, "a");
    a.beat({ topicNames: [], topicRegex: "orders-.*" });
    assert.equal(sizeOf(a.has), 2);
    group.topics.set("orders-us", 3);
    a.beat();
    assert.equal(sizeOf(a.has), 5);
    assert.equal(a.epoch, 3);
  });

  test("an internal topic is in a pattern only if the pattern spells out its name", () => {
    const group = new ShardFixture();
    group.topics.set("__state", 2);
    group.topics.set("orders", 1);
    const all = new Client(group, "all");
    all.beat({ topicNames: [], topicRegex: ".*" });
    assert.equal(sizeOf(all.has), 1);
    const one = new ShardFixture();
    one.topics.set("__state", 2);
    one.topics.set("orders", 1);
    const both = new Client(one, "both");
    both.beat({ topicNames: [], topicRegex: "(?:orders|\\_\\_state)" });
    assert.equal(sizeOf(both.has), 3);
  });

  test("a pattern that cannot be used is refused with the reason", () => {
    const group = new ShardFixture();
    const { errorCode, errorMessage } = group.beat("a", 0, { topicNames: [], topicRegex: "(?=x)" });
    assert.equal(errorCode, ErrorCode.INVALID_REGULAR_EXPRESSION);
    assert.match(errorMessage ?? "", /\(\?=/);
    const huge = group.beat("a", 0, { topicNames: [], topicRegex: "((a{1000}){1000})" });
    assert.equal(huge.errorCode, ErrorCode.INVALID_REGULAR_EXPRESSION);
    assert.equal(group.shard.groupCount, 0);
  });

  test("an assignor that is not served and a full group are refused", () => {
    const group = new ShardFixture({ consumersMax: 1 });
    assert.equal(group.beat("a", 0, { assignor: "mine" }).errorCode, ErrorCode.UNSUPPORTED_ASSIGNOR);
    group.beat("a", 0);
    assert.equal(group.beat("b", 0).errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED);
  });
});

describe("epochs", () => {
  test("another epoch than one's own is fenced, but for a retry with what was given", () => {
    const group = new ShardFixture();
    group.topics.set("orders", 4);
    const a = new Client(group, "a");
    a.beat();
    const first = a.epoch;
    group.topics.set("orders", 6);
    a.beat();
    assert.equal(a.epoch, first + 1);
    assert.equal(
      group.beat("a", first, { owned: noPartitions }).errorCode,
      ErrorCode.NONE,
      "its answer was lost",
    );
    assert.equal(group.beat("a", first).errorCode, ErrorCode.FENCED_MEMBER_EPOCH);
    assert.equal(group.beat("a", first + 2).errorCode, ErrorCode.FENCED_MEMBER_EPOCH);
    assert.equal(group.beat("b", 1).errorCode, ErrorCode.UNKNOWN_MEMBER_ID);
  });

  test("offsets are committed at one's own epoch", () => {
    const group = new ShardFixture();
    group.topics.set("orders", 1);
    const a = new Client(group, "a");
    a.beat();
    const commit = (generation: number, memberId = "a") => group.commit(1, { memberId, generation })[0];
    assert.equal(commit(a.epoch), ErrorCode.NONE);
    assert.equal(commit(a.epoch - 1), ErrorCode.STALE_MEMBER_EPOCH);
    assert.equal(commit(a.epoch + 1), ErrorCode.STALE_MEMBER_EPOCH);
    assert.equal(commit(a.epoch, "b"), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(commit(-1, ""), ErrorCode.UNKNOWN_MEMBER_ID);
  });

  test("and at an older one for what one has had since then, also while one has to give it up (KIP-1251)", () => {
    const group = new ShardFixture();
    group.topics.set("orders", 1);
    const a = new Client(group, "a");
    a.beat();
    const first = a.epoch;
    const commit = (generation: number, topic: string, client = a) =>
      group.commit(1, { memberId: client.id, generation }, topic)[0];
    group.topics.set("bills", 1);
    a.beat({ topicNames: ["orders", "bills"] });
    for (const isRestarted of [false, true]) {
      if (isRestarted) group.restart();
      assert.equal(commit(first, "orders"), ErrorCode.NONE);
      assert.equal(
        commit(first, "bills"),
        ErrorCode.STALE_MEMBER_EPOCH,
        "it has that since its new epoch only",
      );
      assert.equal(commit(first - 1, "orders"), ErrorCode.STALE_MEMBER_EPOCH);
    }
    const b = new Client(group, "b");
    b.beat({ topicNames: ["orders"] });
    a.beat();
    assert.deepEqual(phase(group), "Reconciling");
    assert.equal(commit(first, "orders"), ErrorCode.NONE, "nobody else has it yet");
    settle([a, b]);
    assert.equal(sizeOf(b.has), 1);
    assert.equal(commit(first, "orders"), ErrorCode.STALE_MEMBER_EPOCH);
    assert.equal(commit(first, "orders", b), ErrorCode.STALE_MEMBER_EPOCH);
  });

  test("a group that everybody left works out no target, and tells its last one (tried with Kafka 4.3)", () => {
    const group = new ShardFixture();
    group.topics.set("orders", 1);
    const a = new Client(group, "a");
    a.beat();
    group.beat("a", -1);
    const { epoch, targetEpoch } = group.shard.group(groupId)?.consumer ?? {};
    assert.deepEqual([epoch, targetEpoch], [3, 2]);
  });

  test("every epoch that is told is in the log", () => {
    const group = new ShardFixture();
    group.topics.set("orders", 4);
    const clients = ["a", "b", "c"].map((id) => new Client(group, id));
    for (let round = 0; round < 5; round++) {
      for (const client of clients) {
        client.beat();
        const written = group.records.filter(
          (record) => record.kind === "current" && record.key.memberId === client.id,
        );
        const newest = written.at(-1);
        assert.equal(newest?.kind === "current" ? newest.value?.memberEpoch : null, client.epoch);
      }
    }
  });
});

describe("going", () => {
  test("a member that leaves, or is not heard of, leaves its partitions to the others", () => {
    const group = new ShardFixture();
    group.topics.set("orders", 4);
    const [a, b, c] = ["a", "b", "c"].map((id) => new Client(group, id)) as [Client, Client, Client];
    settle([a, b, c]);
    assert.equal(group.beat("c", -1).memberEpoch, -1);
    settle([a, b]);
    assert.deepEqual(owners([a, b]), ["0", "1", "2", "3"]);
    for (let at = 0; at < 10; at++) {
      group.pass(5_000);
      a.beat();
    }
    assert.equal(sizeOf(a.has), 4);
    assert.equal(group.beat("b", b.epoch).errorCode, ErrorCode.UNKNOWN_MEMBER_ID);
  });

  test("of members that are not heard of at a time all begin one epoch, and not each its own", () => {
    const group = new ShardFixture();
    group.topics.set("orders", 4);
    settle(["a", "b", "c", "d"].map((id) => new Client(group, id)));
    const epochs = () => group.records.filter(({ kind }) => kind === "consumer").length;
    const before = epochs();
    group.pass(46_000);
    assert.deepEqual([phase(group), epochs()], ["Empty", before + 1]);
  });

  test("a member that does not give up what others wait for is out when its rebalance time is up", () => {
    const group = new ShardFixture();
    group.topics.set("orders", 4);
    const [a, b] = [new Client(group, "a"), new Client(group, "b")];
    a.beat();
    const had = a.has;
    b.beat();
    for (let at = 0; at < 7; at++) {
      a.has = had;
      a.beat();
      b.beat();
      group.pass(5_000);
    }
    assert.equal(
      a.last?.errorCode === ErrorCode.NONE ? group.beat("a", a.epoch).errorCode : a.last?.errorCode,
      ErrorCode.UNKNOWN_MEMBER_ID,
    );
    settle([b]);
    assert.equal(sizeOf(b.has), 4);
  });

  test("a static member that leaves for a while finds its partitions again under a new id", () => {
    const group = new ShardFixture();
    group.topics.set("orders", 4);
    const instanceId = "one";
    const first = group.beat("a", 0, { instanceId });
    const inUse = group.beat("b", 0, { instanceId });
    assert.equal(inUse.errorCode, ErrorCode.UNRELEASED_INSTANCE_ID);
    assert.equal(group.beat("a", -2, { instanceId }).memberEpoch, -2);
    const again = group.beat("b", 0, { instanceId });
    assert.deepEqual(again.assignment, first.assignment);
    assert.equal(again.memberEpoch, first.memberEpoch);
    assert.equal(group.beat("a", first.memberEpoch, { instanceId }).errorCode, ErrorCode.FENCED_INSTANCE_ID);
  });
});

type Step =
  | { readonly do: "beat" | "leave" | "crash"; readonly who: number }
  | { readonly do: "pass"; readonly ms: number }
  | { readonly do: "topic"; readonly size: number }
  | { readonly do: "restart" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 20, arbitrary: fc.record({ do: fc.constant("beat" as const), who: fc.nat(4) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom("leave" as const, "crash" as const), who: fc.nat(4) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("topic" as const), size: fc.integer({ min: 1, max: 9 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ do: "restart" as const }) },
);

test("whatever members do, no partition is ever told to two of them, and in peace every one has an owner", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const group = new ShardFixture();
      let size = 3;
      group.topics.set("orders", size);
      const clients = ["a", "b", "c", "d", "e"].map((id) => new Client(group, id));
      let crashes = 0;
      for (const each of steps) {
        if (each.do === "beat") clients[each.who]?.beat();
        else if (each.do === "leave") {
          const client = clients[each.who] as Client;
          if (client.epoch > 0) group.beat(client.id, -1);
          clients[each.who] = new Client(group, client.id);
        } else if (each.do === "crash") {
          // A new process has a new id; the broker only hears nothing of the old one any more.
          clients[each.who] = new Client(group, `n${++crashes}`);
        } else if (each.do === "pass") {
          group.pass(each.ms);
          forgetFenced(group, clients);
        } else if (each.do === "topic") group.topics.set("orders", (size = Math.max(size, each.size)));
        else group.restart();
        const all = owners(clients);
        assert.equal(new Set(all).size, all.length, "no partition has two owners");
      }
      group.pass(45_001);
      for (const client of clients) client.beat();
      forgetFenced(group, clients);
      settle(clients);
      settle(clients);
      assert.deepEqual(
        owners(clients),
        Array.from({ length: size }, (_, at) => String(at)),
      );
      assert.equal(phase(group), "Stable");
    }),
    { numRuns: Number(process.env["PROPERTY_RUNS"] ?? 300) },
  );
});

/** Whoever is out must have stopped by itself when its session ended: that is what the session is for. */
function forgetFenced(group: ShardFixture, clients: readonly Client[]): void {
  const known = new Set(Array.from(group.shard.group(groupId)?.consumer?.members ?? [], ({ id }) => id));
  for (const client of clients) if (!known.has(client.id)) client.has = noPartitions;
}
