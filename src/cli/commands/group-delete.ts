/** `holdfast group delete`: groups without members, or how far they got in some topics. */
import { BrokerRefusedError } from "../../client/errors.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { parseChoice } from "../partition-choice.ts";
import { formatCount } from "../table.ts";
import { paintFor } from "../terminal.ts";

export interface GroupDeleteOptions extends ConnectionOptions {
  readonly topic?: readonly string[];
  readonly ifExists?: boolean;
  readonly json?: boolean;
}

export async function groupDelete({
  terminal,
  args,
  options,
}: Invocation<GroupDeleteOptions>): Promise<ExitCode> {
  const paint = paintFor(terminal.stdout, terminal.env);
  const choice = parseChoice(options.topic);
  await using client = connect(options, terminal);
  const admin = client.admin();
  for (const group of new Set(args)) {
    let deleted = true;
    let offsets: number | null = null;
    if (choice.topics === null) {
      deleted = await admin.deleteGroups([group]).then(
        () => true,
        (cause: unknown) => {
          const isAbsent = cause instanceof BrokerRefusedError && cause.code === "GROUP_ID_NOT_FOUND";
          if (isAbsent && options.ifExists === true) return false;
          throw cause;
        },
      );
    } else {
      const all = await admin.listGroupOffsets(group);
      const chosen = all.filter((each) => choice.has(each));
      if (chosen.length > 0) await admin.deleteGroupOffsets(group, chosen);
      offsets = chosen.length;
    }
    await terminal.stdout.write(
      options.json === true
        ? `${JSON.stringify({ group, deleted: offsets === null ? deleted : false, offsets })}\n`
        : `${textOf(group, deleted, offsets, paint("green", "✓"))}\n`,
    );
  }
  return exitCodes.done.code;
}

function textOf(group: string, deleted: boolean, offsets: number | null, tick: string): string {
  if (offsets === 0) return `group "${group}" has committed nothing there`;
  if (offsets !== null) {
    return `${tick} group "${group}" forgot how far it got in ${formatCount(offsets)} partition${offsets === 1 ? "" : "s"}`;
  }
  return deleted ? `${tick} group "${group}" deleted` : `group "${group}" did not exist`;
}
