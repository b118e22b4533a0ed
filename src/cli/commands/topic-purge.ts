/**
 * `holdfast topic purge`: deletes the oldest records of partitions (DeleteRecords, KIP-107). What goes is said
 * in full: an offset is one of one partition, and "end" is the end that was there when the command began.
 */
import type { PartitionDescription } from "../../client/admin-topics.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatCount } from "../table.ts";
import { paintFor } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

export interface TopicPurgeOptions extends ConnectionOptions {
  readonly before?: string;
  readonly partition?: readonly string[];
  readonly json?: boolean;
}

export async function topicPurge({
  terminal,
  args,
  options,
}: Invocation<TopicPurgeOptions>): Promise<ExitCode> {
  const [topic = "", ...more] = args;
  if (more.length > 0)
    throw new UsageError(`topic purge deletes from one topic, and ${more.length + 1} were named.`);
  const before = parseBefore(options.before);
  const only = options.partition === undefined ? null : new Set(options.partition.map(parsePartition));
  await using client = connect(options, terminal);
  const admin = client.admin();
  const { partitions } = await admin.describeTopic(topic);
  for (const each of only ?? []) {
    if (!partitions.some(({ partition }) => partition === each))
      throw new UsageError(`Topic "${topic}" has no partition ${each}; it has ${partitions.length}.`);
  }
  const wanted = partitions.filter(({ partition }) => only === null || only.has(partition));
  if (before !== "end" && wanted.length > 1) {
    throw new UsageError(
      `An offset is one of one partition, and "${topic}" has ${partitions.length}: name it with --partition, or delete all records with --before end.`,
    );
  }
  const known = wanted.map((each) => ({ ...each, start: each.start ?? 0 }));
  const deleted = await admin.deleteRecords(
    known.map(({ partition, end }) => ({
      topic,
      partition,
      before: before === "end" ? (end ?? "end") : before,
    })),
  );
  const paint = paintFor(terminal.stdout, terminal.env);
  for (const [i, { partition, start }] of deleted.entries()) {
    const from = (known[i] as PartitionDescription & { start: number }).start;
    const line =
      options.json === true
        ? JSON.stringify({ topic, partition, from, to: Math.max(from, start), start })
        : start > from
          ? `${paint("green", "✓")} ${topic}/${partition}: ${span(from, start)} deleted; it begins at offset ${start}`
          : `${topic}/${partition}: nothing to delete; it begins at offset ${start}`;
    await terminal.stdout.write(`${line}\n`);
  }
  return exitCodes.done.code;
}

const span = (from: number, to: number): string =>
  to - from === 1 ? `offset ${from}` : `offsets ${from} to ${to - 1} (${formatCount(to - from)})`;

function parseBefore(text: string | undefined): number | "end" {
  if (text === undefined) {
    throw new UsageError(
      "topic purge needs to know what goes: --before OFFSET for all records below it, --before end for all records.",
    );
  }
  if (text === "end") return text;
  const offset = Number(text.replaceAll("_", ""));
  if (/^[\d_]+$/.test(text) && Number.isSafeInteger(offset)) return offset;
  throw new UsageError(`--before ${text} is neither an offset nor end.`);
}

function parsePartition(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`--partition ${text} is not the number of a partition.`);
}
