/** Records of `__transaction_state` in Kafka's formats. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { partitionIndex, producerEpoch, producerId } from "../../base/ids.ts";
import { type TransactionRecord, transactionRecords } from "./records.ts";
import { Transaction } from "./transaction.ts";

const committing: TransactionRecord = {
  kind: "transaction",
  key: { transactionalId: "t" },
  value: {
    producerId: producerId(7),
    previousProducerId: producerId(7),
    nextProducerId: producerId(8),
    producerEpoch: producerEpoch(32_767),
    nextProducerEpoch: producerEpoch(-1),
    timeoutMs: 1_000,
    status: 2,
    partitions: [{ topic: "x", partitionIds: [partitionIndex(1), partitionIndex(2)] }],
    updatedMs: 2,
    startedMs: 1,
    clientVersion: 2,
  },
};

// Version, producer id, epoch, time-out, state; one topic with its name and two partitions; two times; three tags.
const hex = [
  "0001 0000000000000007 7fff 000003e8 02",
  "02 02 78 03 00000001 00000002 00",
  "0000000000000002 0000000000000001",
  "03 00 08 0000000000000007 01 08 0000000000000008 02 02 0002",
];

test("records are written as Kafka writes them for transaction.version 2, and say the same when they are read", () => {
  const { key, value } = transactionRecords.encode(committing);
  assert.equal(Buffer.from(key).toString("hex"), "0000000174");
  assert.equal(Buffer.from(value ?? []).toString("hex"), hex.join("").replaceAll(" ", ""));
  assert.deepEqual(transactionRecords.decode({ key, value }), committing);
});

test("a record of an older Kafka, in version 0, is read: it knows no other producer ids and no client versions", () => {
  const key = Buffer.from("0000000174", "hex");
  const old = `0000 0000000000000007 0003 000003e8 01
    00000001 0001 78 00000001 00000002
    0000000000000002 0000000000000001`;
  const found = transactionRecords.decode({ key, value: Buffer.from(old.replaceAll(/\s/g, ""), "hex") });
  assert.deepEqual(found?.value, {
    producerId: 7,
    previousProducerId: -1,
    nextProducerId: -1,
    producerEpoch: 3,
    nextProducerEpoch: -1,
    timeoutMs: 1_000,
    status: 1,
    partitions: [{ topic: "x", partitionIds: [2] }],
    updatedMs: 2,
    startedMs: 1,
    clientVersion: 0,
  });
});

test("a transactional id of any characters keeps them", () => {
  for (const transactionalId of ["", "\0", "ü/ 漢字 \u{1f600}", "x".repeat(30_000)]) {
    const record: TransactionRecord = { ...committing, key: { transactionalId } };
    assert.deepEqual(transactionRecords.decode(transactionRecords.encode(record)), record);
  }
});

test("a tombstone says that nothing is known of an id", () => {
  const gone: TransactionRecord = { ...committing, value: null };
  assert.deepEqual(transactionRecords.decode(transactionRecords.encode(gone)), gone);
});

test("a state that is not known here stops whoever reads it, it is never guessed", () => {
  assert.ok(committing.value !== null);
  const value = { ...committing.value, status: 9 };
  assert.throws(() => new Transaction("t", value), /state 9/);
});
