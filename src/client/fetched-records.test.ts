import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { leaderEpoch, offset, producerEpoch, producerId } from "../base/ids.ts";
import { BatchView, Codec } from "../record/batch.ts";
import { buildBatch } from "../record/builder.ts";
import { buildMarker } from "../record/control.ts";
import { DamagedRecordsError } from "./consumer-errors.ts";
import { type FetchedFacts, FetchedRecords } from "./fetched-records.ts";

const epoch = leaderEpoch(3);
const pid = producerId(7);

/** `count` records whose values are their offsets. */
function batch(
  baseOffset: number,
  count: number,
  fields: { codec?: Codec; transactional?: boolean } = {},
): Uint8Array {
  const records = Array.from({ length: count }, (_, index) => ({
    key: null,
    value: Buffer.from(String(baseOffset + index)),
    timestamp: 1_000 + index,
  }));
  const { codec = Codec.none, transactional = false } = fields;
  const bytes = buildBatch(records, {
    codec,
    ...(transactional ? { isTransactional: true, producerId: pid, producerEpoch: producerEpoch(0) } : {}),
  });
  return stamped(bytes, baseOffset);
}

function marker(kind: "commit" | "abort", at: number): Uint8Array {
  const facts = { producerId: pid, producerEpoch: producerEpoch(0), coordinatorEpoch: 0, timestampMs: 0 };
  return stamped(buildMarker({ kind, ...facts }), at);
}

function stamped(bytes: Uint8Array, at: number): Uint8Array {
  BatchView.at(bytes).stampOffsets(offset(at), epoch);
  return bytes;
}

const skipped: [number, number][] = [];

function fetched(chunks: readonly Uint8Array[], facts: Partial<FetchedFacts> = {}): FetchedRecords {
  skipped.length = 0;
  return new FetchedRecords(chunks, {
    topic: "t",
    partition: 0,
    from: offset(0),
    stopAt: Number.POSITIVE_INFINITY,
    aborted: null,
    onDamage: "error",
    onSkipped: (from, to) => skipped.push([from, to]),
    ...facts,
  });
}

function offsetsOf(records: FetchedRecords): number[] {
  const offsets: number[] = [];
  for (let record = records.next(); record !== undefined; record = records.next()) {
    assert.equal(String(record.value), String(record.offset));
    offsets.push(record.offset);
  }
  return offsets;
}

