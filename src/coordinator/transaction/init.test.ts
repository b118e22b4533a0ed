/** InitProducerId: who the producer of a transactional id is, and who is it no longer (KIP-98, KIP-360). */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { producerId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { identity, part, TransactionFixture, transactionalId } from "./shard-fixture.ts";

const x = part("x");

describe("a transactional id that is new", () => {
  it("gets the producer id that was brought along, in epoch 0", () => {
    const at = new TransactionFixture();
    const told = at.init();
    assert.deepEqual(told, { ...identity(100, 0), errorCode: ErrorCode.NONE, tookFreshId: true });
    assert.equal(at.state, "Empty");
  });

  it("wants a producer id, and is asked to come again while there is none", () => {
    const at = new TransactionFixture();
    assert.ok(at.shard.wantsProducerId(transactionalId));
    const init = { transactionalId, timeoutMs: 1, expected: null, freshProducerId: null };
    const told = at.turn((shard, turn) => shard.init(turn, init));
    assert.equal(told.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    assert.equal(at.records.length, 0);
  });

  it("is told anew to a producer that goes on after it was forgotten", () => {
    const at = new TransactionFixture();
    assert.equal(at.start(identity(7, 3)).producerId, 100);
  });

  it("may not be empty, and its time-out lies between 1 ms and transaction.max.timeout.ms", () => {
    const at = new TransactionFixture({ timeoutMaxMs: 900 });
    assert.equal(at.init(null, 1, "").errorCode, ErrorCode.INVALID_REQUEST);
    for (const timeoutMs of [0, -1, 901]) {
      assert.equal(at.init(null, timeoutMs).errorCode, ErrorCode.INVALID_TRANSACTION_TIMEOUT);
    }
    assert.equal(at.init(null, 900).errorCode, ErrorCode.NONE);
  });

  it("is refused when memory is used up, and the ones that are there go on", () => {
    let isFull = false;
    const at = new TransactionFixture({ mayGrow: () => !isFull });
    const claim = at.start();
    at.admit(claim, x);
    isFull = true;
    assert.equal(at.init(null, 1, "another").errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    assert.equal(at.admit(claim, part("y")), ErrorCode.COORDINATOR_NOT_AVAILABLE);
    assert.equal(at.admit(claim, x), ErrorCode.NONE);
    assert.equal(at.commit(claim).errorCode, ErrorCode.NONE);
    assert.equal(at.init().errorCode, ErrorCode.NONE);
  });
});

describe("a transactional id that is known", () => {
  it("gets the next epoch, and whoever had it before is fenced", () => {
    const at = new TransactionFixture();
    const former = at.start();
    const claim = at.start();
    assert.deepEqual(claim, at.as(identity(100, 1)));
    assert.equal(at.admit(former, x), ErrorCode.PRODUCER_FENCED);
    assert.equal(at.add(former, x), ErrorCode.PRODUCER_FENCED);
    assert.equal(at.end(former, "commit").errorCode, ErrorCode.PRODUCER_FENCED);
    assert.equal(at.admit(claim, x), ErrorCode.NONE);
  });

  it("an open transaction of the former producer is aborted first, under an epoch that it never had", () => {
    const at = new TransactionFixture();
    const former = at.start();
    at.admit(former, x);
    assert.equal(at.init().errorCode, ErrorCode.CONCURRENT_TRANSACTIONS);
    assert.equal(at.state, "PrepareAbort");
    assert.equal(at.admit(former, x), ErrorCode.PRODUCER_FENCED);
    assert.equal(at.init().errorCode, ErrorCode.CONCURRENT_TRANSACTIONS);
    at.drive();
    assert.deepEqual(at.markers, [
      { ...identity(100, 1), coordinatorEpoch: 5, transactionVersion: 2, outcome: "abort", ...x },
    ]);
    assert.deepEqual(at.start(), at.as(identity(100, 2)));
  });

  it("a transaction that is to be committed is committed, whoever comes", () => {
    const at = new TransactionFixture();
    const former = at.start();
    at.admit(former, x);
    at.end(former, "commit");
    assert.equal(at.init().errorCode, ErrorCode.CONCURRENT_TRANSACTIONS);
    at.drive();
    assert.equal(at.markers[0]?.outcome, "commit");
    assert.deepEqual(at.start(), at.as(identity(100, 2)));
  });

  it("takes the time-out of the newest call", () => {
    const at = new TransactionFixture();
    at.start(null, 1_000);
    const former = at.start(null, 2_000);
    assert.equal(at.value?.timeoutMs, 2_000);
    at.start(former, 3_000);
    assert.equal(at.value?.timeoutMs, 3_000);
    at.start(former, 4_000);
    assert.equal(at.value?.timeoutMs, 4_000, "also of one that repeats another");
  });
});

describe("a producer that goes on after an error", () => {
  it("gets the next epoch when it names its own", () => {
    const at = new TransactionFixture();
    assert.deepEqual(at.start(at.start()), at.as(identity(100, 1)));
  });

  it("gets the same answer again when it did not hear it", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    const next = at.start(claim);
    assert.deepEqual(at.start(claim), next);
    at.restart();
    assert.deepEqual(at.start(claim), next);
  });

  it("gets the epoch that the end of its transaction gave it when it did not hear of that", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    at.admit(claim, x);
    const told = at.commit(claim);
    assert.deepEqual(at.start(claim), at.as(told));
  });

  it("is fenced when another one has started since", () => {
    const at = new TransactionFixture();
    const former = at.start();
    const claim = at.start();
    assert.equal(at.init(former).errorCode, ErrorCode.PRODUCER_FENCED);
    assert.deepEqual(at.current, identity(claim.producerId, claim.producerEpoch));
  });

  it("is fenced when its producer id is not the one of this transactional id", () => {
    const at = new TransactionFixture();
    at.start();
    assert.equal(at.init(identity(99, 0)).errorCode, ErrorCode.PRODUCER_FENCED);
  });

  it("is fenced when its producer id is another one's whose transaction is being ended", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    at.admit(claim, x);
    at.end(claim, "commit");
    assert.equal(at.init(identity(99, 0)).errorCode, ErrorCode.PRODUCER_FENCED);
    assert.equal(at.init(claim).errorCode, ErrorCode.CONCURRENT_TRANSACTIONS);
  });

  it("in the epoch before is fenced once it has heard the answer and used it", () => {
    const at = new TransactionFixture();
    const former = at.start();
    const claim = at.start(former);
    at.add(claim, x);
    at.commit(claim, 0);
    assert.equal(at.init(former).errorCode, ErrorCode.PRODUCER_FENCED);
    assert.deepEqual(at.start(claim), at.as(identity(100, 2)));
  });

  it("ends its own open transaction by that", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    at.admit(claim, x);
    assert.deepEqual(at.start(claim), at.as(identity(100, 1)));
    assert.equal(at.markers[0]?.outcome, "abort");
  });

  it("does not end the open transaction of another one (Kafka aborts it before it refuses)", () => {
    const at = new TransactionFixture();
    const former = at.start();
    const claim = at.start();
    at.admit(claim, x);
    assert.equal(at.init(former).errorCode, ErrorCode.PRODUCER_FENCED);
    assert.equal(at.state, "Ongoing");
    assert.equal(at.commit(claim).errorCode, ErrorCode.NONE);
  });
});

