/** Members that move from the classic protocol to KIP-848 and back, one by one, while the group goes on. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type PartitionIndex, partitionIndex } from "../base/ids.ts";
import { decodeAssignment, encodeAssignment, encodeSubscription } from "../protocol/consumer-protocol.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { groupId, ShardFixture } from "./shard-fixture.ts";

const topic = "orders";
const sessionTimeoutMs = 10_000;

interface Client {
  readonly has: ReadonlySet<PartitionIndex>;
  /** Says that it is alive, and does what it is told. */
  beat(): void;
  leave(): void;
}

/** Eager: it gives up everything before it joins. The leader divides where there is one. */
class ClassicClient implements Client {
  has = new Set<PartitionIndex>();
  #id = "";
  #generation = -1;
  readonly #group: ShardFixture;

  constructor(group: ShardFixture) {
    this.#group = group;
  }

  get claim() {
    return { memberId: this.#id, generation: this.#generation };
  }

  beat(): void {
    if (this.#joining !== null) return this.#goOn();
    if (this.#generation < 0) return this.#join();
    const code = this.#group.heartbeat(this.#id, this.#generation);
    if (code === ErrorCode.NONE) return;
    if (code === ErrorCode.UNKNOWN_MEMBER_ID) this.#id = "";
    this.#join();
  }

  #joining: ReturnType<ShardFixture["join"]> | null = null;
  #syncing: ReturnType<ShardFixture["sync"]> | null = null;

  #join(): void {
    this.has = new Set();
    const metadata = encodeSubscription({
      topics: [topic],
      userData: null,
      ownedPartitions: [],
      generationId: -1,
      rackId: null,
    });
    const offer = { protocols: [{ name: "range", metadata }], sessionTimeoutMs, rebalanceTimeoutMs: 20_000 };
    if (this.#id === "") this.#id = this.#group.join(offer).response?.memberId ?? "";
    this.#joining = this.#group.join({ ...offer, memberId: this.#id });
    this.#goOn();
  }

  #goOn(): void {
    const joined = this.#joining?.response ?? null;
    if (joined === null) return;
    if (joined.errorCode !== ErrorCode.NONE) {
      if (joined.errorCode === ErrorCode.UNKNOWN_MEMBER_ID) this.#id = "";
      return this.#begin();
    }
    this.#generation = joined.generationId;
    if (this.#syncing === null) {
      const size = this.#group.topics.find(topic)?.partitionCount ?? 0;
      const ids = joined.leader === this.#id ? joined.members.map(({ memberId }) => memberId) : [];
      const parts = ids.map((_, at) =>
        Array.from({ length: size }, (__, each) => each).filter((each) => each % ids.length === at),
      );
      const encoded = ids.map((id, at) => {
        const assignedPartitions = [{ topic, partitions: parts[at] ?? [] }];
        return [id, encodeAssignment({ assignedPartitions, userData: null }, 0)] as const;
      });
      this.#syncing = this.#group.syncWith(this.#id, this.#generation, encoded);
    }
    const synced = this.#syncing.response;
    if (synced === null) return;
    const { errorCode, assignment } = synced;
    this.#begin();
    if (errorCode !== ErrorCode.NONE) return;
    this.#generation = joined.generationId;
    const assigned = assignment.byteLength === 0 ? [] : decodeAssignment(assignment).assignedPartitions;
    this.has = new Set(assigned.flatMap(({ partitions }) => partitions.map(partitionIndex)));
  }

  #begin(): void {
    this.#joining = null;
    this.#syncing = null;
    this.#generation = -1;
  }

  leave(): void {
    this.has = new Set();
    this.#group.leave({ memberId: this.#id, instanceId: null });
  }
}

class NewClient implements Client {
  has = new Set<PartitionIndex>();
  lastEpoch = 0;
  readonly #id: string;
  #epoch = 0;
  readonly #group: ShardFixture;

  constructor(group: ShardFixture, id: string) {
    this.#group = group;
    this.#id = id;
  }

