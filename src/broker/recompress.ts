/**
 * `compression.type` other than `producer`: the broker stores batches in the topic's codec, whatever the
 * client chose. The records keep their bytes (offset deltas, times, keys, values, headers); only their
 * wrapping and the header's codec, maximum timestamp, length and CRC change. A batch that already has the
 * codec is passed on untouched, whatever its level, as Kafka does.
 */
import { BatchView, Codec } from "../record/batch.ts";
import { wrapRecords } from "../record/builder.ts";
import { checkRecords, openedBytes, type RecordRules, type RecordsRefusal } from "./record-bounds.ts";

export interface TargetCompression {
  readonly codec: Codec;
  /** Absent: the codec's default. */
  readonly level?: number;
}

/** The topic's settings under Kafka's names for them. */
export interface CompressionSettings {
  /** `compression.type`. */
  readonly type: "producer" | "uncompressed" | "gzip" | "snappy" | "lz4" | "zstd";
  /** `compression.gzip.level`: −1 or 1 to 9. */
  readonly gzipLevel: number;
  /** `compression.zstd.level`: −131,072 to 22. `compression.lz4.level` has no effect: the library has one level. */
  readonly zstdLevel: number;
}

/** Null: batches stay as their producers made them. */
export function targetCompression(settings: CompressionSettings): TargetCompression | null {
  switch (settings.type) {
    case "producer":
      return null;
    case "uncompressed":
      return { codec: Codec.none };
    case "gzip":
      return { codec: Codec.gzip, level: settings.gzipLevel };
    case "zstd":
      return { codec: Codec.zstd, level: settings.zstdLevel };
    case "snappy":
    case "lz4":
      return { codec: Codec[settings.type] };
  }
}

export type Recompressed =
  | {
      readonly kind: "ok";
      readonly batch: BatchView;
      /** See `openedBytes` in record-bounds.ts; 0: it was not opened. */
      readonly openedBytes: number;
    }
  | RecordsRefusal;

/** More than that is compressed at a quick level, whatever is set: it happens while everybody waits. */
const slowBytesMax = 1024 * 1024;

function quickLevel({ codec, level }: TargetCompression): number | undefined {
  if (codec === Codec.gzip) return 1;
  return codec === Codec.zstd ? Math.min(level ?? 3, 3) : level;
}

/**
 * The batch in the wanted codec: itself, or a fresh one. Checks the records on the way, as it has to read
 * them anyway. `messageBytesMax` (`message.max.bytes`) holds for what is stored too. Call it after the
 * header's check, before offsets are stamped.
 */
export function recompress(
  batch: BatchView,
  target: TargetCompression,
  rules: RecordRules & { readonly messageBytesMax: number },
  nowMs: number,
): Recompressed {
  if (batch.codec === target.codec) return { kind: "ok", batch, openedBytes: 0 };
  const check = checkRecords(batch, rules, nowMs);
  if (check.kind === "refused") return check;
  const level = check.payload.byteLength > slowBytesMax ? quickLevel(target) : target.level;
  const bytes = wrapRecords(check.payload, {
    codec: target.codec,
    ...(level === undefined ? {} : { level }),
    baseOffset: batch.baseOffset,
    leaderEpoch: batch.leaderEpoch,
    lastOffsetDelta: batch.lastOffsetDelta,
    recordCount: batch.recordCount,
    baseTimestamp: batch.baseTimestamp,
    maxTimestamp: check.maxTimestamp,
    producerId: batch.producerId,
    producerEpoch: batch.producerEpoch,
    baseSequence: batch.baseSequence,
    isTransactional: batch.isTransactional,
  });
  if (bytes.byteLength > rules.messageBytesMax) {
    const message = `the batch has ${bytes.byteLength} bytes in the topic's codec, ${rules.messageBytesMax} are allowed`;
    return { kind: "refused", error: "MESSAGE_TOO_LARGE", message, recordErrors: [] };
  }
  return { kind: "ok", batch: BatchView.at(bytes), openedBytes: openedBytes(check.payload, batch) };
}
