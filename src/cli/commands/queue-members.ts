/** `holdfast queue members`: who works on a share group. */
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatTable } from "../table.ts";
import { UsageError } from "../usage-error.ts";

export interface QueueMembersOptions extends ConnectionOptions {
  readonly json?: boolean;
}

export async function queueMembers({
  terminal,
  args,
  options,
}: Invocation<QueueMembersOptions>): Promise<ExitCode> {
  const [group = "", ...more] = args;
  if (more.length > 0)
    throw new UsageError(`queue members is about one queue, and ${more.length + 1} were named.`);
  await using client = connect(options, terminal);
  const [description] = await client.admin().describeShareGroups([group]);
  const members = description?.members ?? [];
  if (options.json === true) {
    await terminal.stdout.write(members.map((each) => `${JSON.stringify(each)}\n`).join(""));
  } else if (members.length === 0) {
    await terminal.stderr.write(`Nobody works on ${group}.\n`);
  } else {
    await terminal.stdout.write(
      formatTable(
        ["MEMBER", "CLIENT", "HOST", "EPOCH", "PARTITIONS"],
        members.map(({ memberId, clientId, host, epoch, assignment }) => [
          memberId,
          clientId,
          host,
          epoch,
          assignment.map(({ topic, partition }) => `${topic}/${partition}`).join(" ") || "–",
        ]),
      ),
    );
  }
  return exitCodes.done.code;
}