  get claim() {
    return { memberId: this.#id, generation: this.#epoch };
  }

  beat(): void {
    const id = this.#group.topics.find(topic)?.id;
    const owned = id === undefined || this.#epoch === 0 ? new Map() : new Map([[id, this.has]]);
    const answer = this.#group.beat(this.#id, this.#epoch, { owned });
    if (answer.errorCode !== ErrorCode.NONE) {
      this.#epoch = 0;
      this.has = new Set();
      return;
    }
    this.#epoch = answer.memberEpoch;
    this.lastEpoch = answer.memberEpoch;
    if (answer.assignment !== null)
      this.has = new Set([...answer.assignment.values()].flatMap((each) => [...each]));
  }

  leave(): void {
    this.has = new Set();
    this.#group.beat(this.#id, -1);
    this.#epoch = 0;
  }
}

function settle(group: ShardFixture, clients: readonly Client[]): void {
  for (let round = 0; round < 12; round++) {
    for (const client of clients) client.beat();
    group.pass(2_000);
  }
}

function check(clients: readonly Client[]): number {
  const owned = clients.flatMap(({ has }) => [...has]);
  assert.equal(new Set(owned).size, owned.length, "no partition has two owners");
  return owned.length;
}

describe("a group whose members move", () => {
  test("goes over to KIP-848 with the first of them, and everybody gets a part", () => {
    const group = new ShardFixture();
    group.topics.set(topic, 6);
    const old = [new ClassicClient(group), new ClassicClient(group)];
    settle(group, old);
    assert.equal(check(old), 6);
    const fresh = new NewClient(group, "new");
    fresh.beat();
    assert.equal(group.shard.group(groupId)?.consumer?.phase, "Reconciling");
    const [a] = old as [ClassicClient];
    assert.deepEqual(group.commit(3, a.claim), [ErrorCode.NONE], "its generation holds until it joins again");
    settle(group, [...old, fresh]);
    assert.equal(check([...old, fresh]), 6);
    assert.deepEqual(
      [...old, fresh].map(({ has }) => has.size),
      [2, 2, 2],
    );
    group.restart();
    settle(group, [...old, fresh]);
    assert.equal(check([...old, fresh]), 6);
  });

  test("is a classic one again when the last new member is gone", () => {
    const group = new ShardFixture();
    group.topics.set(topic, 6);
    const old = [new ClassicClient(group), new ClassicClient(group)];
    const fresh = new NewClient(group, "new");
    settle(group, [...old, fresh]);
    fresh.leave();
    assert.equal(group.shard.group(groupId)?.consumer, null);
    settle(group, old);
    assert.equal(check(old), 6);
    assert.equal(group.shard.group(groupId)?.classic?.phase, "Stable");
    group.restart();
    settle(group, old);
    assert.equal(check(old), 6);
    assert.equal(group.shard.group(groupId)?.consumer ?? null, null);
  });

  test("may be kept from it", () => {
    const group = new ShardFixture({ mayUpgrade: false, mayDowngrade: false });
    group.topics.set(topic, 2);
    const old = new ClassicClient(group);
    settle(group, [old]);
    assert.equal(group.beat("new", 0).errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
    assert.equal(check([old]), 2);
  });

  test("that does not consume topics stays what it is", () => {
    const group = new ShardFixture();
    group.join({ protocolType: "connect", mustKnowId: false });
    group.pass(6_000);
    assert.equal(group.beat("new", 0).errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
  });

  test("follows from one protocol to the other when it is empty", () => {
    const group = new ShardFixture();
    group.topics.set(topic, 1);
    const old = new ClassicClient(group);
    settle(group, [old]);
    const first = old.claim.generation;
    old.leave();
    const fresh = new NewClient(group, "new");
    fresh.beat();
    assert.equal(fresh.has.size, 1);
    group.restart();
    assert.equal(group.shard.group(groupId)?.classic, null);
    fresh.leave();
    const again = new ClassicClient(group);
    settle(group, [again]);
    assert.equal(again.has.size, 1);
    assert.ok(again.claim.generation > fresh.lastEpoch, "no number is given twice");
    assert.ok(fresh.lastEpoch > first, "in neither direction");
    group.restart();
    assert.equal(group.shard.group(groupId)?.consumer ?? null, null);
  });
});

test("a group that goes over while it is empty counts on from the former protocol's number, over a restart too", () => {
  const group = new ShardFixture();
  group.topics.set(topic, 1);
  const first = new NewClient(group, "new");
  settle(group, [first]);
  group.commit(1, { memberId: "new", generation: first.lastEpoch });
  first.leave();
  const epoch = first.lastEpoch;
  // The classic group is asked for, and the broker dies before its first generation.
  group.join();
  group.restart();
  const old = new ClassicClient(group);
  settle(group, [old]);
  assert.ok(old.claim.generation > epoch, `${old.claim.generation} after ${epoch}`);
});

test("however members of both protocols come and go, no partition has two owners, and in peace each has one", () => {
  const step = fc.oneof(
    { weight: 12, arbitrary: fc.record({ do: fc.constant("beat" as const), who: fc.nat(4) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constantFrom("leave" as const, "swap" as const), who: fc.nat(4) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("pass" as const), who: fc.integer({ min: 1, max: 4 }) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant("grow" as const), who: fc.integer({ min: 1, max: 9 }) }),
    },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const group = new ShardFixture({ initialRebalanceDelayMs: 0 });
      let size = 5;
      let count = 0;
      group.topics.set(topic, size);
      const born = (isNew: boolean): Client =>
        isNew ? new NewClient(group, `n${++count}`) : new ClassicClient(group);
      const clients = [true, false, true, false, false].map(born);
      for (const each of steps) {
        const client = clients[each.who];
        if (each.do === "beat") client?.beat();
        else if (each.do === "leave") {
          client?.leave();
          clients[each.who] = born(client instanceof NewClient);
        } else if (each.do === "swap") {
          client?.leave();
          clients[each.who] = born(!(client instanceof NewClient));
        } else if (each.do === "pass") {
          // Never so long that somebody's session could end: who is out without hearing it is another test's.
          for (const one of clients) one.beat();
          group.pass(each.who * 1_000);
        } else group.topics.set(topic, (size = Math.max(size, each.who)));
        check(clients);
      }
      for (let round = 0; round < 40; round++) {
        for (const client of clients) {
          client.beat();
          check(clients);
        }
        group.pass(1_000);
      }
      assert.equal(check(clients), size);
    }),
    { numRuns: Number(process.env["PROPERTY_RUNS"] ?? 150) },
  );
});
