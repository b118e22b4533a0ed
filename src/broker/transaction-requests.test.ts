/** Requests about transactions as clients of old and new versions send them: late, twice, foreign, about nothing, about much. */
import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import { aBroker, type SimulatedBroker } from "../../test/simulated-broker.ts";
import { committedIn, type Place, place, type Speech, WireProducer } from "../../test/transaction-fixture.ts";
import { NO_TOPIC_ID, producerEpoch } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { DescribeTransactions } from "../protocol/messages/describe-transactions.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { buildBatch } from "../record/builder.ts";

const settings = { "transaction.state.log.num.partitions": "1", "offsets.topic.num.partitions": "1" };
const orders = place("orders");
const audit = place("audit");
const { NONE, CONCURRENT_TRANSACTIONS, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, PRODUCER_FENCED } =
  ErrorCode;

/** A broker with two topics, and a test that runs in its world. */
async function within<T>(
  t: TestContext,
  act: (broker: SimulatedBroker) => Promise<T>,
  more: { readonly [name: string]: string } = {},
): Promise<T> {
  const broker = await aBroker(t, { ...settings, ...more });
  await broker.createTopic("orders");
  await broker.createTopic("audit");
  return broker.scheduler.runUntil(act(broker));
}

async function started(broker: SimulatedBroker, speech: Speech = "new", id?: string): Promise<WireProducer> {
  const producer = new WireProducer(broker.connect(), speech, id);
  assert.equal((await producer.init()).errorCode, NONE);
  return producer;
}

async function values(broker: SimulatedBroker, at: Place = orders): Promise<readonly string[]> {
  const view = await committedIn(broker.connect(), at);
  assert.equal(view.lastStable, view.highWatermark, "nothing hangs");
  return view.values;
}

async function stateOf(broker: SimulatedBroker, id = "tx"): Promise<string | undefined> {
  const { transactionStates } = await broker
    .connect()
    .call(DescribeTransactions, 0, { transactionalIds: [id] });
  return transactionStates[0]?.transactionState;
}

describe("a producer that is fenced", () => {
  test("hears PRODUCER_FENCED where its version knows that, and INVALID_PRODUCER_EPOCH else", (t) =>
    within(t, async (broker) => {
      for (const speech of ["new", "old"] as const) {
        const zombie = await started(broker, speech, speech);
        const former = zombie.now;
        await started(broker, speech, speech);
        const code = speech === "new" ? PRODUCER_FENCED : INVALID_PRODUCER_EPOCH;
        assert.deepEqual(await zombie.add([orders]), [code]);
        assert.equal(await zombie.addOffsets("g"), code);
        assert.equal((await zombie.end(true)).errorCode, code);
        if (speech === "new") assert.equal((await zombie.init(former)).errorCode, PRODUCER_FENCED);
        // In the answer to a write it is the same for all: its client may abort and go on.
        assert.deepEqual(await zombie.write([orders], "zombie"), [INVALID_PRODUCER_EPOCH]);
      }
      assert.deepEqual(await values(broker), []);
    }));

  test("goes on with an epoch of its own when it asks before anybody else does", (t) =>
    within(t, async (broker) => {
      const producer = await started(broker);
      const { producerId, producerEpoch: epoch } = producer.now;
      await producer.write([orders], "given up");
      const told = await producer.init(producer.now);
      assert.deepEqual([told.producerId, told.producerEpoch], [producerId, epoch + 1]);
      const again = await producer.init({ producerId, producerEpoch: epoch });
      assert.deepEqual([again.producerId, again.producerEpoch], [producerId, epoch + 1]);
      assert.deepEqual(await producer.write([orders], "kept"), [NONE]);
      await producer.end(true);
      assert.deepEqual(await values(broker), ["kept"]);
    }));
});

