/** Record batches and records as findings, wherever they lie. */
import { HoldfastError } from "../../base/errors.ts";
import { type BatchView, Codec } from "../../record/batch.ts";
import { readControl } from "../../record/control.ts";
import { recordsIn } from "../../record/record.ts";
import { formatBytes, formatCount } from "../table.ts";
import { damage, type Depth, type Finding, timeText } from "./finding.ts";

/** One batch that claims to inflate to more is not opened. */
const inflatedBytesMax = 256 * 1024 * 1024;
/** Of a key, a value or a header's value in text. */
const shownCharsMax = 200;

const codecNames = new Map<number, string>(Object.entries(Codec).map(([name, codec]) => [codec, name]));

/** `indent` stands before each line; `where` names the batch when it is damaged. */
export function* batchFindings(
  batch: BatchView,
  partition: { readonly topic: string; readonly partition: number },
  depth: Depth,
  place: { readonly where: string; readonly indent: string },
): Generator<Finding, void, void> {
  const codec = codecNames.get(batch.codec) ?? `unknown codec ${batch.codec}`;
  const facts = {
    kind: "batch",
    ...partition,
    baseOffset: batch.baseOffset,
    lastOffset: batch.lastOffset,
    records: batch.recordCount,
    bytes: batch.sizeInBytes,
    codec,
    leaderEpoch: batch.leaderEpoch,
    maxTimestamp: batch.maxTimestamp,
    producerId: batch.producerId,
    producerEpoch: batch.producerEpoch,
    baseSequence: batch.baseSequence,
    transactional: batch.isTransactional,
    control: batch.isControl,
    intact: batch.isIntact(),
  };
  const marks = [
    batch.hasProducer
      ? `producer ${batch.producerId}/${batch.producerEpoch} sequence ${batch.baseSequence}`
      : "",
    batch.isTransactional ? "transactional" : "",
    batch.isControl ? "control" : "",
    codec === "none" ? "" : codec,
  ].filter((mark) => mark !== "");
  yield {
    facts,
    text:
      `${place.indent}batch ${partition.topic}-${partition.partition} offsets ${batch.baseOffset} to ${batch.lastOffset}` +
      `, ${formatCount(batch.recordCount)} records, ${formatBytes(batch.sizeInBytes)}, epoch ${batch.leaderEpoch}` +
      `, ${timeText(batch.maxTimestamp)}${marks.map((mark) => `, ${mark}`).join("")}`,
  };
  if (!facts.intact) yield damage(place.where, `the batch at offset ${batch.baseOffset} fails its CRC`);
  if (!depth.records) return;
  try {
    if (batch.isControl) {
      const control = readControl(batch);
      yield {
        facts: { ...control, kind: "control", type: control.kind, offset: batch.baseOffset },
        text: `${place.indent}  ${batch.baseOffset}  control record: ${control.kind}`,
      };
      return;
    }
    for (const { offset, timestamp, key, value, headers } of recordsIn(batch, inflatedBytesMax)) {
      yield {
        facts: { kind: "record", ...partition, offset, timestamp, key, value, headers },
        text:
          `${place.indent}  ${offset}  ${timeText(timestamp)}  ${key === null ? "" : `${shown(key)} = `}${shown(value)}` +
          headers.map((header) => `  [${header.key}: ${shown(header.value)}]`).join(""),
      };
    }
  } catch (cause) {
    if (!(cause instanceof HoldfastError)) throw cause;
    yield damage(place.where, `records from offset ${batch.baseOffset} cannot be read: ${cause.message}`);
  }
}

/** Text where it is text, else hex; never anything that a terminal obeys. */
export function shown(bytes: Uint8Array | null): string {
  if (bytes === null) return "(null)";
  const text = Buffer.from(bytes).toString("utf8");
  const isText = !/\uFFFD|(?![\n\t])\p{Cc}/u.test(text);
  const whole = isText ? JSON.stringify(text) : `0x${Buffer.from(bytes).toString("hex")}`;
  return whole.length <= shownCharsMax
    ? whole
    : `${whole.slice(0, shownCharsMax)}… (${formatCount(bytes.byteLength)} bytes)`;
}
