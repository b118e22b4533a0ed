import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MalformedError } from "../base/errors.ts";
import { type Offset, offset, producerEpoch, producerId } from "../base/ids.ts";
import { BatchView } from "../record/batch.ts";
import { buildBatch, type NewRecord } from "../record/builder.ts";
import { recordsIn } from "../record/record.ts";
import { AbortedTransactions } from "./aborted-transactions.ts";
import { CompactionJudge, type JudgeOptions, learnKeys } from "./compaction-judge.ts";
import { KeyOffsets } from "./key-offsets.ts";

const inflatedBytesMax = 1 << 20;
type Place = readonly [key: string | null, value: string | null];

const aBatch = (base: number, places: readonly Place[], more: Parameters<typeof buildBatch>[1] = {}) =>
  BatchView.at(
    buildBatch(
      places.map(([key, value]): NewRecord => ({ key, value, timestamp: 100 })),
      { baseOffset: offset(base), ...more },
    ),
  );
const producer = (id: number) => ({
  producerId: producerId(id),
  producerEpoch: producerEpoch(0),
  baseSequence: 0,
});
const transaction = (id: number) => ({ ...producer(id), isTransactional: true });
const marker = (base: number, id: number): BatchView =>
  aBatch(base, [["m", "x"]], { ...transaction(id), isControl: true });

interface Log {
  readonly batches: readonly BatchView[];
  readonly horizonMs: number;
  readonly end: Offset;
}

/** One pass over the batches, which learns from `from` on. */
function pass(
  batches: readonly BatchView[],
  options: Partial<JudgeOptions> & { readonly from?: number; readonly unreadable?: number } = {},
): Log {
  const { aborted = new AbortedTransactions(), from = 0 } = options;
  const newest = new KeyOffsets(1 << 20, [1, 2]);
  for (const batch of batches) {
    assert.equal(learnKeys(batch, newest, { from: offset(from), aborted, inflatedBytesMax }), null);
  }
  const judge = new CompactionJudge({
    newest,
    end: batches.at(-1)?.nextOffset ?? offset(0),
    unreadableFrom: null,
    start: offset(0),
    wallMs: 1_000,
    deleteRetentionMs: 500,
    aborted,
    inflatedBytesMax,
    ...options,
  });
  const kept: BatchView[] = [];
  for (const batch of batches) {
    if (batch.baseOffset === options.unreadable) judge.passUnreadable(batch.baseOffset);
    const verdict = judge.judge(batch);
    if (verdict.kind === "keep") kept.push(batch);
    if (verdict.kind === "change") kept.push(BatchView.at(verdict.bytes));
  }
  return { batches: kept, horizonMs: judge.horizonMs, end: judge.end };
}

const textOf = (bytes: Uint8Array | null): string => Buffer.from(bytes ?? []).toString();

const told = ({ batches }: Log): readonly string[] =>
  batches.flatMap((batch) =>
    [...recordsIn(batch, inflatedBytesMax)].map(
      ({ offset: at, key, value }) => `${at}:${textOf(key)}=${textOf(value)}`,
    ),
  );

