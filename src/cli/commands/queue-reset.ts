/** `holdfast queue reset`: moves where a share group without members begins to deliver. */
import type { OffsetSpec } from "../../client/admin.ts";
import type { ShareGroupOffset } from "../../client/admin-share-groups.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { parseChoice } from "../partition-choice.ts";
import { type Position, parsePosition } from "../position.ts";
import { formatTable } from "../table.ts";
import { UsageError } from "../usage-error.ts";

export interface QueueResetOptions extends ConnectionOptions {
  readonly to?: string;
  readonly topic?: readonly string[];
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export async function queueReset({
  terminal,
  args,
  options,
}: Invocation<QueueResetOptions>): Promise<ExitCode> {
  const [group = "", ...more] = args;
  if (more.length > 0)
    throw new UsageError(`queue reset moves one queue, and ${more.length + 1} were named.`);
  if (options.to === undefined)
    throw new UsageError("queue reset needs --to: start, end, an offset, or a time.");
  const position = parsePosition(options.to, Date.now());
  if (typeof position === "object" && "last" in position) {
    throw new UsageError(`--to ${options.to} is no place for a queue: start, end, an offset, or a time.`);
  }
  const choice = parseChoice(options.topic);
  await using client = connect(options, terminal);
  const admin = client.admin();
  const chosen = (await admin.listShareGroupOffsets(group)).filter((each) => choice.has(each));
  if (chosen.length === 0)
    throw new UsageError(`The queue ${group} has to do with none of these partitions.`);
  const targets = await admin.listOffsets(
    chosen.map(({ topic, partition }) => ({ topic, partition, at: specOf(position) })),
  );
  const moves = chosen.map((each) => ({ ...each, to: targetOf(each, position, targets) }));
  if (options.dryRun !== true) {
    await admin.alterShareGroupOffsets(
      group,
      moves.map(({ topic, partition, to }) => ({ topic, partition, offset: to })),
    );
  }
  const done = options.dryRun !== true;
  if (options.json === true) {
    const lines = moves.map(({ topic, partition, startOffset, to }) =>
      JSON.stringify({ group, topic, partition, from: startOffset, to, done }),
    );
    await terminal.stdout.write(lines.map((line) => `${line}\n`).join(""));
  } else {
    await terminal.stdout.write(
      `${done ? "" : "would be done:\n"}${formatTable(
        ["TOPIC", "PARTITION", "FROM", "TO"],
        moves.map(({ topic, partition, startOffset, to }) => [
          topic,
          partition,
          startOffset < 0 ? "–" : startOffset,
          to,
        ]),
      )}`,
    );
  }
  return exitCodes.done.code;
}

type Place = Exclude<Position, { readonly last: number }>;

function specOf(position: Place): OffsetSpec {
  if (typeof position === "object") return position;
  return position === "start" ? "earliest" : "latest";
}

function targetOf(
  { topic, partition }: ShareGroupOffset,
  position: Place,
  targets: readonly { readonly topic: string; readonly partition: number; readonly offset: number }[],
): number {
  if (typeof position === "number") return position;
  const found = targets.find((each) => each.topic === topic && each.partition === partition)?.offset;
  if (found === undefined || found < 0) {
    throw new UsageError(
      `There is nothing that late in ${topic}/${partition}; --to end is behind everything.`,
    );
  }
  return found;
}
