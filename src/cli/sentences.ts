/** What went wrong as one sentence for people, and the exit code that programs see. */
import { HoldfastError } from "../base/errors.ts";
import { type ExitCode, exitCodes } from "./exit-codes.ts";

export interface Sentence {
  readonly sentence: string;
  readonly code: ExitCode;
}

export function sentenceOf(error: unknown): Sentence {
  if (error instanceof HoldfastError) return { sentence: error.message, code: exitCodes.failed.code };
  // Our mistake: the stack is what helps.
  const sentence = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { sentence, code: exitCodes.failed.code };
}
