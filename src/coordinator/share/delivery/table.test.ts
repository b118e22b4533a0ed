import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ErrorCode } from "../../../protocol/errors.ts";
import { MalformedError } from "../../../base/errors.ts";
import type { AcquiredRecords, AcquireRequest } from "./acquisition.ts";
import { offset } from "../../../base/ids.ts";
import type { KeptState, StateBatch } from "../state-batch.ts";
import type { DeliverySettings } from "./state.ts";
import { DeliveryTable } from "./table.ts";

const settings: DeliverySettings = {
  lockDurationMs: 30_000,
  deliveryCountLimit: 5,
  recordLocksMax: 2_000,
  hasDeadLetters: false,
};

function tableAt(
  startOffset: number,
  changed: Partial<DeliverySettings> = {},
  batches: readonly StateBatch[] = [],
) {
  return DeliveryTable.load({ startOffset: offset(startOffset), batches }, { ...settings, ...changed });
}

function kept(first: number, last: number, state: KeptState, deliveryCount: number): StateBatch {
  return { first: offset(first), last: offset(last), state, deliveryCount };
}

/** One batch of the log, asked for by a. */
function acquire(table: DeliveryTable, first: number, last: number, rest: Partial<AcquireRequest> = {}) {
  const request = { first, last, memberId: "a", recordsMax: 500, mode: "batch" as const, nowMs: 0, ...rest };
  return table.acquire({ batches: [{ first, last }], ...request });
}

function answer(
  table: DeliveryTable,
  first: number,
  last: number,
  types: readonly number[],
  memberId = "a",
  nowMs = 0,
) {
  return table.acknowledge({ memberId, batches: [{ first, last, types }], nowMs }).errorCode;
}

const [gap, accept, release, reject, renew] = [[0], [1], [2], [3], [4]];

