import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { inspect } from "node:util";
import { readBack } from "../../test/read-back.ts";
import { aBroker, type SimulatedBroker } from "../../test/simulated-broker.ts";
import { type Client, createClient } from "./client.ts";
import { DeliveryError, UnknownTopicError } from "./errors.ts";
import type { ClientOptions, CompressionName } from "./options.ts";
import { partitionOfKey } from "./partitioner.ts";
import { PartialDeliveryError } from "./producer.ts";

function aClient(test: TestContext, broker: SimulatedBroker, options: Partial<ClientOptions> = {}): Client {
  const client = createClient({ bootstrap: broker.address, ...options }, broker.clientPorts());
  test.after(() => client.close());
  return client;
}

const text = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString();

describe("a producer", () => {
  it("tells where each record lies, in the order in which they were sent", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const producer = aClient(test, broker).producer();
    const sent = await broker.scheduler.runUntil(
      Promise.all([
        producer.send({ topic: "orders", key: "k", value: "one", timestampMs: 17 }),
        producer.send({ topic: "orders", value: Buffer.from("two"), headers: { h: "1", none: null } }),
        producer.send({ topic: "orders", key: "gone", value: null }),
      ]),
    );
    assert.deepEqual(
      sent.map(({ topic, partition, offset }) => [topic, partition, offset]),
      [
        ["orders", 0, 0],
        ["orders", 0, 1],
        ["orders", 0, 2],
      ],
    );
    assert.equal(sent[0]?.timestampMs, 17);
    const records = await readBack(broker, "orders");
    assert.deepEqual(
      records.map(({ key, value }) => [text(key), text(value)]),
      [
        ["k", "one"],
        [null, "two"],
        ["gone", null],
      ],
    );
    assert.deepEqual(
      records[1]?.headers.map(({ key, value }) => [key, text(value)]),
      [
        ["h", "1"],
        ["none", null],
      ],
    );
    assert.equal(records[0]?.timestamp, 17);
    assert.equal(records[1]?.timestamp, sent[1]?.timestampMs);
  });

  it("packs records in all four compressions, which read back the same", async (test) => {
    const broker = await aBroker(test);
    const client = aClient(test, broker);
    for (const compression of ["gzip", "snappy", "lz4", "zstd"] satisfies CompressionName[]) {
      await broker.createTopic(compression);
      const producer = client.producer({ compression });
      const values = Array.from({ length: 200 }, (_, index) => `${compression} ${index} ${"ä".repeat(50)}`);
      await broker.scheduler.runUntil(
        producer.sendMany(values.map((value) => ({ topic: compression, value }))),
      );
      const records = await readBack(broker, compression);
      assert.deepEqual(
        records.map(({ value }) => text(value)),
        values,
      );
    }
  });

  it("gives one promise for many records, with the runs in which they lie", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("a");
    await broker.createTopic("b");
    const producer = aClient(test, broker).producer();
    const acknowledged = await broker.scheduler.runUntil(
      producer.sendMany([
        { topic: "a", value: "1" },
        { topic: "b", value: "2" },
        { topic: "a", value: "3" },
      ]),
    );
    assert.deepEqual(
      acknowledged.toSorted((x, y) => (x.topic < y.topic ? -1 : 1)),
      [
        { topic: "a", partition: 0, offset: 0, recordCount: 2 },
        { topic: "b", partition: 0, offset: 0, recordCount: 1 },
      ],
    );
  });

  it("tells which of many records were not delivered, and delivers the others", async (test) => {
    const broker = await aBroker(test, { "auto.create.topics.enable": "false" });
    await broker.createTopic("a");
    const producer = aClient(test, broker).producer();
    await broker.scheduler.runUntil(
      assert.rejects(
        producer.sendMany([
          { topic: "a", value: "1" },
          { topic: "absent", value: "2" },
          { topic: "a", value: "3" },
        ]),
        (cause: unknown) => {
          assert(cause instanceof PartialDeliveryError);
          assert.equal(cause.errors.length, 1);
          assert.equal(cause.errors[0]?.topic, "absent");
          assert.equal(
            cause.acknowledged.reduce((sum, { recordCount }) => sum + recordCount, 0),
            2,
          );
          assert.match(cause.message, /^1 of 3 records were not acknowledged: 1 record for "absent" was not/);
          return true;
        },
      ),
    );
  });

  it("says in few lines that hundreds of records were not delivered", async (test) => {
    const broker = await aBroker(test, { "auto.create.topics.enable": "false" });
    await broker.createTopic("a");
    const producer = aClient(test, broker, { topicTimeoutMs: 0 }).producer();
    const absent = Array.from({ length: 200 }, (_, index) => ({ topic: `absent-${index % 3}`, value: "x" }));
    const present = Array.from({ length: 100 }, () => ({ topic: "a", value: "x" }));
    await broker.scheduler.runUntil(
      assert.rejects(producer.sendMany([...absent, ...present]), (cause: unknown) => {
        assert(cause instanceof PartialDeliveryError && cause instanceof AggregateError);
        assert.equal(cause.errors.length, 200);
        assert.match(
          cause.message,
          /^200 of 300 records were not acknowledged, in 200 failures \(see errors\); the first: 1 record for "absent-0" was not written: There is no topic "absent-0"/,
        );
        assert(inspect(cause).split("\n").length < 60, inspect(cause));
        return true;
      }),
    );
  });

  it("lets records of one turn share a batch, and waits for more only when told to linger", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const client = aClient(test, broker);
    const { scheduler } = broker;
    const quick = client.producer();
    await scheduler.runUntil(quick.send({ topic: "orders", value: "warm" }));
    const begin = scheduler.nowMs;
    await scheduler.runUntil(quick.send({ topic: "orders", value: "x" }));
    assert(scheduler.nowMs - begin < 100);
    const slow = client.producer({ lingerMs: 1_000 });
    await scheduler.runUntil(slow.sendMany([{ topic: "orders", value: "warm" }]));
    const lingerBegin = scheduler.nowMs;
    const first = slow.send({ topic: "orders", value: "first" });
    await scheduler.run({ untilMs: scheduler.nowMs + 500 });
    const second = slow.send({ topic: "orders", value: "second" });
    const [one, two] = await scheduler.runUntil(Promise.all([first, second]));
    assert(scheduler.nowMs - lingerBegin >= 1_000 && scheduler.nowMs - lingerBegin < 1_200);
    assert.equal(two.offset, one.offset + 1);
    const flushBegin = scheduler.nowMs;
    const third = slow.send({ topic: "orders", value: "third" });
    await scheduler.runUntil(slow.flush());
    assert(scheduler.nowMs - flushBegin < 200, "flush does not linger");
    await third;
  });

  it("resolves in the order of the offsets, whether records waited for their topic or not", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders", 3);
    const producer = aClient(test, broker).producer({ batchBytes: 2_000 });
    const { scheduler } = broker;
    const resolved = new Map<number, number[]>();
    const sendAll = async (): Promise<void> => {
      const sent: Promise<void>[] = [];
      // Bursts while the topic is asked for, when it becomes known, and after that.
      for (let burst = 0; burst < 60; burst++) {
        for (let number = 0; number < 30; number++) {
          const told = producer
            .send({ topic: "orders", partition: number % 3, value: `${burst}-${number}` })
            .then(({ partition, offset }) => {
              resolved.set(partition, [...(resolved.get(partition) ?? []), offset]);
            });
          sent.push(told);
        }
        if (burst % 3 === 0) await new Promise<void>((resolve) => scheduler.schedule(1, resolve));
        else await Promise.resolve();
      }
      await Promise.all(sent);
    };
    await scheduler.runUntil(sendAll());
    for (const offsets of resolved.values()) {
      assert.deepEqual(
        offsets,
        offsets.map((_, index) => index),
      );
    }
    assert.equal(resolved.size, 3);
  });

  it("writes what a record was when it was sent, although its owner goes on with the same object and bytes", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const producer = aClient(test, broker).producer();
    const value = Buffer.from("0");
    const record = { topic: "orders", key: "0", value, headers: { h: value } };
    const sent = Array.from({ length: 3 }, (_, index) => {
      value.write(String(index));
      record.key = String(index);
      return producer.send(record);
    });
    await broker.scheduler.runUntil(Promise.all(sent));
    assert.deepEqual(
      (await readBack(broker, "orders")).map(({ key, value: bytes, headers }) =>
        [key, bytes, headers[0]?.value ?? null].map(text),
      ),
      [
        ["0", "0", "0"],
        ["1", "1", "1"],
        ["2", "2", "2"],
      ],
    );
  });

  it("never refuses a record of whoever asks for room first, also while the topic is not known", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const bufferBytes = 50_000;
    const producer = aClient(test, broker).producer({ bufferBytes, batchBytes: 5_000 });
    const value = "x".repeat(959);
    let waits = 0;
    let mostBytes = 0;
    const sendAll = async (): Promise<readonly { readonly offset: number }[]> => {
      const sent: Promise<{ readonly offset: number }>[] = [];
      for (let number = 0; number < 300; number++) {
        if (!producer.hasRoom) {
          waits++;
          await producer.ready();
        }
        sent.push(producer.send({ topic: "orders", value }));
        mostBytes = Math.max(mostBytes, producer.stats.bufferedBytes + producer.stats.waitingBytes);
      }
      return Promise.all(sent);
    };
    const places = await broker.scheduler.runUntil(sendAll());
    assert.deepEqual(
      places.map(({ offset }) => offset),
      places.map((_, index) => index),
    );
    assert(waits > 1, `${waits} waits`);
    assert(mostBytes < bufferBytes + 5_000 + 2_000, `${mostBytes} bytes`);
  });

  it("tells who waits for room when the topic that records waited for is not there", async (test) => {
    const broker = await aBroker(test, { "auto.create.topics.enable": "false" });
    const producer = aClient(test, broker).producer({ bufferBytes: 10_000 });
    const sent = Array.from({ length: 10 }, () =>
      producer.send({ topic: "absent", value: "x".repeat(1_000) }),
    );
    const settled = Promise.allSettled(sent);
    assert.equal(producer.hasRoom, false);
    await broker.scheduler.runUntil(producer.ready());
    assert.equal(producer.stats.waitingBytes, 0);
    assert((await settled).every(({ status }) => status === "rejected"));
  });

  it("takes as many records for a topic that is not known yet as its buffer allows", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const producer = aClient(test, broker).producer();
    const sent = Array.from({ length: 150_000 }, () => producer.send({ topic: "orders", value: null }));
    const places = await broker.scheduler.runUntil(Promise.all(sent));
    assert.equal(places.at(-1)?.offset, 149_999);
  });

  it("refuses at once what is too large, and what is no record", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const producer = aClient(test, broker).producer({ recordBytesMax: 1_000 });
    await broker.scheduler.runUntil(producer.send({ topic: "orders", value: "small" }));
    await assert.rejects(producer.send({ topic: "orders", value: Buffer.alloc(1_000) }), {
      name: "DeliveryError",
      fate: "not-written",
      message:
        '1 record for "orders" was not written: it has 1041 bytes, more than the 1000 that this producer takes (recordBytesMax)',
    });
    await assert.rejects(producer.send({ topic: "orders", value: { a: 1 } as never }), {
      name: "OptionError",
      message:
        "a record's value is bytes, a string or null, not a value of type object; encode it first, for example with JSON.stringify.",
    });
    for (const topic of ["orders", "unknown"]) {
      await assert.rejects(producer.send({ topic, value: "x", headers: { h: 5 as never } }), {
        name: "OptionError",
        message:
          'a record\'s header "h" is bytes, a string or null, not a value of type number; encode it first, for example with JSON.stringify.',
      });
    }
    await assert.rejects(producer.send({ topic: "orders", partition: 7, value: "x" }), {
      name: "DeliveryError",
      message:
        '1 record for "orders" partition 7 was not written: Topic "orders" has no partition 7; its only partition is 0.',
    });
  });

  it("refuses records for a topic that is not there, and names those that look like it", async (test) => {
    const broker = await aBroker(test, { "auto.create.topics.enable": "false" });
    await broker.createTopic("orders");
    const producer = aClient(test, broker).producer();
    await broker.scheduler.runUntil(
      assert.rejects(producer.send({ topic: "ordres", value: "x" }), (cause: unknown) => {
        assert(cause instanceof DeliveryError && cause.cause instanceof UnknownTopicError);
        assert.equal(cause.fate, "not-written");
        assert.match(cause.message, /There is no topic "ordres" at 127.0.0.1:9092. Did you mean "orders"\?/);
        return true;
      }),
    );
    assert.equal(producer.stats.failed, 1);
  });

  it("needs to be told that loss is allowed before it takes less than acks all", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const client = aClient(test, broker);
    assert.throws(() => client.producer({ acks: 1 }), /allowLoss: true/);
    const careless = client.producer({ acks: 0, allowLoss: true });
    const sent = await broker.scheduler.runUntil(careless.send({ topic: "orders", value: "x" }));
    assert.equal(sent.offset, -1);
    await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 100 });
    assert.equal((await readBack(broker, "orders")).length, 1);
  });

  it("delivers what it has when it is closed, and then takes nothing", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const client = aClient(test, broker);
    const { scheduler } = broker;
    let producer = client.producer({ lingerMs: 60_000 });
    const begin = scheduler.nowMs;
    const sent = await scheduler.runUntil(
      (async () => {
        await using one = (producer = client.producer({ lingerMs: 60_000 }));
        return [one.send({ topic: "orders", value: "a" }), one.send({ topic: "orders", value: "b" })];
      })(),
    );
    assert.deepEqual(
      (await Promise.all(sent)).map(({ offset }) => offset),
      [0, 1],
    );
    assert(scheduler.nowMs - begin < 1_000);
    await assert.rejects(producer.send({ topic: "orders", value: "c" }), { name: "DeliveryError" });
    assert.equal(producer.stats.bufferedBytes, 0);
  });

  it("sends records without a key to one partition for a while, and those with a key where Java would", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders", 4);
    const producer = aClient(test, broker).producer({ batchBytes: 2_000 });
    await broker.scheduler.runUntil(producer.send({ topic: "orders", key: "warm", value: "" }));
    const sent = await broker.scheduler.runUntil(
      Promise.all(
        Array.from({ length: 200 }, () => producer.send({ topic: "orders", value: "x".repeat(59) })),
      ),
    );
    const changes = sent.filter(
      ({ partition }, index) => index > 0 && partition !== sent[index - 1]?.partition,
    );
    assert.equal(changes.length, Math.floor((200 * 100) / 2_000) - 1);
    const keyed = await broker.scheduler.runUntil(
      Promise.all(["21", "foobar", "abc"].map((key) => producer.send({ topic: "orders", key, value: "" }))),
    );
    // toPositive(murmur2(key)) % 4 of the values in partitioner.test.ts.
    assert.deepEqual(
      keyed.map(({ partition }) => partition),
      ["21", "foobar", "abc"].map((key) => partitionOfKey(Buffer.from(key), 4)),
    );
  });
});
