/**
 * What a produced batch must satisfy before it is given offsets, judged by its header alone: nothing is
 * decompressed and no record is read. Refuses with the code that Apache Kafka gives for the same bytes.
 *
 * Kafka's broker reads every record of the batch as well. What that leaves out here:
 * - Kafka counts the records and checks that they can be decoded; here the count in the header, which the
 *   CRC covers, is believed. A client that lies wrote bytes that its readers refuse; no other batch suffers.
 * - Kafka checks each record's timestamp against `message.timestamp.before.max.ms` and `.after.max.ms`;
 *   here the first record's (base) and the latest (maximum) are checked, so a record in the middle that is
 *   too old passes. `broker/record-bounds.ts` has the exact check.
 * - Kafka replaces a wrong maximum timestamp by the true one; here it is raised to the first record's.
 * - Kafka refuses a record without a key on a compacted topic; whoever owns that rule decodes.
 * Where this is stricter (each compared with a running Kafka 4.3, which took these):
 * - bytes behind the batch are refused, not cut off; so are a delete horizon, which only compaction writes,
 *   a producer id without an epoch, and ids beyond 2^53;
 * - a time that no clock shows (below −1, beyond 2^53) is refused, and a maximum outside the bounds too,
 *   where Kafka looks at the records' own times only;
 * - the log append time flag is refused on every topic; Kafka takes it off where the topic has CreateTime.
 * An unknown codec has a code of its own, where Kafka says UNKNOWN_SERVER_ERROR.
 */
import { BATCH_HEADER_BYTES, BatchView, claimedBatchBytes, Codec, isKnownCodec } from "./batch.ts";

/** Names of Kafka's error codes. */
export type ProduceRefusal =
  | "CORRUPT_MESSAGE"
  | "INVALID_RECORD"
  | "INVALID_TIMESTAMP"
  | "MESSAGE_TOO_LARGE"
  | "UNSUPPORTED_COMPRESSION_TYPE";

/** What a topic's configuration and the request's version allow. */
export interface ProduceLimits {
  /** `message.max.bytes`: the whole batch as sent, header included. */
  readonly messageBytesMax: number;
  /** `message.timestamp.type`: with "log-append" the client's timestamps are not bounded, they are replaced. */
  readonly timestampType: "create" | "log-append";
  /** `message.timestamp.before.max.ms` and `.after.max.ms`: inclusive distances from the broker's clock. */
  readonly timestampBeforeMaxMs: number;
  readonly timestampAfterMaxMs: number;
  /** Produce below version 7 may not carry zstd (KIP-110). */
  readonly zstdAllowed: boolean;
}

export type ProduceCheck =
  | { readonly kind: "ok"; readonly batch: BatchView }
  /** `message` is one clause for the client's log. */
  | { readonly kind: "refused"; readonly error: ProduceRefusal; readonly message: string };

const MAGIC_AT = 16;
/** Bytes a batch of any magic has behind its length; Kafka calls shorter ones corrupt. */
const LENGTH_MIN = 14;

function refused(error: ProduceRefusal, message: string): ProduceCheck {
  return { kind: "refused", error, message };
}

/**
 * Checks one partition's `records` of a Produce request (version 3 or newer). `nowMs` is the wall clock.
 * The bytes belong to the caller; on "ok" `batch` is a view over all of them, and the maximum timestamp
 * may have been raised in place.
 */
export function validateProduced(records: Uint8Array, limits: ProduceLimits, nowMs: number): ProduceCheck {
  const size = claimedBatchBytes(records, 0);
  if (size === undefined) return refused("INVALID_RECORD", "there is no record batch");
  if (size < LENGTH_MIN + 12) return refused("CORRUPT_MESSAGE", `the batch claims ${size} bytes`);
  const magic = records[MAGIC_AT];
  if (magic === undefined) return refused("INVALID_RECORD", "there is no whole record batch");
  if (magic > 2) return refused("CORRUPT_MESSAGE", `magic ${magic} is unknown`);
  if (size > records.byteLength) {
    return refused("INVALID_RECORD", `the batch claims ${size} bytes, ${records.byteLength} were sent`);
  }
  if (magic !== 2) return refused("INVALID_RECORD", `message format ${magic} is not accepted, only 2 is`);
  if (size < records.byteLength)
    return refused("INVALID_RECORD", "more than one record batch for a partition");
  if (size < BATCH_HEADER_BYTES) return refused("CORRUPT_MESSAGE", `the batch claims ${size} bytes`);
  const batch = BatchView.at(records);
  return (
    checkEnvelope(batch, limits) ??
    checkContent(batch) ??
    checkTimes(batch, limits, nowMs) ?? { kind: "ok", batch }
  );
}

