/** `holdfast queue peek`: the oldest messages of a share group that are not done, read without taking them. */
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { openPrinter, type PrintOptions } from "../record-printer.ts";
import { paintFor } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

export interface QueuePeekOptions extends ConnectionOptions, PrintOptions {
  readonly count?: number;
}

export async function queuePeek({
  terminal,
  args,
  options,
}: Invocation<QueuePeekOptions>): Promise<ExitCode> {
  const [group = "", ...more] = args;
  if (more.length > 0)
    throw new UsageError(`queue peek is about one queue, and ${more.length + 1} were named.`);
  const print = openPrinter(options, paintFor(terminal.stdout, terminal.env), Date.now);
  await using client = connect(options, terminal);
  for (const { topic, partition, startOffset, lag } of await client.admin().listShareGroupOffsets(group)) {
    if (lag === 0) continue;
    await using consumer = client.consumer({
      assignment: [{ topic, partition, from: startOffset < 0 ? "start" : startOffset }],
      until: "end",
      onLostPosition: "start",
    });
    let left = options.count ?? 10;
    for await (const record of consumer) {
      const pieces: Uint8Array[] = [];
      print(record, pieces);
      await terminal.stdout.write(Buffer.concat(pieces));
      if (--left === 0) break;
    }
  }
  return exitCodes.done.code;
}
