/** `holdfast group describe`: how far a group has got in each partition, who reads it, and the lag. */
import type { GroupDescription } from "../../client/admin-groups.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { type PartitionProgress, progressOf } from "../group-progress.ts";
import { parseChoice } from "../partition-choice.ts";
import { formatCount, formatTable } from "../table.ts";
import { type Paint, paintFor } from "../terminal.ts";
import { formatDuration } from "../time-text.ts";

export interface GroupDescribeOptions extends ConnectionOptions {
  readonly topic?: readonly string[];
  readonly json?: boolean;
}

export async function groupDescribe({
  terminal,
  args,
  options,
}: Invocation<GroupDescribeOptions>): Promise<ExitCode> {
  const paint = paintFor(terminal.stdout, terminal.env);
  const choice = parseChoice(options.topic);
  await using client = connect(options, terminal);
  const groups = await client.admin().describeGroups([...new Set(args)]);
  for (const [index, group] of groups.entries()) {
    const progress = await progressOf(client, group, choice, Date.now());
    await terminal.stdout.write(
      options.json === true
        ? progress
            .map((each) => `${JSON.stringify({ group: group.group, state: group.state, ...each })}\n`)
            .join("")
        : `${index === 0 ? "" : "\n"}${textOf(group, progress, paint)}`,
    );
  }
  return exitCodes.done.code;
}

function textOf(group: GroupDescription, progress: readonly PartitionProgress[], paint: Paint): string {
  const { members } = group;
  const lag = progress.reduce((sum, each) => sum + (each.lag ?? 0), 0);
  const lagMs = Math.max(0, ...progress.map((each) => each.lagMs ?? 0));
  const facts = [
    paint("bold", group.group),
    group.state,
    ...(group.assignor === "" ? [group.type] : [`${group.type}, ${group.assignor}`]),
    `${formatCount(members.length)} member${members.length === 1 ? "" : "s"}`,
    `lag ${formatCount(lag)} record${lag === 1 ? "" : "s"}${lag === 0 ? "" : `, ${formatDuration(lagMs)}`}`,
  ];
  const table =
    progress.length === 0
      ? "The group has committed nothing, and no member reads anything.\n"
      : formatTable(
          [
            "TOPIC",
            "PARTITION",
            "COMMITTED",
            "START",
            "END",
            "LAG",
            "LAG IN TIME",
            "CLIENT",
            "HOST",
            "MEMBER",
          ],
          progress.map((each) => [
            each.topic,
            each.partition,
            each.committed ?? "–",
            each.start ?? "–",
            each.end ?? "–",
            each.lag ?? "–",
            each.lagMs === null ? "–" : formatDuration(each.lagMs),
            each.clientId ?? "–",
            each.host ?? "–",
            each.memberId ?? "–",
          ]),
        );
  const idle = members.filter(({ assignment }) => assignment.length === 0);
  const notes = [
    ...progress
      .filter(({ lost }) => lost > 0)
      .map(
        ({ topic, partition, committed, start, lost }) =>
          `${topic}/${partition}: ${formatCount(lost)} offsets from ${committed ?? 0} on were deleted before the group read them; it begins at ${start ?? 0} now.`,
      ),
    ...(idle.length === 0
      ? []
      : [
          `${formatCount(idle.length)} member${idle.length === 1 ? " reads" : "s read"} nothing: there are more members than partitions.`,
        ]),
  ];
  const rest = notes.length === 0 ? "" : `\n${notes.map((note) => `${paint("yellow", note)}\n`).join("")}`;
  return `${facts.join("   ")}\n\n${table}${rest}`;
}
