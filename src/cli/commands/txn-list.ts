/** `holdfast txn list`: the transactional ids of all brokers. */
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatTable } from "../table.ts";
import { durationOf } from "../time-text.ts";

export interface TxnListOptions extends ConnectionOptions {
  readonly state?: readonly string[];
  readonly older?: string;
  readonly json?: boolean;
}

export async function txnList({ terminal, options }: Invocation<TxnListOptions>): Promise<ExitCode> {
  const openForMs = options.older === undefined ? undefined : durationOf("--older", options.older);
  await using client = connect(options, terminal);
  const listed = await client.admin().listTransactions({ states: options.state, openForMs });
  if (options.json === true) {
    await terminal.stdout.write(listed.map((each) => `${JSON.stringify(each)}\n`).join(""));
  } else if (listed.length === 0) {
    const isAll = options.state === undefined && openForMs === undefined;
    await terminal.stderr.write(isAll ? "There are no transactional ids.\n" : "There is none.\n");
  } else {
    await terminal.stdout.write(
      formatTable(
        ["ID", "STATE", "PRODUCER", "COORDINATOR"],
        listed.map(({ transactionalId, state, producerId, coordinator }) => [
          transactionalId,
          state,
          String(producerId),
          String(coordinator),
        ]),
      ),
    );
  }
  return exitCodes.done.code;
}
