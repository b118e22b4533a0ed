import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { counted } from "../../test/consumer-fixture.ts";
import { finish, Process } from "../../test/group-fixture.ts";
import { aBroker } from "../../test/simulated-broker.ts";
import { place, WireProducer } from "../../test/transaction-fixture.ts";
import { PartlyRefusedError } from "./admin-outcome.ts";
import { BrokerRefusedError } from "./errors.ts";

const refusedWith =
  (code: string) =>
  (cause: unknown): boolean =>
    cause instanceof BrokerRefusedError && cause.code === code;

describe("an admin of groups", () => {
  for (const [type, assignor] of [
    ["classic", "cooperative-sticky"],
    ["consumer", "uniform"],
  ] as const) {
    it(`lists and describes groups of type ${type}, with members and what each reads`, async (test) => {
      const broker = await aBroker(test, { "group.initial.rebalance.delay.ms": "0" });
      await broker.createTopic("t", 2);
      const process = new Process(test, broker);
      const admin = process.client.admin();
      const run = <T>(done: Promise<T>): Promise<T> => broker.scheduler.runUntil(done);
      assert.deepEqual(await run(admin.listGroups()), []);
      const member = process.member({ protocol: type });
      await run(member.ready());
      assert.deepEqual(await run(admin.listGroups()), [
        { group: "g", protocolType: "consumer", state: "Stable", type },
      ]);
      assert.deepEqual(await run(admin.listGroups({ states: ["Empty"] })), []);
      const [found] = await run(admin.describeGroups(["g"]));
      assert.deepEqual(
        { ...found, members: found?.members.map(({ assignment, clientId }) => ({ assignment, clientId })) },
        {
          group: "g",
          state: "Stable",
          type,
          assignor,
          members: [
            {
              clientId: "holdfast",
              assignment: [
                { topic: "t", partition: 0 },
                { topic: "t", partition: 1 },
              ],
            },
          ],
        },
      );
      await run(assert.rejects(admin.describeGroups(["nobody"]), refusedWith("GROUP_ID_NOT_FOUND")));
    });
  }

  it("tells where a group stands while a transaction is to move it, which may hang", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    const admin = new Process(test, broker).client.admin();
    const run = <T>(done: Promise<T>): Promise<T> => broker.scheduler.runUntil(done);
    await run(admin.alterGroupOffsets("g", [{ topic: "t", partition: 0, offset: 3 }]));
    const producer = new WireProducer(broker.connect(), "new");
    await run(producer.init());
    await run(producer.commitOffset("g", place("t"), 7));
    const [found] = await run(admin.listGroupOffsets("g"));
    assert.equal(found?.offset, 3);
  });

  it("reads, moves and forgets how far a group got, while it has no members", async (test) => {
    const broker = await aBroker(test, { "group.initial.rebalance.delay.ms": "0" });
    await broker.createTopic("t", 2);
    await broker.write("t", counted(0, 10));
    const process = new Process(test, broker);
    const admin = process.client.admin();
    const run = <T>(done: Promise<T>): Promise<T> => broker.scheduler.runUntil(done);
    const member = process.member();
    await run(finish(member, 4));
    const at = async (): Promise<unknown> =>
      (await run(admin.listGroupOffsets("g"))).map(({ partition, offset }) => [partition, offset]);
    const zero = { topic: "t", partition: 0 };
    const named = await run(admin.listGroupOffsets("g", [zero]));
    assert.deepEqual(
      named.map(({ offset }) => offset),
      [4],
    );
    await run(
      assert.rejects(admin.alterGroupOffsets("g", [{ ...zero, offset: 1 }]), (cause: unknown) => {
        return cause instanceof BrokerRefusedError && /the group has members/.test(cause.message);
      }),
    );
    await run(assert.rejects(admin.deleteGroups(["g"]), refusedWith("NON_EMPTY_GROUP")));
    await run(member.close());
    await run(admin.alterGroupOffsets("g", [{ ...zero, offset: 1 }]));
    const again = process.member();
    assert.deepEqual(await run(finish(again, 2)), ["1", "2"]);
    await run(again.close());
    await run(admin.deleteGroupOffsets("g", [zero]));
    assert(!JSON.stringify(await at()).includes("[0,"));
    await run(
      assert.rejects(admin.deleteGroups(["g", "nobody"]), (cause: unknown) => {
        return cause instanceof PartlyRefusedError && cause.done[0] === "g";
      }),
    );
    assert.deepEqual(await run(admin.listGroups()), []);
  });
});
