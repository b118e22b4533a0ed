/** `holdfast txn hanging`: open transactions that nobody will end. */
import type { HangingTransaction } from "../../client/admin-transactions.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { parseChoice } from "../partition-choice.ts";
import { formatTable } from "../table.ts";
import { durationOf, formatDuration } from "../time-text.ts";

export interface TxnHangingOptions extends ConnectionOptions {
  readonly topic?: readonly string[];
  readonly idle?: string;
  readonly json?: boolean;
}

export async function txnHanging({ terminal, options }: Invocation<TxnHangingOptions>): Promise<ExitCode> {
  const choice = parseChoice(options.topic);
  const idleMs = options.idle === undefined ? undefined : durationOf("--idle", options.idle);
  await using client = connect(options, terminal);
  const admin = client.admin();
  const all = await admin.listTopics({ internal: true });
  const absent = choice.topics?.find((topic) => !all.some(({ name }) => name === topic));
  // Whoever mistypes a name must not be told that nothing hangs.
  if (absent !== undefined) await admin.describeTopic(absent);
  const partitions = all
    .filter(({ name }) => choice.topics === null || choice.topics.includes(name))
    .flatMap(({ name: topic, partitions: count }) =>
      (choice.partitionsOf(topic) ?? Array.from({ length: count }, (_, index) => index)).map((partition) => ({
        topic,
        partition,
      })),
    );
  const hanging = await admin.findHangingTransactions(partitions, { idleMs });
  if (options.json === true) {
    await terminal.stdout.write(hanging.map((each) => `${JSON.stringify(each)}\n`).join(""));
  } else if (hanging.length === 0) {
    await terminal.stderr.write("No transaction hangs.\n");
  } else {
    await terminal.stdout.write(textOf(hanging, Date.now()));
    await terminal.stderr.write(
      "To end one: holdfast txn abort --partition TOPIC:PARTITION --producer PRODUCER\n",
    );
  }
  return exitCodes.done.code;
}

function textOf(hanging: readonly HangingTransaction[], nowMs: number): string {
  return formatTable(
    ["TOPIC", "PARTITION", "PRODUCER", "EPOCH", "START OFFSET", "IDLE", "ID"],
    hanging.map((each) => [
      each.topic,
      each.partition,
      String(each.producerId),
      String(each.producerEpoch),
      each.openFrom,
      formatDuration(Math.max(0, nowMs - each.lastTimestampMs)),
      each.transactionalId ?? "–",
    ]),
  );
}
