import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ShareWorld, until } from "../../../test/share-workers.ts";
import { ClosedError, OptionError } from "../errors.ts";
import { Reject } from "./errors.ts";

describe("a queue", () => {
  it("is made by its first use, and its workers get what was sent before they came", async (test) => {
    const world = await ShareWorld.make(test);
    const sender = world.process().client.queue("mails", { partitions: 3 });
    for (const value of ["a", "b"]) await world.run(sender.send(value));
    await world.run(sender.send({ key: "k", value: "c", headers: { trace: "t" } }));
    const { client } = world.process();
    const queue = client.queue("mails", { deliveriesMax: 3, lockMs: 20_000 });
    const seen: string[] = [];
    const working = queue.work(({ value, key }) => {
      seen.push(`${String(value)} ${String(key)}`);
    });
    await world.run(until(world, () => seen.length === 3));
    assert.deepEqual(seen.toSorted(), ["a null", "b null", "c k"]);
    const [topic] = await world.run(client.admin().describeTopics(["mails"]));
    assert.equal(topic?.partitions.length, 3);
    const [configs] = await world.run(client.admin().describeConfigs([{ group: "mails" }]));
    const value = (name: string): string | null | undefined =>
      configs?.entries.find((entry) => entry.name === name)?.value;
    assert.deepEqual(
      [
        "share.auto.offset.reset",
        "share.isolation.level",
        "share.delivery.count.limit",
        "share.record.lock.duration.ms",
      ].map(value),
      ["earliest", "read_committed", "3", "20000"],
    );
    await world.run(queue.close());
    await world.run(working);
    await world.run(sender.close());
  });

  it("keeps what it could not handle, and gets it back when it is redriven", async (test) => {
    const world = await ShareWorld.make(test);
    const { client } = world.process();
    const queue = client.queue("mails", { deadLetters: true, partitions: 1 });
    for (const value of ["good", "poison", "stubborn"]) {
      await world.run(queue.send({ key: value, value, headers: { trace: value } }));
    }
    const seen: string[] = [];
    let isMended = false;
    const working = queue.work(({ value }) => {
      seen.push(String(value));
      if (isMended || String(value) === "good") return;
      throw String(value) === "poison" ? new Reject("no address") : new Error("not now");
    });
    // The stubborn one is delivered five times.
    await world.run(until(world, () => seen.length === 7));
    await world.pass(2_000);
    const letters = async (): Promise<readonly (readonly [string, string, number | null])[]> => {
      const found: [string, string, number | null][] = [];
      for await (const { record, origin, deliveryCount } of queue.deadLetters.read()) {
        found.push([
          String(record.value),
          `${origin?.topic}/${origin?.partition}/${origin?.offset}`,
          deliveryCount,
        ]);
        assert.equal(String(record.headers[0]?.value), String(record.key));
      }
      return found.toSorted(([a], [b]) => (a < b ? -1 : 1));
    };
    assert.deepEqual(await world.run(letters()), [
      ["poison", "mails/0/1", 1],
      ["stubborn", "mails/0/2", 5],
    ]);
    isMended = true;
    await world.run(queue.deadLetters.redrive());
    await world.run(until(world, () => seen.length === 9));
    assert.deepEqual(seen.slice(7).toSorted(), ["poison", "stubborn"]);
    assert.deepEqual(await world.run(letters()), []);
    await world.run(queue.close());
    await world.run(working);
  });

  it("has no dead letters unless it was told where they go, and not in itself", async (test) => {
    const world = await ShareWorld.make(test);
    const { client } = world.process();
    assert.throws(() => client.queue("mails").deadLetters, OptionError);
    assert.throws(() => client.queue("mails", { deadLetters: "mails" }), OptionError);
    assert.throws(() => client.queue(""), OptionError);
    assert.equal(client.queue("mails", { deadLetters: true }).deadLetters.topic, "dlq.mails");
  });

  it("that is closed has no workers any more, also where one was about to begin", async (test) => {
    const world = await ShareWorld.make(test);
    const queue = world.process().client.queue("mails");
    let isOver = false;
    const working = queue.work(() => undefined).then(() => (isOver = true));
    await world.run(queue.close());
    await world.pass(60_000);
    assert.ok(isOver);
    await world.run(working);
    await assert.rejects(world.run(queue.send("late")), ClosedError);
    await assert.rejects(world.run(queue.worker()), ClosedError);
  });

  it("forgets workers that were closed, and waits at its end for those that are being closed", async (test) => {
    const world = await ShareWorld.make(test);
    const queue = world.process().client.queue("mails", { closeTimeoutMs: 60_000 });
    const [idle, busy] = [await world.run(queue.worker()), await world.run(queue.worker())];
    await world.run(idle.close());
    assert.equal(queue.workerCount, 1);
    await world.run(queue.send("slow"));
    const running = busy.run(() => world.sleep(20_000));
    await world.run(until(world, () => busy.stats.delivered === 1));
    void busy.close();
    await world.run(queue.close());
    assert.deepEqual([busy.stats.accepted, queue.workerCount], [1, 0]);
    await world.run(running);
  });
});
