/**
 * The `Logger` port. A person at a terminal gets one short line per event, everything else gets JSON
 * lines from `pino`, which is loaded beside the start and not before it; what is logged until then waits
 * in memory. A reader of the log that is slow or gone never holds up the broker: beyond a bound lines are dropped.
 */
import { writeSync } from "node:fs";
import { styleText } from "node:util";
import type { Facts, Logger } from "../base/ports.ts";

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

/** Bytes that wait for a reader of the log before lines are dropped. */
const unwrittenBytesMax = 1024 * 1024;
/** Lines kept until pino is there. */
const earlyLinesMax = 1000;

export interface OpenLogger extends Logger {
  setLevel(level: LogLevel): void;
  /** Writes out what waits, synchronously as far as that can be: for the end of the process. */
  flush(): void;
}

type Write = (level: LogLevel, event: string, facts: Facts | undefined) => void;

export function openLogger(options: { readonly level: LogLevel; readonly terminal: boolean }): OpenLogger {
  const lines = options.terminal ? terminalLines() : jsonLines();
  let least = logLevels.indexOf(options.level);
  const log =
    (level: LogLevel) =>
    (event: string, facts?: Facts): void => {
      if (logLevels.indexOf(level) >= least) lines.write(level, event, facts);
    };
  return {
    debug: log("debug"),
    info: log("info"),
    warn: log("warn"),
    error: log("error"),
    setLevel: (level) => {
      least = logLevels.indexOf(level);
    },
    flush: lines.flush,
  };
}

const color = { debug: "gray", info: "cyan", warn: "yellow", error: "red" } as const;

/** `12:26:01 warn  connection refused  remote=127.0.0.1 reason="…"` */
export function formatLine(time: Date, level: LogLevel, event: string, facts: Facts | undefined): string {
  let line = `${time.toTimeString().slice(0, 8)} ${styleText(color[level], level.padEnd(5))} ${event}`;
  for (const [name, value] of Object.entries(facts ?? {})) {
    if (value === undefined) continue;
    line += ` ${styleText("gray", `${name}=`)}${formatFact(value)}`;
  }
  return `${line}\n`;
}

function formatFact(value: unknown): string {
  if (value instanceof Error) return value.stack ?? value.message;
  if (typeof value === "string") return /^[\w./:@-]+$/.test(value) ? value : JSON.stringify(value);
  return (
    JSON.stringify(value, (_name, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner)) ??
    ""
  );
}

function terminalLines(): { readonly write: Write; readonly flush: () => void } {
  return {
    write: (level, event, facts) => {
      process.stdout.write(formatLine(new Date(), level, event, facts));
    },
    flush: () => {},
  };
}

/** An error's own fields (code, path, …) with what JSON would leave out, its cause included. */
function errorFacts(error: Error): Facts {
  return {
    type: error.name,
    message: error.message,
    stack: error.stack,
    ...Object.fromEntries(Object.entries(error).filter(([, value]) => typeof value !== "object")),
    ...(error.cause instanceof Error ? { cause: errorFacts(error.cause) } : {}),
  };
}

function jsonFacts(facts: Facts | undefined): Facts {
  const plain: { [name: string]: unknown } = {};
  for (const [name, value] of Object.entries(facts ?? {})) {
    plain[name] =
      value instanceof Error ? errorFacts(value) : typeof value === "bigint" ? String(value) : value;
  }
  return plain;
}

function jsonLines(): { readonly write: Write; readonly flush: () => void } {
  const early: [level: LogLevel, event: string, facts: Facts][] = [];
  let flush = (): void => {
    for (const [level, event, facts] of early.splice(0)) {
      try {
        writeSync(1, `${JSON.stringify({ level, time: new Date().toISOString(), ...facts, event })}\n`);
      } catch {
        return; // Nobody reads the log.
      }
    }
  };
  let write: Write = (level, event, facts) => {
    if (early.length < earlyLinesMax) early.push([level, event, jsonFacts(facts)]);
  };
  // Its default export is what the package gives in every form, also bundled.
  void import("pino").then(({ default: pino }) => {
    const output = pino.destination({ fd: 1, sync: false, maxLength: unwrittenBytesMax });
    // A log that nobody reads any more (EPIPE) is no reason to stop serving.
    output.on("error", () => {});
    const target = pino(
      {
        base: null,
        level: "debug",
        messageKey: "event",
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (level) => ({ level }) },
      },
      output,
    );
    write = (level, event, facts) => target[level](jsonFacts(facts), event);
    flush = () => {
      try {
        output.flushSync();
      } catch {
        // Not open yet or not open any more: nothing waits.
      }
    };
    for (const [level, event, facts] of early.splice(0)) target[level](facts, event);
  });
  return { write: (level, event, facts) => write(level, event, facts), flush: () => flush() };
}
