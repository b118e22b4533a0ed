/** What a refusal is called towards clients of each version. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { addsImplicitly, coordinatorCode, participantCode } from "./codes.ts";

test("a producer that is fenced hears PRODUCER_FENCED where its version knows that, else INVALID_PRODUCER_EPOCH", () => {
  for (const [api, since] of [
    ["InitProducerId", 4],
    ["AddPartitionsToTxn", 2],
    ["AddOffsetsToTxn", 2],
    ["EndTxn", 2],
  ] as const) {
    assert.equal(coordinatorCode(api, since, ErrorCode.PRODUCER_FENCED), ErrorCode.PRODUCER_FENCED);
    assert.equal(
      coordinatorCode(api, since - 1, ErrorCode.PRODUCER_FENCED),
      ErrorCode.INVALID_PRODUCER_EPOCH,
    );
    assert.equal(coordinatorCode(api, 0, ErrorCode.INVALID_TXN_STATE), ErrorCode.INVALID_TXN_STATE);
  }
});

test("a write hears INVALID_PRODUCER_EPOCH in any version: its client may abort and go on", () => {
  assert.equal(participantCode("Produce", 12, ErrorCode.PRODUCER_FENCED), ErrorCode.INVALID_PRODUCER_EPOCH);
});

test("a write that was not added hears TRANSACTION_ABORTABLE where its version knows that, else INVALID_TXN_STATE", () => {
  const code = ErrorCode.TRANSACTION_ABORTABLE;
  assert.equal(participantCode("Produce", 10, code), ErrorCode.INVALID_TXN_STATE);
  assert.equal(participantCode("Produce", 11, code), code);
  assert.equal(participantCode("TxnOffsetCommit", 3, code), ErrorCode.INVALID_TXN_STATE);
  assert.equal(participantCode("TxnOffsetCommit", 4, code), code);
});

test("what a client has to try again is told by a code that its version tries again on", () => {
  for (const code of [
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.CONCURRENT_TRANSACTIONS,
    // Of a coordinator elsewhere that has not heard of a new topic yet.
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.OPERATION_NOT_ATTEMPTED,
  ]) {
    assert.equal(participantCode("Produce", 11, code), ErrorCode.NOT_ENOUGH_REPLICAS);
    assert.equal(participantCode("TxnOffsetCommit", 4, code), ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
  }
  const code = ErrorCode.CONCURRENT_TRANSACTIONS;
  assert.equal(participantCode("Produce", 12, code), code);
  assert.equal(participantCode("TxnOffsetCommit", 5, code), code);
});

test("writing adds to the transaction from Produce 12 and TxnOffsetCommit 5 on", () => {
  assert.ok(addsImplicitly("Produce", 12) && !addsImplicitly("Produce", 11));
  assert.ok(addsImplicitly("TxnOffsetCommit", 5) && !addsImplicitly("TxnOffsetCommit", 4));
});
