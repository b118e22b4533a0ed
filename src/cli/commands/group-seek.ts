/**
 * `holdfast group seek`: moves a group that has no members. Where it stood is written to a file, and synced,
 * before anything is changed; `--from-file` with it takes the seek back.
 */
import { RefusedError } from "../../base/errors.ts";
import type { Admin } from "../../client/admin.ts";
import { BrokerRefusedError } from "../../client/errors.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { type Range, rangesOf } from "../group-progress.ts";
import { type GroupTarget, type TargetOptions, targetOf } from "../group-target.ts";
import { type OffsetLine, readOffsets, writeOffsets } from "../offsets-file.ts";
import { parseChoice, type PartitionChoice } from "../partition-choice.ts";
import { formatCount, formatTable } from "../table.ts";
import { paintFor } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

export interface GroupSeekOptions extends ConnectionOptions, TargetOptions {
  readonly topic?: readonly string[];
  readonly dryRun?: boolean;
  readonly undo?: string;
  readonly json?: boolean;
}

interface Move {
  readonly topic: string;
  readonly partition: number;
  /** Null: nothing is committed. */
  readonly from: number | null;
  readonly to: number | null;
  /** The place that was asked for does not exist; this is the nearest that does. */
  readonly isNearest: boolean;
}

export async function groupSeek({
  terminal,
  args,
  options,
}: Invocation<GroupSeekOptions>): Promise<ExitCode> {
  const [group = "", ...more] = args;
  if (more.length > 0) throw new UsageError(`group seek moves one group, and ${more.length + 1} were named.`);
  const nowMs = Date.now();
  const target = targetOf(options, nowMs);
  const choice = parseChoice(options.topic);
  await using client = connect(options, terminal);
  const admin = client.admin();
  await refuseMembers(admin, group);
  const moves = await plan(admin, group, target, choice);
  const isDry = options.dryRun === true;
  const changes = moves.filter(({ from, to }) => from !== to);
  let undo: string | null = null;
  if (!isDry && changes.length > 0) {
    undo = options.undo ?? `holdfast-undo-${group.replace(/[^\w.-]/g, "_")}-${nowMs}.csv`;
    await writeOffsets(
      undo,
      changes.map(({ topic, partition, from }) => ({ topic, partition, offset: from })),
    );
    await carryOut(admin, group, changes);
  }
  if (options.json === true) {
    const lines = moves.map((move) => JSON.stringify({ group, ...move, isDone: !isDry, undo }));
    await terminal.stdout.write(lines.map((line) => `${line}\n`).join(""));
    return exitCodes.done.code;
  }
  const paint = paintFor(terminal.stdout, terminal.env);
  const sum =
    changes.length === 0
      ? `Group ${group} stands there already.`
      : isDry
        ? "Nothing was changed (--dry-run)."
        : `${paint("green", "✓")} group ${group} moved in ${formatCount(changes.length)} partition${changes.length === 1 ? "" : "s"}. Back again: holdfast group seek ${group} --from-file ${undo ?? ""}`;
  await terminal.stdout.write(`${tableOf(moves)}\n${sum}\n`);
  return exitCodes.done.code;
}

function tableOf(moves: readonly Move[]): string {
  return formatTable(
    ["TOPIC", "PARTITION", "FROM", "TO", "CHANGE"],
    moves.map(({ topic, partition, from, to, isNearest }) => [
      topic,
      partition,
      from ?? "–",
      to ?? "–",
      changeText(from, to) + (isNearest ? " (the nearest that exists)" : ""),
    ]),
  );
}

function changeText(from: number | null, to: number | null): string {
  if (from === to) return "stays";
  if (from === null) return "is set";
  if (to === null) return "is forgotten";
  const records = formatCount(Math.abs(to - from));
  return to > from ? `passes over ${records}` : `reads ${records} again`;
}

/** A member would go on from where it is, and put the group back with its next commit. */
async function refuseMembers(admin: Admin, group: string): Promise<void> {
  try {
    const [found] = await admin.describeGroups([group]);
    const count = found?.members.length ?? 0;
    if (count === 0) return;
    throw new RefusedError(
      `Group ${group} has ${count} member${count === 1 ? "" : "s"}, which would go on from where they are; stop them first.`,
    );
  } catch (cause) {
    // Seeking makes a group that is not there yet, as Kafka's tool does.
    if (!(cause instanceof BrokerRefusedError) || cause.code !== "GROUP_ID_NOT_FOUND") throw cause;
  }
}

