/**
 * Control records: what brokers write among the data and applications never see. A control batch holds
 * one record, whose key is {version int16, type int16}; a transaction's marker has the value
 * {version int16, coordinatorEpoch int32} (KIP-98).
 */
import { assert } from "../base/assert.ts";
import { MalformedError } from "../base/errors.ts";
import type { ProducerEpoch, ProducerId } from "../base/ids.ts";
import type { BatchView } from "./batch.ts";
import { buildBatch } from "./builder.ts";
import { RecordCursor } from "./record.ts";

/** Numbers on the wire. Of other types only the number is known. */
export const ControlType = { abort: 0, commit: 1, leaderChange: 2 } as const;

export type ControlRecord =
  | { readonly kind: "commit" | "abort"; readonly coordinatorEpoch: number }
  /** Null: compaction took the record when nothing was left that it decided on; the batch tells of its producer. */
  | { readonly kind: "other"; readonly type: number | null };

/** The batch that ends a producer's transaction in one partition. It takes one offset. */
export function buildMarker(marker: {
  readonly kind: "commit" | "abort";
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  readonly coordinatorEpoch: number;
  readonly timestampMs: number;
}): Uint8Array {
  const key = Buffer.alloc(4);
  key.writeInt16BE(ControlType[marker.kind], 2);
  const value = Buffer.alloc(6);
  value.writeInt32BE(marker.coordinatorEpoch, 2);
  return buildBatch([{ key, value, timestamp: marker.timestampMs }], {
    producerId: marker.producerId,
    producerEpoch: marker.producerEpoch,
    isTransactional: true,
    isControl: true,
  });
}

/** What a control batch says. Throws `MalformedError`; newer versions of key and value may be longer. */
export function readControl(batch: BatchView): ControlRecord {
  assert(batch.isControl, "only a control batch is read as one");
  if (batch.codec !== 0) throw new MalformedError("a control batch is compressed");
  if (batch.recordCount === 0) return { kind: "other", type: null };
  const cursor = new RecordCursor(batch.payload, batch.recordCount);
  if (!cursor.next()) throw new MalformedError("a control batch without a record");
  const key = cursor.key;
  if (key === null || key.byteLength < 4) throw new MalformedError("a control record's key is cut short");
  const type = int16At(key, 2);
  if (type !== ControlType.commit && type !== ControlType.abort) return { kind: "other", type };
  const value = cursor.value;
  if (value === null || value.byteLength < 6) throw new MalformedError("a marker's value is cut short");
  return {
    kind: type === ControlType.commit ? "commit" : "abort",
    coordinatorEpoch: (int16At(value, 2) << 16) | (int16At(value, 4) & 0xffff),
  };
}

function int16At(bytes: Uint8Array, at: number): number {
  return (((bytes[at] as number) << 24) >> 16) | (bytes[at + 1] as number);
}
