/** `holdfast group list`: all groups of all brokers. */
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatTable } from "../table.ts";

export interface GroupListOptions extends ConnectionOptions {
  readonly state?: readonly string[];
  readonly json?: boolean;
}

export async function groupList({ terminal, options }: Invocation<GroupListOptions>): Promise<ExitCode> {
  await using client = connect(options, terminal);
  const groups = await client.admin().listGroups({ states: options.state });
  if (options.json === true) {
    await terminal.stdout.write(groups.map((each) => `${JSON.stringify(each)}\n`).join(""));
  } else if (groups.length === 0) {
    await terminal.stderr.write("There are no groups: holdfast consume TOPIC --group NAME makes one.\n");
  } else {
    await terminal.stdout.write(
      formatTable(
        ["GROUP", "TYPE", "PROTOCOL", "STATE"],
        groups.map(({ group, type, protocolType, state }) => [group, type, protocolType, state]),
      ),
    );
  }
  return exitCodes.done.code;
}
