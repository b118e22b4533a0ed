/**
 * The settings of a topic that the log itself obeys, as plain values. Whoever reads configurations turns
 * Kafka's names and texts into these; nothing here parses.
 */
export type TimestampType = "create" | "log-append";
export type CompressionType = "producer" | "uncompressed" | "gzip" | "snappy" | "lz4" | "zstd";

export interface LogConfig {
  /** `cleanup.policy` contains "delete". */
  readonly deletes: boolean;
  /** `cleanup.policy` contains "compact". */
  readonly compacts: boolean;
  /** `retention.ms`; −1: no limit by time. */
  readonly retentionMs: number;
  /** `retention.bytes`, per partition; −1: no limit by size. */
  readonly retentionBytes: number;
  /** `max.message.bytes`: the greatest batch, header included. */
  readonly messageBytesMax: number;
  /** `message.timestamp.type`. */
  readonly timestampType: TimestampType;
  /** `message.timestamp.before.max.ms` and `.after.max.ms`. */
  readonly timestampBeforeMaxMs: number;
  readonly timestampAfterMaxMs: number;
  /** `compression.type`. */
  readonly compressionType: CompressionType;
  /** `compression.gzip.level` and `compression.zstd.level`. */
  readonly gzipLevel: number;
  readonly zstdLevel: number;
  /** `delete.retention.ms`: how long a compacted topic keeps tombstones. */
  readonly deleteRetentionMs: number;
  /** `min.compaction.lag.ms` and `max.compaction.lag.ms`. */
  readonly compactionLagMinMs: number;
  readonly compactionLagMaxMs: number;
  /** `min.cleanable.dirty.ratio`. */
  readonly dirtyRatioMin: number;
}

/** Java's Long.MAX_VALUE cannot be held; whatever is beyond this is "no limit". */
export const noLimit = Number.MAX_SAFE_INTEGER;

/** Kafka's defaults. */
export const logConfigDefaults: LogConfig = {
  deletes: true,
  compacts: false,
  retentionMs: 604_800_000,
  retentionBytes: -1,
  messageBytesMax: 1_048_588,
  timestampType: "create",
  timestampBeforeMaxMs: noLimit,
  timestampAfterMaxMs: 3_600_000,
  compressionType: "producer",
  gzipLevel: -1,
  zstdLevel: 3,
  deleteRetentionMs: 86_400_000,
  compactionLagMinMs: 0,
  compactionLagMaxMs: noLimit,
  dirtyRatioMin: 0.5,
};