/** Flips a bit of the payload. */
function damaged(bytes: Uint8Array): Uint8Array {
  bytes[bytes.byteLength - 2] = (bytes[bytes.byteLength - 2] as number) ^ 1;
  return bytes;
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

describe("the records of a fetch answer", () => {
  it("begin at the offset that was asked for, in the middle of a batch", () => {
    const records = fetched([batch(0, 5), batch(5, 5)], { from: offset(3) });
    assert.deepEqual(offsetsOf(records), range(3, 10));
    assert.deepEqual([records.position, records.end, records.epoch], [10, 10, epoch]);
  });

  it("end before the stop, whose offset becomes the position", () => {
    const records = fetched([batch(0, 5), batch(5, 5)], { stopAt: 7 });
    assert.deepEqual(offsetsOf(records), range(0, 7));
    assert.equal(records.position, 7);
  });

  it("leave out a batch that was cut off at the end", () => {
    const cut = batch(5, 5).subarray(0, 70);
    const records = fetched([Buffer.concat([batch(0, 5), cut])]);
    assert.deepEqual(offsetsOf(records), range(0, 5));
    assert.equal(records.end, 5);
    assert(fetched([cut], { from: offset(5) }).isEmpty);
  });

  it("pass over markers, and go on behind them", () => {
    const records = fetched([batch(0, 2, { transactional: true }), marker("commit", 2)], { aborted: [] });
    assert.deepEqual(offsetsOf(records), [0, 1]);
    assert.equal(records.position, 3);
  });

  it("leave out what an aborted transaction wrote, and nothing of the next one", () => {
    const log = [
      batch(0, 2, { transactional: true }),
      batch(2, 2),
      marker("abort", 4),
      batch(5, 2, { transactional: true }),
      marker("commit", 7),
    ];
    const aborted = [{ producerId: pid, firstOffset: offset(0) }];
    assert.deepEqual(offsetsOf(fetched(log, { aborted })), [2, 3, 5, 6]);
    // A fetch that begins behind the transaction's first batch is told of it all the same.
    assert.deepEqual(offsetsOf(fetched(log.slice(1), { aborted, from: offset(2) })), [2, 3, 5, 6]);
    assert.deepEqual(offsetsOf(fetched(log, { aborted: null })), [0, 1, 2, 3, 5, 6]);
  });

  it("leave out several aborted transactions of one producer, and none behind a marker that compaction emptied", () => {
    const emptied = stamped(
      buildBatch([], {
        producerId: pid,
        producerEpoch: producerEpoch(0),
        isTransactional: true,
        isControl: true,
      }),
      5,
    );
    const log = [
      batch(0, 2, { transactional: true }),
      marker("abort", 2),
      batch(3, 2, { transactional: true }),
      emptied,
      batch(6, 2, { transactional: true }),
      marker("commit", 8),
    ];
    const aborted = [0, 3].map((at) => ({ producerId: pid, firstOffset: offset(at) }));
    assert.deepEqual(offsetsOf(fetched(log, { aborted })), [6, 7]);
  });

  it("have the batch's time where the broker set it", () => {
    const bytes = batch(0, 2);
    BatchView.at(bytes).stampLogAppendTime(5_555);
    assert.deepEqual(
      [fetched([bytes]).next()?.timestampMs, fetched([batch(0, 2)]).next()?.timestampMs],
      [5_555, 1_000],
    );
  });

  it("stop at damage with its offset, again and again, and hand out what lies before it", () => {
    const records = fetched([batch(0, 3), damaged(batch(3, 3)), batch(6, 3)]);
    const before = [records.next(), records.next(), records.next()].map((record) => record?.offset);
    assert.deepEqual(before, [0, 1, 2]);
    for (let again = 0; again < 2; again++) {
      assert.throws(
        () => records.next(),
        (cause) => {
          assert(cause instanceof DamagedRecordsError);
          assert.deepEqual([cause.topic, cause.partition, cause.offset], ["t", 0, 3]);
          return /offset 3 of t\/0 cannot be read: the batch fails its checksum/.test(cause.message);
        },
      );
      assert.equal(records.position, 3);
    }
  });

  it("skip damage only when told to, and say which offsets", () => {
    const records = fetched([batch(0, 3), damaged(batch(3, 3)), batch(6, 3)], { onDamage: "skip" });
    assert.deepEqual(offsetsOf(records), [0, 1, 2, 6, 7, 8]);
    assert.deepEqual(skipped, [[3, 6]]);
  });

  it("do not believe a damaged batch how far it goes: the next one's beginning limits it", () => {
    const liar = batch(3, 3);
    liar[26] = 200;
    const records = fetched([batch(0, 3), liar, batch(6, 3)], { onDamage: "skip" });
    assert.deepEqual(offsetsOf(records), [0, 1, 2, 6, 7, 8]);
    assert.deepEqual(skipped, [[3, 6]]);
  });

  it("do not hand out records twice when a batch claims to begin inside the one before", () => {
    const records = fetched([batch(0, 3), stamped(batch(3, 3), 1)]);
    for (let index = 0; index < 3; index++) records.next();
    assert.throws(() => records.next(), DamagedRecordsError);
  });

  it("refuse an answer that would be asked for again for ever", () => {
    assert.throws(() => fetched([batch(0, 3)], { from: offset(3) }), DamagedRecordsError);
  });

  it("are all there, whatever the codec, the batches and the place to begin", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 4 })), {
          minLength: 1,
          maxLength: 8,
        }),
        fc.nat(),
        (batches, seed) => {
          let end = 0;
          const chunks = batches.map(([count, codec]) => {
            end += count;
            return batch(end - count, count, { codec: codec as Codec });
          });
          const from = seed % end;
          assert.deepEqual(offsetsOf(fetched(chunks, { from: offset(from) })), range(from, end));
        },
      ),
      { numRuns: 50 },
    );
  });

  it("end with a typed error on any damage, never with another record", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (place, change) => {
        const bytes = Buffer.concat([batch(0, 3), batch(3, 3)]);
        const at = place % bytes.byteLength;
        bytes[at] = (bytes[at] as number) ^ change;
        try {
          const offsets = offsetsOf(fetched([bytes]));
          assert(offsets.every((each, index) => index === 0 || each > (offsets[index - 1] as number)));
        } catch (cause) {
          // Base offset and epoch are outside of the checksum; the value then is not its offset.
          const isOutside = at % (bytes.byteLength / 2) < 16;
          assert(
            cause instanceof DamagedRecordsError || (isOutside && cause instanceof assert.AssertionError),
          );
        }
      }),
      { numRuns: 200 },
    );
  });
});
