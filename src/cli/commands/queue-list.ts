/** `holdfast queue list`: all share groups, with what waits in each. */
import type { Admin } from "../../client/admin.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { formatTable } from "../table.ts";

export interface QueueListOptions extends ConnectionOptions {
  readonly json?: boolean;
}

interface ListedQueue {
  readonly group: string;
  readonly state: string;
  readonly topics: readonly string[];
  /** Null: the broker does not say. */
  readonly waiting: number | null;
}

export async function queueList({ terminal, options }: Invocation<QueueListOptions>): Promise<ExitCode> {
  await using client = connect(options, terminal);
  const admin = client.admin();
  const groups = await admin.listGroups({ types: ["share"] });
  const queues: ListedQueue[] = [];
  for (const { group, state } of groups) queues.push({ group, state, ...(await waitingIn(admin, group)) });
  if (options.json === true) {
    await terminal.stdout.write(queues.map((each) => `${JSON.stringify(each)}\n`).join(""));
  } else if (queues.length === 0) {
    await terminal.stderr.write("There are no queues: the first worker of a share group makes one.\n");
  } else {
    await terminal.stdout.write(
      formatTable(
        ["QUEUE", "STATE", "WAITING", "TOPICS"],
        queues.map(({ group, state, topics, waiting }) => [group, state, waiting ?? "–", topics.join(", ")]),
      ),
    );
  }
  return exitCodes.done.code;
}

async function waitingIn(admin: Admin, group: string): Promise<Pick<ListedQueue, "topics" | "waiting">> {
  const offsets = await admin.listShareGroupOffsets(group);
  const isKnown = offsets.every(({ lag }) => lag >= 0);
  return {
    topics: [...new Set(offsets.map(({ topic }) => topic))],
    waiting: isKnown ? offsets.reduce((sum, { lag }) => sum + lag, 0) : null,
  };
}
