/** `holdfast queue dlq redrive` and `drop`: letters that are meant are sent again, or passed over, each once. */
import { readFileSync } from "node:fs";
import type { RedriveOptions, RedriveReport } from "../../client/dead-letters/dead-letters.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { editedLetters } from "../edited-letters.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { isLimited, type SelectionOptions, selectionOf } from "../letter-selection.ts";
import { formatCount } from "../table.ts";
import { type Paint, paintFor } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

export interface DlqRedriveOptions extends ConnectionOptions, SelectionOptions {
  readonly all?: boolean;
  readonly to?: string;
  readonly file?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function dlqRedrive(invocation: Invocation<DlqRedriveOptions>): Promise<ExitCode> {
  return settle("redrive", invocation);
}

export function dlqDrop(invocation: Invocation<DlqRedriveOptions>): Promise<ExitCode> {
  return settle("drop", invocation);
}

async function settle(
  what: "redrive" | "drop",
  { terminal, args, options }: Invocation<DlqRedriveOptions>,
): Promise<ExitCode> {
  const [topic = "", ...more] = args;
  if (more.length > 0) {
    throw new UsageError(`queue dlq ${what} is about one topic, and ${more.length + 1} were named.`);
  }
  const selection = selectionOf(options, Date.now());
  const limited = isLimited(selection) || options.file !== undefined;
  if (limited === (options.all === true)) {
    throw new UsageError(
      `queue dlq ${what} needs to know which: --all, or ${what === "redrive" ? "--file, " : ""}--reason, --since, --before, --key, --origin, --group, --at, --count.`,
    );
  }
  const edited =
    options.file === undefined ? undefined : editedLetters(readFile(options.file), options.file, topic);
  if (edited !== undefined && selection.places !== undefined) {
    throw new UsageError("--at does not go with --file, which says exactly which letters.");
  }
  const request: RedriveOptions = {
    ...selection,
    ...(edited === undefined ? {} : { places: edited.places, edit: edited.edit }),
    dryRun: options.dryRun,
  };
  await using client = connect(options, terminal);
  const letters = client.deadLetters(topic);
  const report =
    what === "drop" ? await letters.drop(request) : await letters.redrive({ ...request, to: options.to });
  const isDry = options.dryRun === true;
  const paint = paintFor(terminal.stdout, terminal.env);
  await terminal.stdout.write(
    options.json === true ? `${JSON.stringify({ ...report, done: !isDry })}\n` : textOf(report, isDry, paint),
  );
  return exitCodes.done.code;
}

function readFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new UsageError(`--file ${path} cannot be read: ${(cause as Error).message}.`);
  }
}

function textOf({ redriven, dropped, settledBefore }: RedriveReport, isDry: boolean, paint: Paint): string {
  const tick = isDry ? "would be done:" : paint("green", "✓");
  const lines = Object.entries(redriven).map(([to, count]) => `${tick} ${letters(count)} sent to ${to}`);
  if (dropped > 0) lines.push(`${tick} ${letters(dropped)} dropped`);
  if (lines.length === 0) lines.push("There is no letter to which that applies.");
  if (settledBefore > 0)
    lines.push(paint("dim", `${letters(settledBefore)} had been redriven or dropped before`));
  return lines.map((line) => `${line}\n`).join("");
}

const letters = (count: number): string => `${formatCount(count)} letter${count === 1 ? "" : "s"}`;
