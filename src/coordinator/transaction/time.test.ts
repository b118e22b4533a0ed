/** Time-outs of transactions, and transactional ids that nobody uses any more. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { identity, part, TransactionFixture, transactionalId } from "./shard-fixture.ts";

const x = part("x");
const day = 24 * 3_600_000;

function openFor(timeoutMs: number) {
  const at = new TransactionFixture();
  const claim = at.start(null, timeoutMs);
  at.admit(claim, x);
  return { at, claim };
}

describe("a transaction that is open for longer than its producer said", () => {
  it("is aborted under an epoch that its producer never had", () => {
    const { at, claim } = openFor(1_000);
    at.pass(999);
    assert.equal(at.state, "Ongoing");
    at.pass(1);
    assert.equal(at.state, "PrepareAbort");
    at.drive();
    assert.deepEqual(at.markers, [
      { ...identity(100, 1), coordinatorEpoch: 5, transactionVersion: 2, outcome: "abort", ...x },
    ]);
    assert.equal(at.admit(claim, x), ErrorCode.PRODUCER_FENCED);
    assert.equal(at.shard.nextDeadlineMs, Infinity);
  });

  it("is not committed by its producer any more; one of KIP-890 may abort it, and go on", () => {
    const { at, claim } = openFor(1_000);
    at.pass(1_000);
    at.drive();
    assert.equal(at.end(claim, "commit").errorCode, ErrorCode.INVALID_TXN_STATE);
    const told = at.end(claim, "abort");
    assert.deepEqual(told, { ...identity(100, 1), errorCode: ErrorCode.NONE, tookFreshId: false });
    assert.equal(at.admit(at.as(told), x), ErrorCode.NONE);
  });

  it("fences a client that does not know of KIP-890", () => {
    const { at, claim } = openFor(1_000);
    at.pass(1_000);
    at.drive();
    assert.equal(at.end(claim, "abort", 0).errorCode, ErrorCode.PRODUCER_FENCED);
    assert.equal(at.add(claim, x), ErrorCode.PRODUCER_FENCED);
  });

  it("counts from its first partition on, and each transaction for itself", () => {
    const { at, claim } = openFor(1_000);
    at.pass(600);
    at.admit(claim, part("y"));
    const next = at.as(at.commit(claim));
    at.pass(600);
    at.admit(next, x);
    at.pass(600);
    assert.equal(at.state, "Ongoing");
    at.pass(400);
    assert.equal(at.state, "PrepareAbort");
  });

  it("that is at its end has no time-out", () => {
    const { at, claim } = openFor(1_000);
    at.end(claim, "commit");
    assert.equal(at.shard.nextDeadlineMs, Infinity);
    at.pass(5_000);
    assert.equal(at.state, "PrepareCommit");
  });

  it("counts the time in which the broker was down", () => {
    const { at } = openFor(1_000);
    at.wallMs += 700;
    at.restart();
    at.pass(0);
    assert.equal(at.state, "Ongoing");
    at.pass(299);
    assert.equal(at.state, "Ongoing");
    at.pass(1);
    assert.equal(at.state, "PrepareAbort");
  });

  it("does not last longer than its time-out behind a restart, whatever the clock says", () => {
    const { at } = openFor(1_000);
    at.wallMs -= day;
    at.restart();
    at.pass(0);
    at.pass(1_000);
    assert.equal(at.state, "PrepareAbort");
  });

  it("is not helped by one that was open at a restart, and has ended since", () => {
    const { at, claim } = openFor(1_000);
    at.restart();
    const next = at.as(at.commit(claim));
    at.admit(next, x);
    at.wallMs -= day;
    at.pass(1_000);
    assert.equal(at.state, "PrepareAbort");
  });

  it("is aborted in its time when the clock is put back meanwhile", () => {
    const { at } = openFor(1_000);
    at.wallMs -= day;
    at.pass(1_000);
    assert.equal(at.state, "PrepareAbort");
  });

  it("in the last epoch: its producer goes on with another producer id once it asks", () => {
    const at = new TransactionFixture();
    const claim = at.startAt(32_766);
    at.admit(claim, x);
    at.pass(60_000);
    at.drive();
    assert.deepEqual(at.current, identity(100, 32_767));
    const nobody = at.as(at.current);
    assert.equal(at.admit(nobody, x), ErrorCode.PRODUCER_FENCED, "nobody is told that epoch");
    assert.equal(at.end(nobody, "abort").errorCode, ErrorCode.PRODUCER_FENCED);
    const end = { outcome: "abort", clientVersion: 2, freshProducerId: null } as const;
    const unanswered = at.turn((shard, turn) => shard.end(turn, claim, end));
    assert.equal(unanswered.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE, "no producer id is at hand");
    const told = at.end(claim, "abort");
    assert.deepEqual(told, { ...identity(101, 0), errorCode: ErrorCode.NONE, tookFreshId: true });
    assert.deepEqual(at.end(claim, "abort"), { ...told, tookFreshId: false }, "the same again");
    assert.equal(at.admit(at.as(told), x), ErrorCode.NONE);
  });

  it("in the last epoch: InitProducerId goes on with another producer id", () => {
    for (const goesOn of [false, true]) {
      const at = new TransactionFixture();
      const claim = at.startAt(32_766);
      at.admit(claim, x);
      at.pass(60_000);
      at.drive();
      assert.deepEqual(at.start(goesOn ? claim : null), at.as(identity(101, 0)));
    }
  });
});

describe("transactional.id.expiration.ms", () => {
  it("forgets an id that nobody used, and its producer has to start anew", () => {
    const at = new TransactionFixture({ idExpirationMs: day });
    const claim = at.start();
    at.wallMs += day - 1;
    assert.equal(
      at.written(() => at.turn((shard, turn) => shard.expire(turn))),
      0,
    );
    at.wallMs += 1;
    at.turn((shard, turn) => shard.expire(turn));
    assert.equal(at.value, null);
    assert.equal(at.shard.transactionCount, 0);
    assert.equal(at.shard.bytes, 0);
    assert.equal(at.admit(claim, x), ErrorCode.INVALID_PRODUCER_ID_MAPPING);
    at.restart();
    assert.equal(at.shard.transactionCount, 0);
    assert.notEqual(at.start().producerId, claim.producerId);
  });

  it("never forgets a transaction that is open or at its end", () => {
    const { at, claim } = openFor(900_000);
    at.wallMs += 30 * day;
    at.turn((shard, turn) => shard.expire(turn));
    assert.equal(at.state, "Ongoing");
    at.end(claim, "commit");
    at.wallMs += 30 * day;
    at.turn((shard, turn) => shard.expire(turn));
    assert.equal(at.state, "PrepareCommit");
    at.drive();
    at.wallMs += 30 * day;
    at.turn((shard, turn) => shard.expire(turn));
    assert.equal(at.value, null);
  });

  it("forgets a bounded number in one turn, and says that there may be more", () => {
    const at = new TransactionFixture({ idExpirationMs: day });
    for (let i = 0; i < 1_500; i++) at.init(null, 1, `id-${i}`);
    at.wallMs += day;
    assert.equal(
      at.turn((shard, turn) => shard.expire(turn)),
      true,
    );
    assert.equal(at.shard.transactionCount, 500);
    assert.equal(
      at.turn((shard, turn) => shard.expire(turn)),
      false,
    );
    assert.equal(at.shard.transaction(transactionalId), undefined);
    assert.equal(at.shard.transactionCount, 0);
  });
});
