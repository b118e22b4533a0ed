import assert from "node:assert/strict";
import { test } from "node:test";
import { offset } from "../../base/ids.ts";
import { DeliveryTable } from "../../coordinator/share/delivery/table.ts";
import { BatchBuilder } from "../../record/builder.ts";
import { RecordRead } from "./record-read.ts";
import { takeRecords } from "./taking.ts";

const settings = {
  lockDurationMs: 30_000,
  deliveryCountLimit: 3,
  recordLocksMax: 2_000,
  hasDeadLetters: false,
};

test("records that may end their workers are taken one in each answer, and no batch is in an answer twice", () => {
  const kept = [{ first: offset(0), last: offset(2), state: 0, deliveryCount: 2 }] as const;
  const table = DeliveryTable.load({ startOffset: offset(0), batches: kept }, settings);
  const builder = new BatchBuilder();
  for (const value of ["a", "b", "c"]) builder.append({ value, timestamp: 1 });
  const chunk = builder.build();
  const wish = {
    recordsMax: 10,
    bytesMax: 10_000,
    orOneBatch: true,
    mode: "batch",
    batchSize: 0,
  } as const;
  for (const [at, memberId] of ["a", "b", "c"].entries()) {
    const taken = takeRecords(table, { ...wish, memberId }, 0, () => new RecordRead([chunk], []));
    assert.deepEqual(taken.acquired, [{ first: at, last: at, deliveryCount: 3 }]);
    assert.equal(taken.chunks.length, 1);
  }
});