describe("epochs that are used up", () => {
  it("a producer in the last epoch starts anew with another producer id", () => {
    const at = new TransactionFixture();
    const former = at.startAt(32_766);
    assert.ok(at.shard.wantsProducerId(transactionalId));
    assert.deepEqual(at.start(), at.as(identity(101, 0)));
    assert.equal(at.admit(former, x), ErrorCode.INVALID_PRODUCER_ID_MAPPING);
    assert.equal(at.init(former).errorCode, ErrorCode.PRODUCER_FENCED);
  });

  it("one that goes on gets another producer id, and the same answer again when it did not hear it", () => {
    const at = new TransactionFixture();
    const former = at.startAt(32_766);
    assert.deepEqual(at.start(former), at.as(identity(101, 0)));
    assert.deepEqual(at.start(former), at.as(identity(101, 0)));
    assert.equal(at.fresh, 102);
  });

  it("an open transaction in the last epoch is fenced with the one that nobody is told", () => {
    const at = new TransactionFixture();
    const former = at.startAt(32_766);
    at.admit(former, x);
    assert.equal(at.init().errorCode, ErrorCode.CONCURRENT_TRANSACTIONS);
    at.drive();
    assert.deepEqual(at.markers, [
      { ...identity(100, 32_767), coordinatorEpoch: 5, transactionVersion: 2, outcome: "abort", ...x },
    ]);
    assert.equal(at.start().producerId, producerId(101));
  });

  it("without a producer id at hand nothing is told, and the client asks again", () => {
    const at = new TransactionFixture();
    const former = at.startAt(32_766);
    const init = { transactionalId, timeoutMs: 1, expected: null, freshProducerId: null };
    const refused = at.turn((shard, turn) => shard.init(turn, init));
    assert.equal(refused.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    at.admit(former, x);
    const end = { outcome: "commit", clientVersion: 2, freshProducerId: null } as const;
    const told = at.turn((shard, turn) => shard.end(turn, former, end));
    assert.equal(told.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    assert.equal(at.state, "Ongoing");
  });
});