describe("a request that comes late", () => {
  test("a write behind the end of its transaction is refused, and opens nothing", (t) =>
    within(t, async (broker) => {
      const now = await started(broker);
      const former = now.now;
      await now.write([orders], "in time");
      await now.end(true);
      assert.deepEqual(await now.write([orders], "late", { sequence: 1, as: former }), [
        INVALID_PRODUCER_EPOCH,
      ]);
      assert.deepEqual(await now.write([audit], "late", { as: former }), [INVALID_PRODUCER_EPOCH]);
      const old = await started(broker, "old", "old");
      await old.add([orders]);
      await old.write([orders], "in time, too");
      await old.end(true);
      assert.deepEqual(await old.write([orders], "late", { sequence: 1 }), [INVALID_TXN_STATE]);
      assert.deepEqual(await values(broker), ["in time", "in time, too"]);
      assert.deepEqual(await values(broker, audit), []);
    }));

  test("a partition that is added late is not part of the next transaction (KIP-890)", (t) =>
    within(t, async (broker) => {
      const producer = await started(broker);
      const former = producer.now;
      await producer.write([orders], "a");
      await producer.end(true);
      assert.deepEqual(await producer.add([audit], former), [PRODUCER_FENCED]);
      assert.equal(await stateOf(broker), "CompleteCommit");
    }));

  test("every request twice at once is as once", (t) =>
    within(t, async (broker) => {
      const producer = await started(broker);
      const twin = new WireProducer(broker.connect(), "new");
      const expected: string[] = [];
      for (let round = 0; round < 5; round++) {
        twin.now = producer.now;
        const [codes, again] = await Promise.all([
          producer.write([orders, audit], `${round}`),
          twin.write([orders, audit], `${round}`),
        ]);
        assert.deepEqual([...codes, ...again], [NONE, NONE, NONE, NONE]);
        const [told, repeated] = await Promise.all([producer.end(round !== 3), twin.end(round !== 3)]);
        assert.deepEqual(told, repeated);
        if (round !== 3) expected.push(`${round}`);
      }
      assert.deepEqual(await values(broker), expected);
      assert.deepEqual(await values(broker, audit), expected);
    }));

  test("what is sent in one go is done in its order", (t) =>
    within(t, async (broker) => {
      const producer = await started(broker);
      const next = { ...producer.now, producerEpoch: producerEpoch(producer.now.producerEpoch + 1) };
      const all = await Promise.all([
        producer.write([orders], "a"),
        producer.write([orders], "b", { sequence: 1 }),
        producer.end(true),
        producer.write([orders], "c", { as: next }),
        producer.end(false, next),
      ]);
      assert.deepEqual(all[0], [NONE]);
      assert.equal(all[4].errorCode, NONE);
      assert.deepEqual(await values(broker), ["a", "b"]);
    }));
});

describe("a transaction with nothing in it", () => {
  test("may be aborted by a client of KIP-890, which gets its next epoch, and cannot be committed", (t) =>
    within(t, async (broker) => {
      const producer = await started(broker);
      const { producerEpoch: epoch } = producer.now;
      assert.equal((await producer.end(true)).errorCode, INVALID_TXN_STATE);
      assert.equal((await producer.end(false)).producerEpoch, epoch + 1);
      assert.equal((await producer.end(false)).producerEpoch, epoch + 2);
      assert.deepEqual(await producer.write([orders], "a"), [NONE]);
      assert.equal((await producer.end(true)).errorCode, NONE);
      const old = await started(broker, "old", "old");
      assert.equal((await old.end(true)).errorCode, INVALID_TXN_STATE);
      assert.equal((await old.end(false)).errorCode, INVALID_TXN_STATE);
    }));
});

