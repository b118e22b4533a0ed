/** `holdfast topic alter`: more partitions, other settings. What is refused is refused before anything is changed, as far as one broker can tell. */
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { paintFor } from "../terminal.ts";
import { parseKeys, parseSettings } from "../topic-settings.ts";
import { UsageError } from "../usage-error.ts";

export interface TopicAlterOptions extends ConnectionOptions {
  readonly partitions?: number;
  readonly set?: readonly string[];
  readonly unset?: readonly string[];
  readonly config?: readonly string[];
  readonly addConfig?: readonly string[];
  readonly deleteConfig?: readonly string[];
  readonly json?: boolean;
}

export async function topicAlter({
  terminal,
  args,
  options,
}: Invocation<TopicAlterOptions>): Promise<ExitCode> {
  const [topic = "", ...more] = args;
  if (more.length > 0)
    throw new UsageError(`topic alter changes one topic, and ${more.length + 1} were named.`);
  const { partitions, json } = options;
  const set = parseSettings([...(options.set ?? []), ...(options.config ?? [])], options.addConfig);
  const remove = parseKeys([...(options.unset ?? []), ...(options.deleteConfig ?? [])]);
  const changesSettings = Object.keys(set).length > 0 || remove.length > 0;
  if (partitions === undefined && !changesSettings) {
    throw new UsageError("topic alter needs something to change: --partitions, --set or --unset.");
  }
  const both = remove.find((key) => key in set);
  if (both !== undefined) throw new UsageError(`${both} cannot be set and unset at once.`);
  await using client = connect(options, terminal);
  const admin = client.admin();
  // Finds a mistyped name, and says what was probably meant.
  await admin.describeTopic(topic);
  const growth = [{ topic, partitions: partitions ?? 0 }];
  if (partitions !== undefined) await admin.createPartitions(growth, { validateOnly: true });
  if (changesSettings) await admin.alterConfigs([{ topic, set, remove }]);
  if (partitions !== undefined) await admin.createPartitions(growth);
  const done = [
    ...(partitions === undefined ? [] : [`${partitions} partitions`]),
    ...Object.entries(set).map(([key, value]) => `${key}=${value}`),
    ...remove.map((key) => `${key} as the broker has it`),
  ];
  await terminal.stdout.write(
    json === true
      ? `${JSON.stringify({ topic, ...(partitions === undefined ? {} : { partitions }), set, unset: remove })}\n`
      : `${paintFor(terminal.stdout, terminal.env)("green", "✓")} topic "${topic}" changed: ${done.join(", ")}\n`,
  );
  return exitCodes.done.code;
}
