/** `holdfast queue describe`: what waits in each partition of a share group and since when, and its settings. */
import type { Client } from "../../client/client.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatCount, formatTable } from "../table.ts";
import { paintFor } from "../terminal.ts";
import { formatDuration } from "../time-text.ts";

export interface QueueDescribeOptions extends ConnectionOptions {
  readonly json?: boolean;
}

interface Waiting {
  readonly topic: string;
  readonly partition: number;
  /** Null: nothing of it was delivered yet. */
  readonly start: number | null;
  readonly end: number | null;
  readonly waiting: number | null;
  /** Of the oldest message that is not done. */
  readonly oldestMs: number | null;
}

/** Settings of the group that say how it works, in the order of the lines. */
const shown = [
  ["share.record.lock.duration.ms", "lock"],
  ["share.delivery.count.limit", "deliveries at most"],
  ["share.auto.offset.reset", "begins at"],
  ["share.isolation.level", "isolation"],
  ["errors.deadletterqueue.topic.name", "dead letters"],
] as const;

export async function queueDescribe({
  terminal,
  args,
  options,
}: Invocation<QueueDescribeOptions>): Promise<ExitCode> {
  const paint = paintFor(terminal.stdout, terminal.env);
  await using client = connect(options, terminal);
  const admin = client.admin();
  for (const [index, group] of [...new Set(args)].entries()) {
    const [description] = await admin.describeShareGroups([group]);
    const { state = "", members = [] } = description ?? {};
    const parts = await waitingOf(client, group);
    if (options.json === true) {
      const lines = parts.map((each) => `${JSON.stringify({ group, state, ...each })}\n`);
      await terminal.stdout.write(lines.join(""));
      continue;
    }
    const [configs] = await admin.describeConfigs([{ group }]);
    const values = new Map((configs?.entries ?? []).map(({ name, value }) => [name, value]));
    const settings = shown.flatMap(([name, word]) => {
      const value = values.get(name);
      return value === undefined || value === null || value === ""
        ? []
        : [`${word} ${valueText(name, value)}`];
    });
    const sum = parts.reduce((count, { waiting }) => count + (waiting ?? 0), 0);
    const facts = [
      paint("bold", group),
      state,
      `${formatCount(members.length)} member${members.length === 1 ? "" : "s"}`,
      `${formatCount(sum)} waiting`,
    ];
    const table =
      parts.length === 0
        ? "The queue has to do with no topic yet.\n"
        : formatTable(
            ["TOPIC", "PARTITION", "START", "END", "WAITING", "OLDEST"],
            parts.map((each) => [
              each.topic,
              each.partition,
              each.start ?? "–",
              each.end ?? "–",
              each.waiting ?? "–",
              each.oldestMs === null ? "–" : formatDuration(each.oldestMs),
            ]),
          );
    await terminal.stdout.write(
      `${index === 0 ? "" : "\n"}${facts.join("   ")}\n${paint("dim", settings.join(" · "))}\n\n${table}`,
    );
  }
  return exitCodes.done.code;
}

const valueText = (name: string, value: string): string =>
  name.endsWith(".ms") ? formatDuration(Number(value)) : value;

async function waitingOf(client: Client, group: string): Promise<readonly Waiting[]> {
  const admin = client.admin();
  const offsets = await admin.listShareGroupOffsets(group);
  const ends = await admin.listOffsets(
    offsets.map(({ topic, partition }) => ({ topic, partition, at: "latest" as const })),
  );
  const all: Waiting[] = [];
  for (const { topic, partition, startOffset, lag } of offsets) {
    const end = ends.find((each) => each.topic === topic && each.partition === partition)?.offset ?? null;
    const start = startOffset < 0 ? null : startOffset;
    const hasWork = start !== null && end !== null && start < end;
    all.push({
      topic,
      partition,
      start,
      end,
      waiting: lag < 0 ? null : lag,
      oldestMs: hasWork ? await ageAt(client, topic, partition, start) : null,
    });
  }
  return all;
}

async function ageAt(client: Client, topic: string, partition: number, from: number): Promise<number | null> {
  await using consumer = client.consumer({
    assignment: [{ topic, partition, from }],
    until: "end",
    onLostPosition: "start",
  });
  for await (const { timestampMs } of consumer)
    return timestampMs < 0 ? null : Math.max(0, Date.now() - timestampMs);
  return null;
}
