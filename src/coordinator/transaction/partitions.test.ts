/** What belongs to a transaction: AddPartitionsToTxn, verification, and adding by writing (KIP-890). */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { identity, part, TransactionFixture, transactionalId } from "./shard-fixture.ts";

const x = part("x");
const x1 = part("x", 1);
const y = part("y");

describe("partitions of a transaction", () => {
  it("the first one opens it, more are added, and what is there already writes nothing", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    assert.ok(!at.shard.covers(claim, x));
    assert.equal(at.admit(claim, x), ErrorCode.NONE);
    assert.equal(at.state, "Ongoing");
    assert.equal(at.value?.startedMs, at.wallMs);
    assert.ok(at.shard.covers(claim, x));
    assert.equal(
      at.written(() => at.admit(claim, x, x)),
      0,
    );
    at.wallMs += 5;
    assert.equal(
      at.written(() => at.admit(claim, x1, y)),
      1,
    );
    assert.equal(at.value?.startedMs, at.wallMs - 5);
    assert.deepEqual(at.value?.partitions, [
      { topic: "x", partitionIds: [0, 1] },
      { topic: "y", partitionIds: [0] },
    ]);
  });

  it("are those of one transaction only: the next one begins with none", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    at.add(claim, x, y);
    at.commit(claim, 0);
    assert.ok(!at.shard.covers(claim, x));
    at.add(claim, x1);
    assert.deepEqual(at.value?.partitions, [{ topic: "x", partitionIds: [1] }]);
  });

  it("are added by the producer alone", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    const refused = [
      [{ ...claim, transactionalId: "" }, ErrorCode.INVALID_REQUEST],
      [{ ...claim, transactionalId: "nobody" }, ErrorCode.INVALID_PRODUCER_ID_MAPPING],
      [at.as(identity(99, 0)), ErrorCode.INVALID_PRODUCER_ID_MAPPING],
      [at.as(identity(100, 1)), ErrorCode.PRODUCER_FENCED],
      [at.as(identity(100, -1)), ErrorCode.PRODUCER_FENCED],
    ] as const;
    for (const [other, errorCode] of refused) {
      assert.equal(at.admit(other, x), errorCode);
      assert.equal(at.add(other, x), errorCode);
      assert.deepEqual(at.shard.verify(other, [x, y]), [errorCode, errorCode]);
      assert.ok(!at.shard.covers(other, x));
    }
    assert.equal(at.state, "Empty");
  });

  it("cover nobody but who added them", () => {
    const at = new TransactionFixture();
    const former = at.start();
    at.admit(former, x);
    const claim = at.start();
    at.admit(claim, x);
    assert.ok(at.shard.covers(claim, x));
    assert.ok(!at.shard.covers(former, x));
    assert.ok(!at.shard.covers(at.as(identity(99, claim.producerEpoch)), x));
    assert.ok(!at.shard.covers({ ...claim, transactionalId: "another" }, x));
    at.end(claim, "commit");
    assert.ok(!at.shard.covers(claim, x));
  });

  it("may be a thousand: their record holds all of them", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    const many = Array.from({ length: 1_000 }, (_, i) => part(`topic-${i % 10}`, i));
    assert.equal(
      at.written(() => at.admit(claim, ...many)),
      1,
    );
    at.commit(claim);
    assert.equal(at.markers.length, 1_000);
  });

  it("weigh in memory, and weigh nothing when the transaction is over", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    const before = at.shard.bytes;
    at.admit(claim, x, y);
    assert.ok(at.shard.bytes > before);
    at.commit(claim);
    assert.equal(at.shard.bytes, before);
  });
});

describe("nothing", () => {
  it("that is added opens nothing", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    assert.equal(at.add(claim), ErrorCode.NONE);
    assert.equal(at.admit(claim), ErrorCode.NONE);
    assert.equal(at.state, "Empty");
  });
});

describe("verification", () => {
  it("tells of each partition whether it belongs to the open transaction", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    at.add(claim, x);
    assert.deepEqual(at.shard.verify(claim, [x, y]), [ErrorCode.NONE, ErrorCode.TRANSACTION_ABORTABLE]);
  });

  it("takes nothing of a transaction that is over or at its end", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    assert.deepEqual(at.shard.verify(claim, [x]), [ErrorCode.TRANSACTION_ABORTABLE]);
    at.add(claim, x);
    at.end(claim, "commit", 0);
    assert.deepEqual(at.shard.verify(claim, [x]), [ErrorCode.CONCURRENT_TRANSACTIONS]);
    at.drive();
    assert.deepEqual(at.shard.verify(claim, [x]), [ErrorCode.TRANSACTION_ABORTABLE]);
  });
});

describe("what is told of a transaction", () => {
  it("is its state, since when, how long it may last, and its partitions", () => {
    const at = new TransactionFixture();
    const claim = at.start(null, 1_234);
    at.admit(claim, x, x1);
    assert.deepEqual(at.shard.describe(transactionalId), {
      ...identity(100, 0),
      errorCode: ErrorCode.NONE,
      transactionalId,
      transactionState: "Ongoing",
      transactionTimeoutMs: 1_234,
      transactionStartTimeMs: at.wallMs,
      topics: [{ topic: "x", partitions: [0, 1] }],
    });
    assert.equal(at.shard.describe("nobody").errorCode, ErrorCode.TRANSACTIONAL_ID_NOT_FOUND);
    assert.equal(at.shard.describe("").errorCode, ErrorCode.INVALID_REQUEST);
  });
});
