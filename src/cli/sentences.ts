/** What went wrong as one sentence for people, and the exit code that programs see. */
import { HoldfastError } from "../base/errors.ts";
import { type ExitCode, exitCodes } from "./exit-codes.ts";

export interface Sentence {
  readonly sentence: string;
  readonly code: ExitCode;
}

/** By the errors' `code`: the client's classes are loaded only by commands that use a client. */
const codes: { readonly [code: string]: ExitCode } = {
  OPTION: exitCodes.usage.code,
  CONSUMER_USAGE: exitCodes.usage.code,
  NO_BROKER: exitCodes.unreachable.code,
  UNREACHABLE: exitCodes.unreachable.code,
  NOT_KAFKA: exitCodes.unreachable.code,
};

export function sentenceOf(error: unknown): Sentence {
  if (error instanceof HoldfastError) {
    const code =
      "fate" in error && fateOf(error) === "unknown"
        ? exitCodes.unknown.code
        : (codes[error.code] ?? causeCode(error));
    return { sentence: asSentence(forCommandLine(error)), code };
  }
  // Our mistake: the stack is what helps.
  const sentence = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { sentence, code: exitCodes.failed.code };
}

/** A delivery that failed because nobody was there is "nobody was there". */
function causeCode({ cause }: HoldfastError): ExitCode {
  const code = cause instanceof HoldfastError ? codes[cause.code] : undefined;
  return code ?? exitCodes.failed.code;
}

/** These say that nothing of the record was sent, and so does a delivery that says it. Everything else is unknown. */
const notSent: ReadonlySet<string> = new Set([
  "OPTION",
  "NO_BROKER",
  "NOT_KAFKA",
  "UNKNOWN_TOPIC",
  "UNKNOWN_PARTITION",
  "RECORD_TOO_LARGE",
  "BUFFER_FULL",
]);

/** Of a record that was not acknowledged. Only who says "not written" is believed to know. */
export function fateOf(error: unknown): "not-written" | "unknown" {
  if (!(error instanceof HoldfastError)) return "unknown";
  if ("fate" in error) return error.fate === "not-written" ? "not-written" : "unknown";
  return notSent.has(error.code) ? "not-written" : "unknown";
}

/** What the client advises to programs, as advice to people. */
function forCommandLine({ code, message }: HoldfastError): string {
  if (code === "DELIVERY") return message.replace("(deliveryTimeoutMs)", "(--timeout)");
  if (code !== "LOST_POSITION" && code !== "DAMAGED_RECORDS") return message;
  return message.replace(
    /; seek .*$/s,
    "; begin somewhere else with --from, or go on behind it with --skip.",
  );
}

function asSentence(message: string): string {
  const line = message.replaceAll("\n", " ").trim();
  const begun = `${line[0]?.toUpperCase() ?? ""}${line.slice(1)}`;
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