describe("a pass of compaction", () => {
  it("keeps the newest record of each key at its offset, within and across batches", () => {
    const log = [
      aBatch(0, [
        ["a", "1"],
        ["b", "1"],
        ["a", "2"],
      ]),
      aBatch(3, [["b", "2"]]),
      aBatch(4, [
        ["c", "1"],
        ["b", "3"],
      ]),
    ];
    assert.deepEqual(told(pass(log)), ["2:a=2", "4:c=1", "5:b=3"]);
    assert.deepEqual(
      pass(log).batches.map(({ baseOffset, nextOffset }) => [baseOffset, nextOffset]),
      [
        [0, 3],
        [4, 6],
      ],
    );
  });

  it("compares only what it learnt: what is not below its end stays, and replaces", () => {
    const log = [
      aBatch(0, [
        ["a", "1"],
        ["b", "1"],
      ]),
      aBatch(2, [
        ["a", "2"],
        ["b", "2"],
      ]),
    ];
    assert.deepEqual(told(pass(log, { end: offset(3) })), ["2:a=2", "3:b=2"]);
    const twice = [
      aBatch(0, [["a", "1"]]),
      aBatch(1, [
        ["a", "2"],
        ["a", "3"],
      ]),
    ];
    assert.deepEqual(told(pass(twice, { end: offset(1) })), ["1:a=2", "2:a=3"]);
    assert.deepEqual(told(pass(log, { from: 4 })), ["0:a=1", "1:b=1", "2:a=2", "3:b=2"]);
  });

  it("drops what lies below the log start, and keeps records without a key", () => {
    const log = [
      aBatch(0, [["a", "1"]]),
      aBatch(1, [
        ["b", "1"],
        ["c", "1"],
        [null, "n"],
      ]),
    ];
    assert.deepEqual(told(pass(log, { start: offset(2) })), ["2:c=1", "3:=n"]);
  });

  it("gives a tombstone its time when it first meets it, and drops it only then", () => {
    const log = [
      aBatch(0, [
        ["a", "1"],
        ["b", "1"],
      ]),
      aBatch(2, [["a", null]]),
    ];
    const first = pass(log);
    assert.deepEqual(told(first), ["1:b=1", "2:a="]);
    assert.equal(first.horizonMs, 1_500);
    const early = pass(first.batches, { wallMs: 1_499, from: 9 });
    assert.deepEqual([told(early), early.horizonMs], [["1:b=1", "2:a="], 1_500]);
    const due = pass(first.batches, { wallMs: 1_500, from: 9 });
    assert.deepEqual([told(due), due.horizonMs], [["1:b=1"], -1]);
  });

  it("lets no tombstone's time run before everything that it deletes is gone", () => {
    const log = [aBatch(0, [["a", "1"]]), aBatch(1, [["a", null]])];
    const partly = pass(log, { end: offset(1), from: 9 });
    assert.deepEqual([told(partly), partly.horizonMs], [["0:a=1", "1:a="], -1]);
    assert.equal(partly.batches[1]?.hasDeleteHorizon, false);
  });

  it("drops no tombstone behind what it could not read, and says how far it came", () => {
    const first = pass([aBatch(0, [["x", "1"]]), aBatch(1, [["a", null]])]);
    const blind = pass(first.batches, { wallMs: 9_000, unreadable: 0 });
    assert.deepEqual([told(blind), blind.end], [["0:x=1", "1:a="], 0]);
    const broken = aBatch(0, [["x", "1"]]);
    broken.bytes[61] = 0x7f;
    const passed = new CompactionJudge({
      newest: new KeyOffsets(1 << 20, [1, 2]),
      end: offset(2),
      unreadableFrom: null,
      start: offset(0),
      wallMs: 9_000,
      deleteRetentionMs: 0,
      aborted: new AbortedTransactions(),
      inflatedBytesMax,
    });
    assert.equal(passed.judge(broken).kind, "keep");
    assert.equal(passed.judge(first.batches[1] as BatchView).kind, "keep");
    assert.deepEqual([passed.isBlind, passed.end], [true, 0]);
  });

  it("keeps a marker while a record of its transaction is there, whatever its key, and then as a tombstone", () => {
    const log = [
      aBatch(0, [["m", "1"]], transaction(7)),
      marker(1, 7),
      aBatch(2, [["m", "2"]], transaction(8)),
      marker(3, 8),
    ];
    const first = pass(log);
    assert.deepEqual(
      first.batches.map(({ baseOffset, isControl, hasDeleteHorizon }) => [
        baseOffset,
        isControl,
        hasDeleteHorizon,
      ]),
      [
        [1, true, true],
        [2, false, false],
        [3, true, false],
      ],
    );
    assert.equal(first.horizonMs, 1_500);
    const due = pass(first.batches, { wallMs: 1_500, from: 9 });
    assert.deepEqual(
      due.batches.map(({ baseOffset }) => baseOffset),
      [2, 3],
    );
  });

  it("drops records of aborted transactions, which replace nothing", () => {
    const aborted = new AbortedTransactions();
    aborted.add([
      {
        producerId: producerId(7),
        firstOffset: offset(1),
        lastOffset: offset(3),
        lastStableOffset: offset(4),
      },
    ]);
    const log = [
      aBatch(0, [["a", "1"]], transaction(8)),
      aBatch(1, [["a", "2"]], transaction(7)),
      aBatch(2, [["b", "1"]], transaction(8)),
      marker(3, 7),
      marker(4, 8),
      aBatch(5, [["c", "1"]], transaction(7)),
    ];
    assert.deepEqual(
      told(pass(log, { aborted })).filter((each) => !each.includes("m=")),
      ["0:a=1", "2:b=1", "5:c=1"],
    );
  });

  it("takes no record of a transaction for the value of its key as long as it may have been aborted", () => {
    const aborted = new AbortedTransactions();
    aborted.missSome();
    const log = [
      aBatch(0, [
        ["a", "1"],
        ["b", "1"],
      ]),
      aBatch(2, [["a", "2"]], transaction(7)),
      marker(3, 7),
      aBatch(4, [["b", "2"]]),
    ];
    assert.deepEqual(
      told(pass(log, { aborted })).filter((each) => !each.includes("m=")),
      ["0:a=1", "2:a=2", "4:b=2"],
    );
  });

  it("takes nothing of a batch that cannot be read to its end for the value of a key", () => {
    const broken = buildBatch(
      [
        { key: "a", value: "2" },
        { key: "c", value: "3" },
      ],
      { baseOffset: offset(1) },
    );
    // The second record claims to be longer than it is.
    broken[70] = 0x7e;
    const newest = new KeyOffsets(1 << 20, [1, 2]);
    const options = { from: offset(0), aborted: new AbortedTransactions(), inflatedBytesMax };
    assert.throws(() => learnKeys(BatchView.at(broken), newest, options), MalformedError);
    assert.equal(newest.size, 0);
  });
});
