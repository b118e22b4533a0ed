/**
 * What a command sees of the outside: two outputs, one input, the environment and Ctrl-C. Commands take it as
 * an argument, so that a test can run them in its own process. A write resolves when the bytes were taken:
 * a reader that is slow holds the command up and never fills the memory.
 */
import { stripVTControlCharacters, styleText } from "node:util";
import { RefusedError } from "../base/errors.ts";

export interface Output {
  /**
   * Resolves when the bytes were taken. Rejects with `ReaderLeftError` when nobody reads any more, and with
   * `RefusedError` when they cannot be written, as on a full disk.
   */
  write(bytes: string | Uint8Array): Promise<void>;
  readonly isTTY: boolean;
  /** Width of a terminal; undefined where there is none. */
  readonly columns: number | undefined;
}

export interface Input extends AsyncIterable<Uint8Array> {
  readonly isTTY: boolean;
  /** The loop over it ends; what comes later is not read. */
  stop(): void;
}

export interface Terminal {
  readonly stdout: Output;
  /** Its writes never reject. */
  readonly stderr: Output;
  readonly stdin: Input;
  readonly env: { readonly [name: string]: string | undefined };
  /** `run` is called at each Ctrl-C until the function that is returned was called. Without one, Ctrl-C ends the process. */
  onInterrupt(run: () => void): () => void;
}

/** Whoever read our output has left, as `head` does. No failure: the command ends quietly. */
export class ReaderLeftError extends Error {
  override readonly name = "ReaderLeftError";
}

export function openTerminal(): Terminal {
  return {
    stdout: openOutput(process.stdout),
    stderr: openNotices(process.stderr),
    stdin: openInput(),
    env: process.env,
    onInterrupt(run) {
      process.on("SIGINT", run);
      process.on("SIGTERM", run);
      return () => {
        process.off("SIGINT", run);
        process.off("SIGTERM", run);
      };
    },
  };
}

function openOutput(stream: NodeJS.WriteStream): Output {
  // Whoever writes is told by `write`; without a listener the process would end on its own.
  stream.on("error", () => {});
  return {
    isTTY: stream.isTTY,
    get columns() {
      return stream.isTTY ? stream.columns : undefined;
    },
    write: (bytes) =>
      new Promise((resolve, reject) => {
        stream.write(bytes, (cause) => {
          if (cause === undefined || cause === null) resolve();
          else reject(writeError(cause));
        });
      }),
  };
}

function writeError(cause: NodeJS.ErrnoException): Error {
  if (cause.code === "EPIPE" || cause.code === "ERR_STREAM_DESTROYED") {
    return new ReaderLeftError("Nobody reads the output any more.", { cause });
  }
  return new RefusedError(`The output cannot be written (${cause.code ?? cause.message}).`, { cause });
}

/** Notices: when nobody can be told, the command goes on, and its exit code still tells. */
function openNotices(stream: NodeJS.WriteStream): Output {
  const output = openOutput(stream);
  return { ...output, write: (bytes) => output.write(bytes).catch(() => {}) };
}

/** `process.stdin` is only touched when something reads: opening it keeps a process alive. */
function openInput(): Input {
  let stopped = false;
  return {
    get isTTY() {
      return process.stdin.isTTY;
    },
    stop() {
      stopped = true;
      process.stdin.destroy();
    },
    async *[Symbol.asyncIterator]() {
      try {
        for await (const chunk of process.stdin as AsyncIterable<Buffer>) yield chunk;
      } catch (error) {
        // Destroyed by `stop`: the input is over.
        if (!stopped) throw error;
      }
    },
  };
}

type Format = Parameters<typeof styleText>[0];

/** Colours for one output: none unless it is a terminal and `NO_COLOR` is unset (no-color.org). */
export type Paint = (format: Format, text: string) => string;

export function paintFor(output: Output, env: Terminal["env"]): Paint {
  const plain = !output.isTTY || (env["NO_COLOR"] ?? "") !== "";
  return plain
    ? (_format, text) => text
    : (format, text) => styleText(format, text, { validateStream: false });
}

/** Cells that a text takes on a terminal, as far as one character is one cell. */
export function textWidth(text: string): number {
  let width = 0;
  for (const _character of stripVTControlCharacters(text)) width++;
  return width;
}
