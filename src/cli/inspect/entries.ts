/** One entry of a log, whatever the log is made of. */
import { HoldfastError } from "../../base/errors.ts";
import { EntryKind, type WalEntry } from "../../log/wal.ts";
import { BatchView } from "../../record/batch.ts";
import { batchFindings } from "./batches.ts";
import { damage, type Depth, type Finding, timeText, type TopicNames } from "./finding.ts";

/** `where`: the place that damage is named by. */
export function* entryFindings(
  entry: WalEntry,
  depth: Depth,
  topicName: TopicNames,
  where: string,
): Generator<Finding, void, void> {
  const { payload, ...row } = entry;
  const topic = topicName(entry.topicId);
  const isBatch = entry.kind === EntryKind.batch;
  const facts = {
    ...row,
    kind: "entry",
    type: isBatch ? "batch" : "log-start",
    topic,
    bytes: payload.byteLength,
  };
  yield {
    facts,
    text: isBatch
      ? `  entry ${topic}-${entry.partition} offsets ${entry.baseOffset} to ${entry.baseOffset + entry.count - 1}, appended ${timeText(entry.appendedMs)}`
      : `  entry ${topic}-${entry.partition}: the log starts at ${entry.baseOffset}`,
  };
  if (!isBatch) return;
  try {
    const place = { where, indent: "    " };
    yield* batchFindings(BatchView.at(payload), { topic, partition: entry.partition }, depth, place);
  } catch (cause) {
    if (!(cause instanceof HoldfastError)) throw cause;
    yield damage(where, `${topic}-${entry.partition} at ${entry.baseOffset}: ${cause.message}`);
  }
}
