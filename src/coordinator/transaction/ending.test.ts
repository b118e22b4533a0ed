/** EndTxn: intention, markers, completion; and requests that come late or twice. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { identity, part, TransactionFixture, transactionalId } from "./shard-fixture.ts";

const x = part("x");
const y = part("y", 3);

function opened(clientVersion: 0 | 2 = 2) {
  const at = new TransactionFixture();
  const claim = at.start();
  if (clientVersion === 2) at.admit(claim, x, y);
  else at.add(claim, x, y);
  return { at, claim };
}

describe("a transaction at its end", () => {
  it("is an intention first, then its markers, then complete", () => {
    for (const [outcome, prepared, complete] of [
      ["commit", "PrepareCommit", "CompleteCommit"],
      ["abort", "PrepareAbort", "CompleteAbort"],
    ] as const) {
      const { at, claim } = opened();
      assert.equal(at.end(claim, outcome).errorCode, ErrorCode.NONE);
      assert.equal(at.state, prepared);
      assert.deepEqual(at.shard.prepared(), [
        {
          ...identity(100, 1),
          transactionalId,
          coordinatorEpoch: 5,
          transactionVersion: 2,
          outcome,
          topics: [
            { topic: "x", partitionIds: [0] },
            { topic: "y", partitionIds: [3] },
          ],
        },
      ]);
      at.drive();
      assert.equal(at.state, complete);
      assert.deepEqual(at.shard.prepared(), []);
      assert.deepEqual(at.value?.partitions, []);
    }
  });

  it("whose coordinator died in between is driven on after a restart", () => {
    const { at, claim } = opened();
    at.end(claim, "commit");
    at.restart();
    assert.equal(at.shard.preparedOf(transactionalId)?.outcome, "commit");
    at.drive();
    assert.equal(at.state, "CompleteCommit");
    at.restart();
    assert.deepEqual(at.shard.prepared(), []);
  });

  it("takes nothing more and no other outcome", () => {
    for (const clientVersion of [0, 2] as const) {
      const { at, claim } = opened(clientVersion);
      at.end(claim, "commit", clientVersion);
      const inOld = at.admit(claim, part("z"));
      assert.equal(
        inOld,
        clientVersion === 0 ? ErrorCode.CONCURRENT_TRANSACTIONS : ErrorCode.PRODUCER_FENCED,
      );
      assert.equal(
        at.end(claim, "commit", clientVersion).errorCode,
        ErrorCode.CONCURRENT_TRANSACTIONS,
        "the same again",
      );
      assert.equal(at.end(claim, "abort", clientVersion).errorCode, ErrorCode.INVALID_TXN_STATE);
      assert.equal(at.shard.preparedOf(transactionalId)?.outcome, "commit");
    }
  });

  it("lets its producer wait, who was told its next epoch before the markers were written", () => {
    for (const first of [0, 32_766]) {
      const at = new TransactionFixture();
      const claim = at.startAt(first);
      at.admit(claim, x, y);
      const told = at.end(claim, "commit");
      assert.equal(told.errorCode, ErrorCode.NONE);
      assert.equal(at.state, "PrepareCommit");
      const next = at.as(told);
      for (const outcome of ["commit", "abort"] as const) {
        assert.equal(at.end(next, outcome).errorCode, ErrorCode.CONCURRENT_TRANSACTIONS);
      }
      assert.equal(at.admit(next, x), ErrorCode.CONCURRENT_TRANSACTIONS);
      assert.equal(at.init(next).errorCode, ErrorCode.CONCURRENT_TRANSACTIONS);
      at.drive();
      assert.equal(at.admit(next, x), ErrorCode.NONE);
      assert.equal(at.end(next, "abort").errorCode, ErrorCode.NONE);
    }
  });

  it("is not ended by who has another producer id or nobody's transactional id", () => {
    const { at, claim } = opened();
    for (const clientVersion of [0, 2] as const) {
      const other = { ...claim, ...identity(99, 0) };
      assert.equal(at.end(other, "commit", clientVersion).errorCode, ErrorCode.INVALID_PRODUCER_ID_MAPPING);
      const nobody = { ...claim, transactionalId: "nobody" };
      assert.equal(at.end(nobody, "commit", clientVersion).errorCode, ErrorCode.INVALID_PRODUCER_ID_MAPPING);
      const empty = { ...claim, transactionalId: "" };
      assert.equal(at.end(empty, "commit", clientVersion).errorCode, ErrorCode.INVALID_REQUEST);
    }
    assert.equal(at.state, "Ongoing");
  });
});

describe("a client of KIP-890", () => {
  it("gets the next epoch with each transaction; its markers carry it", () => {
    const { at, claim } = opened();
    const told = at.commit(claim);
    assert.deepEqual(told, { ...identity(100, 1), errorCode: ErrorCode.NONE, tookFreshId: false });
    assert.ok(at.markers.every(({ producerEpoch }) => producerEpoch === 1));
    const next = at.as(told);
    assert.equal(at.admit(next, x), ErrorCode.NONE);
    assert.equal(at.commit(next).producerEpoch, 2);
  });

  it("that did not hear the answer gets it again, also after a restart", () => {
    const { at, claim } = opened();
    const told = at.commit(claim);
    for (let i = 0; i < 2; i++) {
      assert.equal(
        at.written(() => assert.deepEqual(at.end(claim, "commit"), told)),
        0,
      );
      at.restart();
    }
    assert.equal(at.end(claim, "abort").errorCode, ErrorCode.INVALID_TXN_STATE);
  });

  it("cannot end a transaction with a request of the one before, however late that comes", () => {
    const { at, claim } = opened();
    const next = at.as(at.commit(claim));
    at.admit(next, x);
    assert.equal(at.end(claim, "commit").errorCode, ErrorCode.PRODUCER_FENCED);
    assert.equal(at.end(claim, "abort").errorCode, ErrorCode.PRODUCER_FENCED);
    assert.equal(at.state, "Ongoing");
    at.commit(next);
    assert.equal(at.end(claim, "commit").errorCode, ErrorCode.PRODUCER_FENCED);
  });

  it("may abort where nothing was added: it gets the next epoch, and there is nothing to mark", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    const told = at.end(claim, "abort");
    assert.deepEqual(told, { ...identity(100, 1), errorCode: ErrorCode.NONE, tookFreshId: false });
    assert.equal(at.state, "CompleteAbort");
    assert.equal(at.value?.startedMs, at.wallMs);
    assert.deepEqual(at.shard.prepared(), []);
    assert.deepEqual(at.end(claim, "abort"), told, "the same again");
    assert.equal(at.end(at.as(told), "abort").producerEpoch, 2, "behind an abort");
    at.admit(at.as(identity(100, 2)), x);
    const next = at.as(at.commit(at.as(identity(100, 2))));
    assert.equal(at.end(next, "abort").producerEpoch, 4, "behind a commit");
  });

  it("may not commit where nothing was added", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    assert.equal(at.end(claim, "commit").errorCode, ErrorCode.INVALID_TXN_STATE);
    at.admit(claim, x);
    const next = at.as(at.commit(claim));
    assert.equal(at.end(next, "commit").errorCode, ErrorCode.INVALID_TXN_STATE);
    const last = at.as(at.end(next, "abort"));
    assert.equal(at.end(last, "commit").errorCode, ErrorCode.INVALID_TXN_STATE);
  });

  it("in an epoch before is fenced, also while a transaction is being ended", () => {
    const at = new TransactionFixture();
    const former = at.start();
    const claim = at.start();
    at.admit(claim, x);
    at.end(claim, "commit");
    assert.equal(at.end(former, "commit").errorCode, ErrorCode.PRODUCER_FENCED);
  });

  it("that was told another epoch meanwhile ends nothing in the former one", () => {
    const at = new TransactionFixture();
    const former = at.start();
    at.start(former);
    assert.equal(at.end(former, "abort").errorCode, ErrorCode.PRODUCER_FENCED);
    assert.equal(at.end(former, "commit").errorCode, ErrorCode.PRODUCER_FENCED);
  });

  it("in a future epoch is refused", () => {
    const { at } = opened();
    assert.equal(at.end(at.as(identity(100, 7)), "commit").errorCode, ErrorCode.PRODUCER_FENCED);
    assert.equal(at.end(at.as(identity(100, 32_767)), "abort").errorCode, ErrorCode.PRODUCER_FENCED);
  });

  it("goes on with another producer id behind the last epoch, and hears it again when it asks", () => {
    const at = new TransactionFixture();
    const claim = at.startAt(32_766);
    at.admit(claim, x);
    const told = at.end(claim, "commit");
    assert.deepEqual(told, { ...identity(101, 0), errorCode: ErrorCode.NONE, tookFreshId: true });
    assert.deepEqual(at.current, identity(100, 32_767), "until the markers are there");
    at.restart();
    assert.equal(at.end(claim, "commit").errorCode, ErrorCode.CONCURRENT_TRANSACTIONS);
    at.drive();
    assert.deepEqual(at.markers[0], {
      ...identity(100, 32_767),
      coordinatorEpoch: 5,
      transactionVersion: 2,
      outcome: "commit",
      ...x,
    });
    assert.deepEqual(at.current, identity(101, 0));
    assert.deepEqual(at.end(claim, "commit"), { ...told, tookFreshId: false });
    assert.equal(at.admit(at.as(told), x), ErrorCode.NONE);
    assert.equal(at.end(claim, "commit").errorCode, ErrorCode.INVALID_PRODUCER_ID_MAPPING);
  });
});

describe("a client that does not know of KIP-890", () => {
  it("stays in its epoch; its markers carry that", () => {
    const { at, claim } = opened(0);
    const told = at.commit(claim, 0);
    assert.deepEqual(told, { ...identity(100, 0), errorCode: ErrorCode.NONE, tookFreshId: false });
    assert.ok(at.markers.every(({ producerEpoch }) => producerEpoch === 0));
    assert.equal(at.add(claim, x), ErrorCode.NONE);
  });

  it("that did not hear the answer gets it again", () => {
    for (const outcome of ["commit", "abort"] as const) {
      const { at, claim } = opened(0);
      const told = at.end(claim, outcome, 0);
      at.drive();
      assert.equal(
        at.written(() => assert.deepEqual(at.end(claim, outcome, 0), told)),
        0,
      );
      const other = outcome === "commit" ? "abort" : "commit";
      assert.equal(at.end(claim, other, 0).errorCode, ErrorCode.INVALID_TXN_STATE);
    }
  });

  it("may end nothing where nothing was added", () => {
    const at = new TransactionFixture();
    const claim = at.start();
    assert.equal(at.end(claim, "commit", 0).errorCode, ErrorCode.INVALID_TXN_STATE);
    assert.equal(at.end(claim, "abort", 0).errorCode, ErrorCode.INVALID_TXN_STATE);
  });

  it("hears nothing of what was done by clients of KIP-890", () => {
    const { at, claim } = opened();
    const next = at.as(at.commit(claim));
    assert.equal(at.end(next, "commit", 0).errorCode, ErrorCode.INVALID_TXN_STATE);
  });

  it("in an old epoch is fenced", () => {
    const { at, claim } = opened(0);
    at.start();
    assert.equal(at.end(claim, "commit", 0).errorCode, ErrorCode.PRODUCER_FENCED);
  });

  it("may be in the last epoch for any number of transactions", () => {
    const at = new TransactionFixture();
    const claim = at.startAt(32_766);
    for (let i = 0; i < 3; i++) {
      assert.equal(at.add(claim, x), ErrorCode.NONE);
      assert.equal(at.commit(claim, 0).errorCode, ErrorCode.NONE);
    }
    assert.deepEqual(at.current, identity(100, 32_766));
  });
});
