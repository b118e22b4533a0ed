/**
 * What `produce` prints: a line for each record, or one for all, or JSON; and at the end, on standard error,
 * what was not acknowledged. Nothing is said of a record before it was acknowledged.
 */
import type { Acknowledged, Delivery } from "./delivery.ts";
import { type ExitCode, exitCodes } from "./exit-codes.ts";
import type { Source } from "./outgoing.ts";
import { sentenceOf } from "./sentences.ts";
import { formatCount, formatMs } from "./table.ts";
import { type Paint, paintFor, ReaderLeftError, type Terminal } from "./terminal.ts";

/** How the input ended. An error of the input itself (a line without separator) leaves what was sent as it is. */
export type InputEnd =
  | { readonly kind: "whole" }
  | { readonly kind: "stopped" }
  | { readonly kind: "interrupted" }
  | { readonly kind: "broken"; readonly error: unknown };

export interface Report {
  acknowledged(acknowledged: Acknowledged): Promise<void>;
  summary(delivery: Delivery): Promise<void>;
  /** Why something could not be written; null: all was. */
  readonly output: { readonly failure: unknown };
}

export function reportFor(terminal: Terminal, options: { readonly json?: boolean }, source: Source): Report {
  const output = new ReportOutput(terminal);
  if (options.json === true) return jsonReport(output);
  const paint = paintFor(terminal.stdout, terminal.env);
  // A line for each record, unless they come from a pipe or a file: nobody reads a million ticks.
  if (source.unit !== "Line" || terminal.stdin.isTTY) return lineReport(output, paint);
  return totalReport(output, paint);
}

/**
 * Standard output of `produce`. Whoever reads it may leave: what is being sent is still sent, and the exit code
 * still tells. That it cannot be written for another reason is said at the end.
 */
class ReportOutput {
  readonly #terminal: Terminal;
  failure: unknown = null;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  async write(text: string): Promise<void> {
    if (this.failure !== null) return;
    try {
      await this.#terminal.stdout.write(text);
    } catch (error) {
      this.failure = error;
    }
  }
}

const noSummary = (): Promise<void> => Promise.resolve();

function jsonReport(output: ReportOutput): Report {
  return {
    output,
    acknowledged({ metadata, tookMs }) {
      const { topic, partition, offset, timestampMs } = metadata;
      const ackMs = Math.round(tookMs * 1000) / 1000;
      return output.write(
        `${JSON.stringify({ topic, partition, offset: offset < 0 ? null : offset, timestampMs, ackMs })}\n`,
      );
    },
    summary: noSummary,
  };
}

function lineReport(output: ReportOutput, paint: Paint): Report {
  return {
    output,
    acknowledged({ metadata, tookMs }) {
      return output.write(
        `${paint("green", "✓")} ${placeOf(metadata)}   ${paint("dim", `acked in ${formatMs(tookMs)}`)}\n`,
      );
    },
    summary: noSummary,
  };
}

function placeOf({ topic, partition, offset }: Acknowledged["metadata"]): string {
  return `${topic}/${partition} @ ${offset < 0 ? "an offset that the broker did not tell" : offset}`;
}

/** Partitions that a summary names. */
const placesMax = 8;

function totalReport(output: ReportOutput, paint: Paint): Report {
  const beginMs = performance.now();
  const ranges = new Map<string, { first: number; last: number }>();
  return {
    output,
    acknowledged({ metadata: { topic, partition, offset } }) {
      const place = `${topic}/${partition}`;
      const range = ranges.get(place);
      if (range === undefined) ranges.set(place, { first: offset, last: offset });
      else if (offset >= 0) range.last = offset;
      return Promise.resolve();
    },
    summary({ acknowledged }) {
      if (acknowledged === 0) return Promise.resolve();
      const places = [...ranges].map(([place, { first, last }]) =>
        first === last ? `${place} @ ${first}` : `${place} @ ${first}…${last}`,
      );
      const more = places.length > placesMax ? ` and ${places.length - placesMax} more partitions` : "";
      const records = acknowledged === 1 ? "1 record" : `${formatCount(acknowledged)} records`;
      const tookMs = performance.now() - beginMs;
      return output.write(
        `${paint("green", "✓")} ${records} acked in ${formatMs(tookMs)}: ${places.slice(0, placesMax).join(", ")}${more}\n`,
      );
    },
  };
}

/** What was not acknowledged is said on standard error, with numbers, and is in the exit code. */
export async function verdict(
  terminal: Terminal,
  source: Source,
  delivery: Delivery,
  end: InputEnd,
  outputFailure: unknown,
): Promise<ExitCode> {
  const unknown = delivery.unknown + delivery.underWay;
  const { failure } = delivery;
  const lines: string[] = [];
  let code: ExitCode = exitCodes.done.code;
  if (failure !== null) {
    const { sentence: told, code: own } = sentenceOf(failure.error);
    const sentence = `${told}${hintOf(failure.error)}`;
    lines.push(
      delivery.given > 1 || source.unit === "Line"
        ? `${source.unit} ${failure.number}: ${sentence}`
        : sentence,
    );
    code = own === exitCodes.done.code ? exitCodes.failed.code : own;
  } else if (end.kind === "broken") {
    const { sentence, code: own } = sentenceOf(end.error);
    lines.push(sentence);
    code = own;
  } else if (end.kind === "interrupted") {
    code = exitCodes.interrupted.code;
  }
  if (outputFailure !== null && !(outputFailure instanceof ReaderLeftError)) {
    lines.push(sentenceOf(outputFailure).sentence);
    if (code === exitCodes.done.code) code = exitCodes.failed.code;
  }
  if (unknown > 0) code = exitCodes.unknown.code;
  if (end.kind !== "whole" || unknown > 0) {
    const rest =
      end.kind === "whole" ? "" : `; nothing behind ${delivery.given === 1 ? "it" : "them"} was sent`;
    const counts = [
      `${formatCount(delivery.acknowledged)} acknowledged`,
      ...(delivery.notWritten > 0 ? [`${formatCount(delivery.notWritten)} not written`] : []),
      ...(unknown > 0 ? [`${formatCount(unknown)} not acknowledged, perhaps written`] : []),
    ];
    const begin = end.kind === "interrupted" ? "Interrupted. " : "";
    if (delivery.given > 1 || end.kind === "interrupted") {
      lines.push(
        `${begin}Of ${formatCount(delivery.given)} record${delivery.given === 1 ? "" : "s"}: ${counts.join(", ")}${rest}.`,
      );
    }
  }
  for (const line of lines) await terminal.stderr.write(`${line}\n`);
  return code;
}

/** What can be done about a record that is too large. */
function hintOf(error: unknown): string {
  const { cause, topic } = error as {
    readonly cause?: { readonly code?: unknown };
    readonly topic?: unknown;
  };
  if (cause?.code !== "MESSAGE_TOO_LARGE" && cause?.code !== "RECORD_LIST_TOO_LARGE") return "";
  return ` The topic's max.message.bytes is the limit: holdfast topic describe ${String(topic)} --all shows it, and holdfast topic alter ${String(topic)} --set max.message.bytes=BYTES changes it.`;
}