async function plan(
  admin: Admin,
  group: string,
  target: GroupTarget,
  choice: PartitionChoice,
): Promise<readonly Move[]> {
  const standing = new Map((await admin.listGroupOffsets(group)).map((each) => [keyOf(each), each]));
  const lines = await placesNamed(admin, target);
  const wanted =
    lines === null
      ? await partsOf(admin, [...standing.values()], choice)
      : lines.filter((line) => choice.has(line));
  if (wanted.length === 0) {
    throw new RefusedError(
      lines === null
        ? `Group ${group} has committed nothing there; name the topics with --topic.`
        : "There is nothing to move to in the partitions that are named.",
    );
  }
  const ranges = await rangesOf(admin, wanted);
  const times = target.kind === "time" ? await timesOf(admin, wanted, ranges, target.timeMs) : null;
  const exact = new Map((lines ?? []).map((line) => [keyOf(line), line.offset]));
  return wanted.map(({ topic, partition }) => {
    const name = keyOf({ topic, partition });
    const range = ranges.get(name);
    if (range === undefined) throw new RefusedError(`There is no partition ${name}; nothing was changed.`);
    const from = standing.get(name)?.offset ?? null;
    const asked = lines === null ? placeOf(target, from, range, times?.get(name)) : (exact.get(name) ?? null);
    const to = asked === null ? null : Math.min(Math.max(asked, range.start), range.end);
    return { topic, partition, from, to, isNearest: to !== asked };
  });
}

/** Of targets that name each place by itself. */
async function placesNamed(admin: Admin, target: GroupTarget): Promise<readonly OffsetLine[] | null> {
  if (target.kind === "file") return readOffsets(target.path);
  if (target.kind !== "group") return null;
  const found = await admin.listGroupOffsets(target.group);
  if (found.length > 0) return found;
  throw new RefusedError(
    `--to ${target.group} is no position, and there is no group of that name that has committed anything: start, end, an offset, +N, -N, a time such as 30m (ago) or 2026-11-21T14:30Z, or a group.`,
  );
}

/** What `--topic` names, else all that the group has committed. */
async function partsOf(
  admin: Admin,
  standing: readonly { readonly topic: string; readonly partition: number }[],
  choice: PartitionChoice,
): Promise<readonly { readonly topic: string; readonly partition: number }[]> {
  if (choice.topics === null) return standing;
  const topics = await admin.describeTopics(choice.topics);
  return topics.flatMap(({ name, partitions }) =>
    (choice.partitionsOf(name) ?? partitions.map(({ partition }) => partition)).map((partition) => ({
      topic: name,
      partition,
    })),
  );
}

function placeOf(target: GroupTarget, from: number | null, range: Range, timed: number | undefined): number {
  switch (target.kind) {
    case "start":
      return range.start;
    case "offset":
      return target.offset;
    case "shift":
      return (from ?? range.start) + target.by;
    case "time":
      return timed ?? range.end;
    case "current":
      return from ?? range.start;
    case "end":
      return range.end;
    default:
      throw new Error(`${target.kind} names each place by itself`);
  }
}

/** The first record that is not older; no entry: none is. */
async function timesOf(
  admin: Admin,
  parts: readonly { readonly topic: string; readonly partition: number }[],
  ranges: ReadonlyMap<string, Range>,
  timeMs: number,
): Promise<ReadonlyMap<string, number>> {
  const existing = parts.filter((part) => ranges.has(keyOf(part)));
  const found = await admin.listOffsets(
    existing.map(({ topic, partition }) => ({ topic, partition, at: { timeMs } })),
  );
  return new Map(found.flatMap((each) => (each.offset < 0 ? [] : [[keyOf(each), each.offset] as const])));
}

async function carryOut(admin: Admin, group: string, changes: readonly Move[]): Promise<void> {
  const set = changes.flatMap(({ topic, partition, to }) =>
    to === null ? [] : [{ topic, partition, offset: to }],
  );
  const forgotten = changes.filter(({ to }) => to === null);
  if (set.length > 0) await admin.alterGroupOffsets(group, set);
  if (forgotten.length > 0) await admin.deleteGroupOffsets(group, forgotten);
}

const keyOf = ({ topic, partition }: { readonly topic: string; readonly partition: number }): string =>
  `${topic}/${partition}`;
