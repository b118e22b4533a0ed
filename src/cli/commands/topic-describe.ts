/** `holdfast topic describe`: partitions with their offsets, and settings with where each value comes from. */
import type { ConfigEntry } from "../../client/admin-configs.ts";
import type { TopicDescription } from "../../client/admin-topics.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatCount, formatTable } from "../table.ts";
import { type Paint, paintFor } from "../terminal.ts";

export interface TopicDescribeOptions extends ConnectionOptions {
  readonly all?: boolean;
  readonly json?: boolean;
}

export async function topicDescribe({
  terminal,
  args,
  options,
}: Invocation<TopicDescribeOptions>): Promise<ExitCode> {
  const { all = false, json } = options;
  const paint = paintFor(terminal.stdout, terminal.env);
  await using client = connect(options, terminal);
  const admin = client.admin();
  const names = [...new Set(args)];
  const topics = await admin.describeTopics(names);
  const owners = names.map((topic) => ({ topic }));
  const configs = await admin.describeConfigs(owners);
  for (const [index, topic] of topics.entries()) {
    const entries = configs[index]?.entries ?? [];
    const shown = entries.filter(({ isDefault }) => all || !isDefault);
    await terminal.stdout.write(
      json === true
        ? `${JSON.stringify(jsonOf(topic, shown))}\n`
        : `${index === 0 ? "" : "\n"}${textOf(topic, shown, entries.length - shown.length, paint)}`,
    );
  }
  return exitCodes.done.code;
}

function jsonOf(topic: TopicDescription, entries: readonly ConfigEntry[]): object {
  return {
    topic: topic.name,
    id: topic.id,
    partitions: topic.partitions.map(({ start = null, end = null, ...rest }) => ({ ...rest, start, end })),
    settings: entries.map(({ name, value, source }) => ({ name, value, source })),
  };
}

function textOf(
  topic: TopicDescription,
  shown: readonly ConfigEntry[],
  hiddenCount: number,
  paint: Paint,
): string {
  const records = topic.partitions.reduce((sum, { start = 0, end = 0 }) => sum + end - start, 0);
  const head = `${paint("bold", topic.name)}   id ${topic.id}   ${formatCount(topic.partitions.length)} partition${topic.partitions.length === 1 ? "" : "s"}   ${formatCount(records)} records`;
  const partitions = formatTable(
    ["PARTITION", "LEADER", "EPOCH", "START", "END", "RECORDS"],
    topic.partitions.map(({ partition, leader, leaderEpoch, start, end }) => [
      partition,
      leader < 0 ? "–" : leader,
      leaderEpoch,
      start ?? "–",
      end ?? "–",
      start === undefined || end === undefined ? "–" : end - start,
    ]),
  );
  const settings =
    shown.length === 0
      ? ""
      : `\n${formatTable(
          ["SETTING", "VALUE", "FROM"],
          shown.map(({ name, value, source, isSensitive }) => [
            name,
            value ?? (isSensitive ? "(secret)" : "(not set)"),
            sourceText[source],
          ]),
        )}`;
  const rest =
    hiddenCount === 0
      ? ""
      : `\n${paint("dim", `${hiddenCount} settings have their default; --all shows them.`)}\n`;
  return `${head}\n\n${partitions}${settings}${rest}`;
}

const sourceText: { readonly [S in ConfigEntry["source"]]: string } = {
  topic: "the topic",
  "dynamic-broker": "the broker, set while it ran",
  "dynamic-default-broker": "all brokers, set while they ran",
  broker: "the broker's start",
  default: "default",
  "dynamic-broker-logger": "a logger",
  "client-metrics": "client metrics",
  group: "a group",
  unknown: "unknown",
};
