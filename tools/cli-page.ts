/** `docs/cli.md`, from the tree of commands in `src/cli/`. */
import type { Command } from "commander";
import { commandPath, helpText } from "../src/cli/declare.ts";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { formatEncodings, formatLetters } from "../src/cli/format.ts";
import { commandTree } from "../src/cli/tree.ts";

const helpWidth = 100;

export function cliPage(): string {
  const commands = everyCommand(commandTree(() => Promise.resolve()));
  return `# The command line

Made by \`npm run pages\` from [src/cli/tree.ts](../src/cli/tree.ts); do not edit.

\`holdfast\` starts a broker; its other commands talk to one, to a data directory, or to nobody. Each has \`--help\` with examples, \`holdfast cheat\` has more by subject, and \`source <(holdfast completion bash)\` completes all of it (also zsh and fish). The broker is the one that \`--bootstrap\` names, else the environment's \`HOLDFAST_BOOTSTRAP\`, else \`localhost:9092\`. Any broker that speaks Kafka's protocol will do.

## What may be relied on

- Results are on standard output, everything else on standard error. What went wrong is one sentence: what, where, what to do.
- \`--json\` prints one object a line. Fields are added, never changed. Keys and values that are UTF-8 are text; others are base64, and \`"keyEncoding"\` or \`"valueEncoding"\` beside them says \`"base64"\`. Null stays null.
- \`produce\` ends with 0 only when every record was acknowledged. It says of no record that it is written before the broker said so. At the first that fails it stops reading; records that were given before may still be on their way, and the numbers at the end count each of them. Ctrl-C stops reading and waits for what is under way; a second one ends at once, and what is under way then counts as "not acknowledged, perhaps written". A topic that is not there is made, if the broker is configured so, and that is said.
- \`consume\` without \`--group\` changes nothing. With it, offsets are committed of what the output has taken, and of nothing else: what a crash or a closed pipe cut off is printed again by whoever reads next. A pipe that is full holds the reading up; one that is closed (\`| head\`) ends it with 0. It never passes over records by itself: what was deleted before it was read, or cannot be read, is an error that names the offset.
- \`group seek\` moves a group only while it has no members. Before it changes anything it writes where the group stood to a file, synced, and never over another; \`--from-file\` with that file takes the seek back. A place that does not exist becomes the nearest that does, and the table says so.
- Colours are used on terminals only, and not when \`NO_COLOR\` is set. Without \`--format\` or \`--json\`, records are printed one a line with control characters as escapes, so that what is in a record cannot steer a terminal. \`--format\` prints bytes as they are.

## Exit codes

| code | meaning |
|---|---|
${Object.values(exitCodes)
  .map(({ code, text }) => `| ${code} | ${text} |`)
  .join("\n")}

\`consume\` without \`--count\` or \`--until\` goes on until Ctrl-C, so that Ctrl-C is its end, with 0. \`holdfast start\` ends with 0 on SIGTERM and SIGINT.

## Where consume begins

| \`--from\` | |
|---|---|
| \`end\` (default), \`start\` (default with \`--group\`) | what comes from now on; the first record there is. Also \`latest\`, \`earliest\`, \`beginning\` |
| \`42\` | this offset, in each partition that is read |
| \`-10\` | the last ten offsets of each partition |
| \`10m\`, \`1h30m\`, \`2d\` | that long ago: the first record of each partition that is not older |
| \`14:30\`, \`2026-11-21\`, \`2026-11-21T14:30\` | a time, local unless it ends in \`Z\` or \`+01:00\` |
| \`@1763721000000\`, \`@1763721000\` | ms or seconds since 1970 |

With \`--group\` this counts only in topics of which the group has committed nothing, and is no offset: the group goes on where it left off.

## Where a group goes

\`holdfast group seek GROUP --to …\`, in all partitions of which it has committed anything, or in those that \`--topic orders\` or \`--topic orders:0,2\` names:

| \`--to\` | |
|---|---|
| \`start\`, \`end\`, \`42\` | the first record there is, behind the last, this offset |
| \`+3\`, \`-3\` | three offsets on, or back, from where it stands |
| \`10m\`, \`14:30\`, \`@1763721000\` | a time, as for \`--from\`: the first record that is not older |
| \`billing\` | where the group of this name stands; \`--to-group\` for a name that looks like one of the above |

The lag in time that \`group describe\` tells is the age of the oldest record that the group has not committed.

## The language of --format

kcat's and rpk's letters; with \`\\n\`, \`\\t\`, \`\\r\`, \`\\0\`, \`\\\\\` and \`\\xHH\`. ${Object.keys(
    formatEncodings,
  )
    .map((name) => `\`{${name}}\``)
    .join(", ")} behind a letter shows its bytes in that form: \`%v{hex}\`.

| letter | |
|---|---|
${Object.entries(formatLetters)
  .map(([letter, { text }]) => `| \`%${letter}\` | ${text} |`)
  .join("\n")}
| \`%%\` | a percent sign |

## Names from other tools

Understood so that fingers and scripts keep working, and not shown in the help. \`holdfast topic --create\`, \`--list\`, \`--describe\`, \`--alter\` and \`--delete\` are the commands of that name, and so are \`holdfast group --list\`, \`--describe\`, \`--delete\`, \`--delete-offsets\` and \`--reset-offsets\`, which without \`--execute\` only says what it would do.

| command | also understands |
|---|---|
${commands.flatMap(aliasRow).join("\n")}

\`--replication-factor\` is passed on; Holdfast accepts any and keeps one copy. \`--property\` knows \`parse.key\`, \`key.separator\` and \`null.marker\` when producing, and \`print.…\`, \`key.separator\` and \`line.separator\` when consuming; others are refused. \`--request-required-acks\` and \`--sync\` change nothing: an acknowledgement is always asked of all.

## Commands

${commands.map(section).join("\n")}`;
}

const everyCommand = (command: Command): readonly Command[] => [
  command,
  ...command.commands.flatMap(everyCommand),
];

function aliasRow(command: Command): readonly string[] {
  const flags = command.options
    .filter(({ hidden }) => hidden)
    .map(({ flags: each }) => `\`${each.replace(/ <.*>/, "")}\``);
  return flags.length === 0 ? [] : [`| \`${commandPath(command)}\` | ${flags.join(" ")} |`];
}

function section(command: Command): string {
  return `### holdfast ${commandPath(command)}\n\n\`\`\`\n${helpText(command, helpWidth)}\`\`\`\n`.replace(
    "holdfast \n",
    "holdfast\n",
  );
}
