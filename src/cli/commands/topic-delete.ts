/** `holdfast topic delete`. The names are typed in full: there are no patterns, and no question is asked. */
import { UnknownTopicError } from "../../client/errors.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { paintFor } from "../terminal.ts";

export interface TopicDeleteOptions extends ConnectionOptions {
  readonly ifExists?: boolean;
  readonly json?: boolean;
}

export async function topicDelete({
  terminal,
  args,
  options,
}: Invocation<TopicDeleteOptions>): Promise<ExitCode> {
  const paint = paintFor(terminal.stdout, terminal.env);
  await using client = connect(options, terminal);
  const admin = client.admin();
  const existing: string[] = [];
  const absent: string[] = [];
  // All names are looked up before anything is deleted, so that a typo among them deletes nothing.
  for (const topic of new Set(args)) {
    try {
      await admin.describeTopic(topic);
      existing.push(topic);
    } catch (error) {
      if (!(error instanceof UnknownTopicError) || options.ifExists !== true) throw error;
      absent.push(topic);
    }
  }
  const tell = (topic: string, deleted: boolean): Promise<void> =>
    terminal.stdout.write(
      options.json === true
        ? `${JSON.stringify({ topic, deleted })}\n`
        : deleted
          ? `${paint("green", "✓")} topic "${topic}" deleted\n`
          : `topic "${topic}" did not exist\n`,
    );
  for (const topic of absent) await tell(topic, false);
  for (const topic of existing) {
    await admin.deleteTopic(topic);
    await tell(topic, true);
  }
  return exitCodes.done.code;
}
