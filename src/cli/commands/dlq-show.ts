/** `holdfast queue dlq show`: dead letters with where they came from and why. */
import type { FoundLetter } from "../../client/dead-letters/dead-letters.ts";
import { plainHeaders } from "../../client/dead-letters/letter.ts";
import { type ConnectionOptions, connect } from "../connect.ts";
import type { Invocation } from "../declare.ts";
import { withoutControls } from "../escapes.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { jsonRecord, type PrintableRecord } from "../format.ts";
import { type SelectionOptions, selectionOf } from "../letter-selection.ts";
import { openPrinter } from "../record-printer.ts";
import { type Paint, paintFor } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

export interface DlqShowOptions extends ConnectionOptions, SelectionOptions {
  readonly settled?: boolean;
  readonly json?: boolean;
}

export async function dlqShow({ terminal, args, options }: Invocation<DlqShowOptions>): Promise<ExitCode> {
  const [topic = "", ...more] = args;
  if (more.length > 0)
    throw new UsageError(`queue dlq show reads one topic, and ${more.length + 1} were named.`);
  const paint = paintFor(terminal.stdout, terminal.env);
  const print = openPrinter({}, paint, Date.now);
  const selection = selectionOf(options, Date.now());
  await using client = connect(options, terminal);
  const letters = client.deadLetters(topic).read({ ...selection, settled: options.settled });
  for await (const letter of letters) {
    if (options.json === true) {
      await terminal.stdout.write(`${letterJson(letter)}\n`);
      continue;
    }
    const pieces: Uint8Array[] = [];
    print(withPlainHeaders(letter), pieces);
    await terminal.stdout.write(Buffer.concat([...pieces, Buffer.from(story(letter, paint))]));
  }
  return exitCodes.done.code;
}

const withPlainHeaders = ({ record }: FoundLetter): PrintableRecord => ({
  topic: record.topic,
  partition: record.partition,
  offset: record.offset,
  timestampMs: record.timestampMs,
  key: record.key,
  value: record.value,
  headers: plainHeaders(record.headers),
});

function story(
  { origin, group, deliveryCount, reason, redriven, settled }: FoundLetter,
  paint: Paint,
): string {
  const facts = [
    ...(origin === null ? [] : [`from ${origin.topic}/${origin.partition} @ ${origin.offset}`]),
    ...(group === null ? [] : [`group ${group}`]),
    ...(deliveryCount === null ? [] : [`delivered ${deliveryCount} time${deliveryCount === 1 ? "" : "s"}`]),
    ...(redriven === 0 ? [] : [`redriven ${redriven} time${redriven === 1 ? "" : "s"} before`]),
    ...(settled === null ? [] : [settled]),
  ];
  const why = reason === null ? "" : `    ${paint("red", withoutControls(reason))}\n`;
  return `    ${paint("dim", withoutControls(facts.join(" · ")) || "it does not say where it came from")}\n${why}`;
}

/** A record as `consume --json` prints it, without the headers that say what is beside it here. */
function letterJson(letter: FoundLetter): string {
  const { origin, group, deliveryCount, reason, redriven, settled } = letter;
  const record = JSON.parse(jsonRecord(withPlainHeaders(letter))) as object;
  return JSON.stringify({ ...record, origin, group, deliveryCount, reason, redriven, settled });
}