describe("what is no part of a transaction", () => {
  test("partitions that are not there: none of the request is added", (t) =>
    within(t, async (broker) => {
      const producer = await started(broker, "old");
      const { UNKNOWN_TOPIC_OR_PARTITION, OPERATION_NOT_ATTEMPTED } = ErrorCode;
      const codes = await producer.add([orders, place("orders", 7), place("nowhere")]);
      assert.deepEqual(codes, [
        OPERATION_NOT_ATTEMPTED,
        UNKNOWN_TOPIC_OR_PARTITION,
        UNKNOWN_TOPIC_OR_PARTITION,
      ]);
      assert.equal(await stateOf(broker), "Empty");
    }));

  test("a plain batch of a producer with an open transaction is refused, and taken before and after it", (t) =>
    within(t, async (broker) => {
      const producer = await started(broker);
      const plain = { isTransactional: false };
      assert.deepEqual(await producer.write([orders], "before", plain), [NONE]);
      assert.deepEqual(await producer.write([orders], "in", { sequence: 1 }), [NONE]);
      assert.deepEqual(await producer.write([orders], "no", { ...plain, sequence: 2 }), [INVALID_TXN_STATE]);
      await producer.end(true);
      assert.deepEqual(await producer.write([orders], "after", plain), [NONE]);
      assert.deepEqual(await values(broker), ["before", "in", "after"]);
    }));

  test("a transactional batch in a request that names no transactional id is refused", (t) =>
    within(t, async (broker) => {
      const producer = await started(broker);
      const fields = { ...producer.now, baseSequence: 0, isTransactional: true };
      const records = [buildBatch([{ value: "a", timestamp: 1 }], fields)];
      const topicData = [
        { name: "orders", topicId: NO_TOPIC_ID, partitionData: [{ index: orders.partition, records }] },
      ];
      const request = { transactionalId: null, acks: -1, timeoutMs: 1_000, topicData };
      const { responses } = await broker.connect().call(Produce, 12, request);
      const code = responses[0]?.partitionResponses[0]?.errorCode;
      assert.equal(code, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
      assert.deepEqual(await values(broker), []);
    }));

  test("a write of another producer under this transactional id is refused", (t) =>
    within(t, async (broker) => {
      const producer = await started(broker);
      const other = await started(broker, "new", "other");
      const codes = await producer.write([orders], "a", { as: other.now });
      assert.deepEqual(codes, [ErrorCode.INVALID_PRODUCER_ID_MAPPING]);
      const unknown = new WireProducer(broker.connect(), "new", "never seen");
      const refused = await unknown.write([orders], "a", { as: producer.now });
      assert.deepEqual(refused, [ErrorCode.INVALID_PRODUCER_ID_MAPPING]);
      assert.deepEqual(await values(broker), []);
    }));
});

describe("what a transaction costs", () => {
  test("one sync for its first records, with what admits them, and one for its end, with all of its markers", async (t) => {
    const broker = await aBroker(t, settings);
    await broker.createTopic("orders");
    await broker.createTopic("audit");
    const { scheduler } = broker;
    const producer = await scheduler.runUntil(started(broker));
    let syncs = 0;
    broker.disk.fault = ({ operation }) => {
      if (operation === "writeSynced") syncs++;
      return undefined;
    };
    const costs = async (act: Promise<unknown>): Promise<number> => {
      syncs = 0;
      await scheduler.runUntil(act);
      return syncs;
    };
    assert.equal(await costs(producer.write([orders, audit], "a")), 1);
    assert.equal(await costs(producer.write([orders], "b", { sequence: 1 })), 1);
    assert.equal(await costs(producer.end(true)), 1);
    assert.equal(syncs, 1);
    assert.deepEqual(await scheduler.runUntil(values(broker)), ["a", "b"]);
    assert.equal(syncs, 1, "nothing more was written until readers saw it");
  });
});

describe("a transaction over many partitions", () => {
  test("of 2,500 is ended in steps, in between it is seen at its end, and then it is whole", async (t) => {
    const broker = await aBroker(t, settings);
    await broker.createTopic("wide", 2_500);
    const places = Array.from({ length: 2_500 }, (_, at) => place("wide", at));
    await broker.scheduler.runUntil(
      (async () => {
        const connection = broker.connect();
        const producer = new WireProducer(connection, "new");
        await producer.init();
        const codes = await producer.write(places, "a");
        assert.deepEqual(new Set(codes), new Set([NONE]));
        // All over one connection, in one go: what is asked behind the end comes between its steps.
        const rival = new WireProducer(connection, "new");
        const asked = [producer.end(true), producer.end(true), rival.init()] as const;
        const [told, again] = await Promise.all(asked);
        let next = await asked[2];
        assert.equal(told.errorCode, NONE);
        assert.equal(again.errorCode, CONCURRENT_TRANSACTIONS);
        while (next.errorCode === CONCURRENT_TRANSACTIONS) next = await rival.init();
        assert.equal(next.producerEpoch, told.producerEpoch + 1);
        for (const at of [0, 999, 1_000, 2_499]) {
          assert.deepEqual(await values(broker, place("wide", at)), ["a"]);
        }
      })(),
    );
  });
});

describe("a topic that is deleted while a transaction writes to it", () => {
  test("takes its part with it, and the rest is committed", async (t) => {
    const broker = await aBroker(t, settings);
    await broker.createTopic("orders");
    await broker.createTopic("audit");
    const producer = await broker.scheduler.runUntil(started(broker));
    await broker.scheduler.runUntil(producer.write([orders, audit], "a"));
    await broker.deleteTopic("audit");
    assert.equal((await broker.scheduler.runUntil(producer.end(true))).errorCode, NONE);
    assert.equal(await broker.scheduler.runUntil(stateOf(broker)), "CompleteCommit");
    assert.deepEqual(await broker.scheduler.runUntil(values(broker)), ["a"]);
  });

  test("and made anew is another one: what is written there is part of the same transaction", async (t) => {
    const broker = await aBroker(t, settings);
    await broker.createTopic("orders");
    const producer = await broker.scheduler.runUntil(started(broker));
    await broker.scheduler.runUntil(producer.write([orders], "gone"));
    await broker.deleteTopic("orders");
    await broker.createTopic("orders");
    assert.deepEqual(await broker.scheduler.runUntil(producer.write([orders], "there")), [NONE]);
    await broker.scheduler.runUntil(producer.end(true));
    assert.deepEqual(await broker.scheduler.runUntil(values(broker)), ["there"]);
  });
});

describe("bounds", () => {
  test("a time-out above transaction.max.timeout.ms, or none, is refused", (t) =>
    within(t, async (broker) => {
      const producer = new WireProducer(broker.connect(), "new");
      for (const timeoutMs of [0, -1, 900_001]) {
        const { errorCode } = await producer.init(null, timeoutMs);
        assert.equal(errorCode, ErrorCode.INVALID_TRANSACTION_TIMEOUT);
      }
      assert.equal((await producer.init(null, 900_000)).errorCode, NONE);
    }));

  test("beyond holdfast.transactions.bytes.max new ids are asked to come again, and known ones go on", (t) =>
    within(
      t,
      async (broker) => {
        const producer = await started(broker);
        const other = new WireProducer(broker.connect(), "new", "another");
        assert.equal((await other.init()).errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
        assert.deepEqual(await producer.write([orders], "a"), [NONE]);
        assert.deepEqual(await producer.write([audit], "a"), [ErrorCode.NOT_ENOUGH_REPLICAS]);
        assert.equal((await producer.end(true)).errorCode, NONE);
        assert.deepEqual(await values(broker), ["a"]);
      },
      { "holdfast.transactions.bytes.max": "1400" },
    ));

  test("a transactional id may be of any characters but none", (t) =>
    within(t, async (broker) => {
      for (const id of ["\0", " ", "ü/漢字\u{1f600}", "x".repeat(30_000)]) {
        const producer = await started(broker, "new", id);
        assert.deepEqual(await producer.write([orders], "a"), [NONE]);
        assert.equal((await producer.end(false)).errorCode, NONE);
        assert.equal(await stateOf(broker, id), "CompleteAbort");
      }
      const nobody = new WireProducer(broker.connect(), "new", "");
      assert.equal((await nobody.init()).errorCode, ErrorCode.INVALID_REQUEST);
      assert.deepEqual(await values(broker), []);
    }));
});