describe("a share-partition", () => {
  it("gives each record to one member", () => {
    const table = tableAt(10);
    assert.deepEqual(acquire(table, 10, 19), [{ first: 10, last: 19, deliveryCount: 1 }]);
    assert.deepEqual(acquire(table, 10, 19, { memberId: "b" }), []);
    assert.equal(table.nextFetchOffset, 20);
    assert.equal(table.takeChanges(), null);
  });

  it("moves its start past what is acknowledged, and keeps the rest of what was decided", () => {
    const table = tableAt(0);
    acquire(table, 0, 9);
    assert.equal(answer(table, 4, 5, accept), ErrorCode.NONE);
    assert.deepEqual(table.takeChanges(), {
      startOffset: 0,
      batches: [kept(4, 5, 2, 0)],
      deliveryCompleteCount: 2,
      dead: [],
    });
    answer(table, 0, 3, accept);
    assert.deepEqual(table.takeChanges(), {
      startOffset: 6,
      batches: [],
      deliveryCompleteCount: 0,
      dead: [],
    });
    assert.equal(table.startOffset, 6);
  });

  it("gives what was released again, before new records, and counts the delivery", () => {
    const table = tableAt(0);
    acquire(table, 0, 9);
    answer(table, 3, 4, release);
    assert.equal(table.nextFetchOffset, 3);
    assert.deepEqual(acquire(table, 0, 9, { memberId: "b" }), [{ first: 3, last: 4, deliveryCount: 2 }]);
    assert.deepEqual(table.takeChanges()?.batches, [kept(3, 4, 0, 1)]);
  });

  it("takes back uncounted what a member acquired and was not told of, and nothing that it has by now", () => {
    const table = tableAt(0);
    const [all] = acquire(table, 0, 9);
    answer(table, 2, 3, accept);
    answer(table, 5, 5, release);
    acquire(table, 5, 5);
    table.takeChanges();
    table.giveBack("b", all as AcquiredRecords);
    assert.equal(table.counts.acquired, 8);
    table.giveBack("a", all as AcquiredRecords);
    assert.deepEqual([table.counts.acquired, table.takeChanges()], [1, null]);
    assert.deepEqual(acquire(table, 0, 9, { memberId: "b" }), [
      { first: 0, last: 1, deliveryCount: 1 },
      { first: 4, last: 4, deliveryCount: 1 },
      { first: 6, last: 9, deliveryCount: 1 },
    ]);
  });

  it("refuses a word about what the member does not hold, and then changes nothing", () => {
    const table = tableAt(0);
    acquire(table, 0, 9);
    acquire(table, 10, 19, { memberId: "b" });
    const batches = [
      { first: 0, last: 9, types: [1] },
      { first: 10, last: 19, types: [1] },
    ];
    assert.equal(
      table.acknowledge({ memberId: "a", batches, nowMs: 0 }).errorCode,
      ErrorCode.INVALID_RECORD_STATE,
    );
    assert.equal(table.counts.acquired, 20);
    assert.equal(answer(table, 0, 9, accept), ErrorCode.NONE);
    assert.equal(answer(table, 15, 20, accept, "b"), ErrorCode.INVALID_REQUEST, "20 was never delivered");
    assert.equal(answer(table, 10, 19, accept, "b"), ErrorCode.NONE);
    assert.equal(
      answer(table, 10, 19, accept, "b"),
      ErrorCode.NONE,
      "what is complete is no longer asked for",
    );
  });

  it("refuses what contradicts itself", () => {
    const table = tableAt(0);
    acquire(table, 0, 9);
    for (const types of [[], [1, 1], [5], [-1], [1.5]])
      assert.equal(answer(table, 0, 9, types), ErrorCode.INVALID_REQUEST);
    assert.equal(answer(table, 5, 4, accept), ErrorCode.INVALID_REQUEST);
    const batches = [
      { first: 0, last: 5, types: [1] },
      { first: 5, last: 9, types: [1] },
    ];
    assert.equal(
      table.acknowledge({ memberId: "a", batches, nowMs: 0 }).errorCode,
      ErrorCode.INVALID_REQUEST,
    );
    assert.equal(table.counts.acquired, 10);
  });

  it("takes one word for each record of a batch", () => {
    const table = tableAt(0, { hasDeadLetters: true });
    acquire(table, 0, 4);
    assert.equal(answer(table, 0, 4, [gap, accept, release, reject, renew].flat(), "a", 5), ErrorCode.NONE);
    assert.deepEqual(table.takeChanges(), {
      startOffset: 2,
      batches: [kept(2, 2, 0, 1), kept(3, 3, 3, 1)],
      deliveryCompleteCount: 0,
      dead: [{ first: 3, last: 3, deliveryCount: 1, reason: "rejected", letter: null }],
    });
    assert.equal(table.nextDeadlineMs, 30_005);
  });

  it("gives records again when their lock ran out, and not before", () => {
    const table = tableAt(0);
    acquire(table, 0, 9, { nowMs: 100 });
    assert.equal(table.nextDeadlineMs, 30_100);
    assert.equal(table.onTime(30_099), 0);
    assert.equal(table.onTime(30_100), 10);
    assert.equal(table.nextDeadlineMs, Infinity);
    assert.equal(answer(table, 0, 9, accept), ErrorCode.INVALID_RECORD_STATE);
    assert.deepEqual(acquire(table, 0, 9, { memberId: "b" }), [{ first: 0, last: 9, deliveryCount: 2 }]);
  });

  it("does not count a delivery to a member that closed its session, and counts one to a member that vanished", () => {
    for (const [end, deliveryCount] of [
      ["closed", 1],
      ["lost", 2],
    ] as const) {
      const table = tableAt(0);
      acquire(table, 0, 9);
      assert.equal(table.release("a", end), 10);
      assert.deepEqual(acquire(table, 0, 9, { memberId: "b" }), [{ first: 0, last: 9, deliveryCount }]);
    }
  });

  it("delivers a record no more often than the limit", () => {
    const table = tableAt(0, { deliveryCountLimit: 2 });
    for (let delivery = 1; delivery <= 2; delivery++) {
      assert.deepEqual(acquire(table, 0, 0), [{ first: 0, last: 0, deliveryCount: delivery }]);
      table.release("a", "lost");
    }
    assert.deepEqual(acquire(table, 0, 0), []);
    assert.deepEqual(table.takeChanges(), {
      startOffset: 1,
      batches: [],
      deliveryCompleteCount: 0,
      dead: [{ first: 0, last: 0, deliveryCount: 2, reason: "expired", letter: null }],
    });
  });

  it("delivers no record again that is past a limit that was lowered", () => {
    const limits = { ...settings, deliveryCountLimit: 5 };
    const table = DeliveryTable.load({ startOffset: offset(0), batches: [kept(0, 4, 0, 2)] }, limits);
    limits.deliveryCountLimit = 2;
    assert.deepEqual(acquire(table, 0, 4), []);
    assert.equal(table.takeChanges()?.dead.length, 1);
  });

  it("gives who has what goes alone nothing else, nor that beside others in one answer", () => {
    const table = tableAt(0, { deliveryCountLimit: 3 }, [kept(0, 1, 0, 2), kept(2, 3, 0, 0)]);
    const [suspect] = acquire(table, 0, 2);
    assert.deepEqual(suspect, { first: 0, last: 0, deliveryCount: 3 });
    assert.deepEqual(acquire(table, 1, 3, { besides: suspect }), []);
    assert.deepEqual(acquire(table, 1, 3), [], "not in a later answer either");
    assert.deepEqual(acquire(table, 2, 3), []);
    assert.equal(answer(table, 0, 0, renew), ErrorCode.NONE);
    assert.deepEqual(acquire(table, 2, 3), [], "also when it was renewed");
    const [plain] = acquire(table, 2, 2, { memberId: "b" });
    assert.deepEqual(plain, { first: 2, last: 2, deliveryCount: 1 });
    assert.deepEqual(acquire(table, 1, 1, { memberId: "b", besides: plain }), []);
    answer(table, 0, 0, accept);
    assert.deepEqual(acquire(table, 1, 1), [{ first: 1, last: 1, deliveryCount: 3 }], "it has an end");
  });

  it("sets records apart that may end their workers, so that they alone use up their deliveries", () => {
    const table = tableAt(0);
    acquire(table, 0, 99);
    const poison = 42;
    let dead = 0;
    for (let delivery = 0; dead === 0 && delivery < 1_000; delivery++) {
      const records = acquire(table, 0, 99);
      const isPoisoned = records.some(({ first, last }) => first <= poison && poison <= last);
      if (!isPoisoned && delivery > 2)
        for (const { first, last } of records) answer(table, first, last, accept);
      else table.release("a", "lost");
      for (const { first, last } of table.takeChanges()?.dead ?? []) {
        assert.deepEqual([first, last], [poison, poison]);
        dead++;
      }
    }
    assert.equal(dead, 1);
  });

  it("keeps dead records until their dead letters are written", () => {
    const table = tableAt(0, { hasDeadLetters: true });
    acquire(table, 0, 4);
    answer(table, 0, 4, reject);
    assert.equal(table.startOffset, 0);
    const changes = table.takeChanges();
    assert.ok(changes !== null);
    const again = tableAt(0, { hasDeadLetters: true }, changes.batches);
    assert.deepEqual(acquire(again, 0, 4), []);
    assert.deepEqual(again.takeChanges()?.dead, changes.dead);
    again.archive(0, 2);
    assert.deepEqual(again.takeChanges(), {
      startOffset: 3,
      batches: [],
      deliveryCompleteCount: 0,
      dead: [],
    });
  });

  it("takes what was neither kept nor complete for available", () => {
    const batches = [kept(15, 19, 2, 0), kept(25, 29, 0, 3)];
    const table = tableAt(10, {}, batches);
    assert.equal(table.nextFetchOffset, 10);
    assert.deepEqual(acquire(table, 10, 31), [
      { first: 10, last: 14, deliveryCount: 1 },
      { first: 20, last: 24, deliveryCount: 1 },
    ]);
    assert.deepEqual(acquire(table, 25, 31).slice(0, 1), [{ first: 25, last: 26, deliveryCount: 4 }]);
  });

  it("refuses a state that says two things of one record", () => {
    const batches = [kept(0, 5, 2, 0), kept(5, 9, 0, 1)];
    assert.throws(() => tableAt(0, {}, batches), MalformedError);
  });

  it("archives what a read shows to be missing before and between batches, and nothing behind them", () => {
    const table = tableAt(0);
    const batches = [
      { first: 5, last: 9 },
      { first: 20, last: 24 },
    ];
    assert.deepEqual(acquire(table, 0, 40, { batches }), [
      { first: 5, last: 9, deliveryCount: 1 },
      { first: 20, last: 24, deliveryCount: 1 },
    ]);
    assert.equal(table.startOffset, 5);
    assert.equal(table.endOffset, 25);
    assert.equal(table.counts.archived, 10);
  });

  it("passes over what has no records for the group, but for what a member holds", () => {
    const table = tableAt(0);
    acquire(table, 0, 9);
    table.skip(5, 14);
    assert.equal(table.counts.acquired, 10);
    assert.equal(table.endOffset, 15);
    table.skip(20, 29);
    assert.equal(table.endOffset, 15, "between 15 and 20 nothing is known");
    answer(table, 0, 9, accept);
    assert.equal(table.startOffset, 15);
  });

  it("never has more in flight than may be locked, and goes on when some are complete", () => {
    const table = tableAt(0, { recordLocksMax: 7 });
    assert.deepEqual(acquire(table, 0, 9), [{ first: 0, last: 6, deliveryCount: 1 }]);
    assert.equal(table.mayAcquire, false);
    assert.deepEqual(acquire(table, 7, 9), []);
    answer(table, 3, 4, accept);
    assert.deepEqual(
      acquire(table, 7, 9),
      [{ first: 7, last: 8, deliveryCount: 1 }],
      "one slow record blocks nobody",
    );
    table.release("a", "lost");
    assert.equal(
      acquire(table, 0, 9).reduce((sum, { first, last }) => sum + last - first + 1, 0),
      7,
    );
  });

  it("gives a batch whole that was begun, or never more than is asked for", () => {
    const batches = [
      { first: 0, last: 9 },
      { first: 10, last: 19 },
    ];
    for (const [mode, last] of [
      ["batch", 9],
      ["strict", 2],
    ] as const)
      assert.deepEqual(acquire(tableAt(0), 0, 19, { batches, recordsMax: 3, mode }), [
        { first: 0, last, deliveryCount: 1 },
      ]);
  });

  it("tells long runs in pieces that begin with batches", () => {
    const batches = Array.from({ length: 10 }, (_, at) => ({ first: at * 10, last: at * 10 + 9 }));
    const pieces = acquire(tableAt(0), 0, 99, { batches, batchSize: 25 });
    assert.deepEqual(
      pieces.map(({ first, last }) => [first, last]),
      [
        [0, 29],
        [30, 59],
        [60, 89],
        [90, 99],
      ],
    );
  });

  it("forgets what the log no longer has, and says how much of it was not complete", () => {
    const table = tableAt(0, { hasDeadLetters: true });
    acquire(table, 0, 19);
    answer(table, 0, 4, reject);
    answer(table, 5, 9, release);
    assert.deepEqual(table.moveStart(15), { available: 5, acquired: 5, archiving: 5 });
    assert.equal(table.startOffset, 15);
    assert.equal(answer(table, 10, 19, accept), ErrorCode.NONE, "the rest of the batch is still there");
    table.moveStart(100);
    assert.deepEqual([table.startOffset, table.endOffset, table.nextFetchOffset], [100, 100, 100]);
    assert.equal(table.takeChanges()?.startOffset, 100);
  });

  it("keeps ranges, not records: a million in flight in one range, a million in pairs within their bound", () => {
    const million = 1_000_000;
    const table = tableAt(0, { recordLocksMax: million });
    for (let first = 0; first < million; first += 1_000)
      acquire(table, first, first + 999, { recordsMax: 1_000 });
    assert.equal(table.inFlightCount, million);
    assert.equal(table.rangeCount, 1_000);
    for (let first = 0; first < million; first += 2) answer(table, first, first, release);
    assert.equal(table.rangeCount, million);
    assert.equal(table.onTime(30_000), million / 2);
    assert.equal(table.rangeCount, 1);
  });
});
