/** `holdfast txn describe`: the transaction of a transactional id. */
import type { TransactionDescription } from "../../client/admin-transactions.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatCount, formatTable } from "../table.ts";
import { type Paint, paintFor } from "../terminal.ts";
import { formatDuration } from "../time-text.ts";

export interface TxnDescribeOptions extends ConnectionOptions {
  readonly json?: boolean;
}

export async function txnDescribe({
  terminal,
  args,
  options,
}: Invocation<TxnDescribeOptions>): Promise<ExitCode> {
  const paint = paintFor(terminal.stdout, terminal.env);
  await using client = connect(options, terminal);
  const described = await client.admin().describeTransactions([...new Set(args)]);
  for (const [index, each] of described.entries()) {
    await terminal.stdout.write(
      options.json === true
        ? `${JSON.stringify(each)}\n`
        : `${index === 0 ? "" : "\n"}${textOf(each, paint, Date.now())}`,
    );
  }
  return exitCodes.done.code;
}

function textOf(each: TransactionDescription, paint: Paint, nowMs: number): string {
  const { startedMs, timeoutMs, partitions } = each;
  const facts = [
    paint("bold", each.transactionalId),
    each.state,
    `producer ${each.producerId}, epoch ${each.producerEpoch}`,
    startedMs === null
      ? `aborted after ${formatDuration(timeoutMs)}`
      : `open for ${formatDuration(Math.max(0, nowMs - startedMs))} of ${formatDuration(timeoutMs)}`,
  ];
  const table =
    partitions.length === 0
      ? "Nothing is open.\n"
      : formatTable(
          ["TOPIC", "PARTITION"],
          partitions.map(({ topic, partition }) => [topic, formatCount(partition)]),
        );
  return `${facts.join("   ")}\n\n${table}`;
}
