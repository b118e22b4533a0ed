/** `holdfast topic create`. */
import { BrokerRefusedError } from "../../client/errors.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { paintFor } from "../terminal.ts";
import { parseSettings } from "../topic-settings.ts";

export interface TopicCreateOptions extends ConnectionOptions {
  readonly partitions?: number;
  readonly replicationFactor?: number;
  readonly set?: readonly string[];
  readonly config?: readonly string[];
  readonly ifNotExists?: boolean;
  readonly json?: boolean;
}

export async function topicCreate({
  terminal,
  args,
  options,
}: Invocation<TopicCreateOptions>): Promise<ExitCode> {
  const { partitions, replicationFactor, json, ifNotExists } = options;
  const configs = parseSettings([...(options.set ?? []), ...(options.config ?? [])]);
  const paint = paintFor(terminal.stdout, terminal.env);
  await using client = connect(options, terminal);
  const admin = client.admin();
  // One by one: what was done before a refusal has been said when the refusal comes.
  for (const topic of new Set(args)) {
    try {
      const created = await admin.createTopic({ topic, partitions, replicationFactor, configs });
      const count = created.partitions === 1 ? "1 partition" : `${created.partitions} partitions`;
      await terminal.stdout.write(
        json === true
          ? `${JSON.stringify({ ...created, created: true })}\n`
          : `${paint("green", "✓")} topic "${topic}" created${created.partitions < 0 ? "" : `: ${count}`}\n`,
      );
    } catch (error) {
      const exists = error instanceof BrokerRefusedError && error.code === "TOPIC_ALREADY_EXISTS";
      if (!exists || ifNotExists !== true) throw error;
      await terminal.stdout.write(
        json === true
          ? `${JSON.stringify({ topic, created: false })}\n`
          : `topic "${topic}" exists, unchanged\n`,
      );
    }
  }
  return exitCodes.done.code;
}