/** What Kafka checks before it looks at what the batch says. */
function checkEnvelope(batch: BatchView, limits: ProduceLimits): ProduceCheck | undefined {
  if (batch.codec === Codec.zstd && !limits.zstdAllowed) {
    return refused("UNSUPPORTED_COMPRESSION_TYPE", "zstd needs Produce version 7");
  }
  if (batch.baseOffset !== 0)
    return refused("INVALID_RECORD", `the base offset is ${batch.baseOffset}, not 0`);
  if (batch.sizeInBytes > limits.messageBytesMax) {
    return refused(
      "MESSAGE_TOO_LARGE",
      `the batch has ${batch.sizeInBytes} bytes, ${limits.messageBytesMax} are allowed (message.max.bytes)`,
    );
  }
  if (!batch.isIntact()) return refused("CORRUPT_MESSAGE", "the batch's checksum is wrong");
  if (!isKnownCodec(batch.codec)) {
    return refused("UNSUPPORTED_COMPRESSION_TYPE", `codec ${batch.codec} is unknown`);
  }
  return undefined;
}

function checkContent(batch: BatchView): ProduceCheck | undefined {
  const { lastOffsetDelta, recordCount } = batch;
  if (recordCount <= 0) return refused("INVALID_RECORD", `the batch counts ${recordCount} records`);
  if (lastOffsetDelta !== recordCount - 1) {
    return refused("INVALID_RECORD", `${recordCount} records with a last offset delta of ${lastOffsetDelta}`);
  }
  if (batch.isControl) return refused("INVALID_RECORD", "clients may not write control records");
  if (batch.hasDeleteHorizon) return refused("INVALID_RECORD", "clients may not set a delete horizon");
  if (!Number.isSafeInteger(batch.producerId))
    return refused("INVALID_RECORD", "the producer id is beyond 2^53");
  if (batch.hasProducer && (batch.baseSequence < 0 || batch.producerEpoch < 0)) {
    return refused(
      "INVALID_RECORD",
      `producer ${batch.producerId} with epoch ${batch.producerEpoch} and sequence ${batch.baseSequence}`,
    );
  }
  return undefined;
}

function checkTimes(batch: BatchView, limits: ProduceLimits, nowMs: number): ProduceCheck | undefined {
  if (batch.isLogAppendTime) {
    return refused("INVALID_TIMESTAMP", "a producer may not set the timestamp type to LogAppendTime");
  }
  const first = batch.baseTimestamp;
  const latest = batch.maxTimestamp;
  if (limits.timestampType === "create") {
    if (!isWithinBounds(first, limits, nowMs)) return outOfBounds(first, limits, nowMs);
    if (!isWithinBounds(latest, limits, nowMs)) return outOfBounds(latest, limits, nowMs);
  }
  if (!isTimestamp(first) || !isTimestamp(latest)) {
    return refused("INVALID_TIMESTAMP", `the timestamps ${first} and ${latest} cannot be`);
  }
  if (limits.timestampType === "create" && latest < first) batch.stampMaxTimestamp(first);
  return undefined;
}

/** −1 (none) or ms since 1970 that a number holds exactly. */
function isTimestamp(ms: number): boolean {
  return ms >= -1 && Number.isSafeInteger(ms);
}

/** Whether a record's create time may be stored; −1 (none) always may. */
export function isWithinBounds(
  ms: number,
  limits: Pick<ProduceLimits, "timestampBeforeMaxMs" | "timestampAfterMaxMs">,
  nowMs: number,
): boolean {
  return ms === -1 || (nowMs - ms <= limits.timestampBeforeMaxMs && ms - nowMs <= limits.timestampAfterMaxMs);
}

function outOfBounds(ms: number, limits: ProduceLimits, nowMs: number): ProduceCheck {
  const first = nowMs - limits.timestampBeforeMaxMs;
  const last = nowMs + limits.timestampAfterMaxMs;
  return refused("INVALID_TIMESTAMP", `timestamp ${ms} is outside [${first}, ${last}]`);
}
