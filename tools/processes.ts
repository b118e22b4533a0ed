/**
 * Child processes of tests and benches: brokers, clients, other people's tools. Every process started here
 * ends with this one, however this one ends: at `exit` they are killed, and on Linux the kernel kills them
 * when we are killed ourselves. No process is ever looked up by name.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { loopback } from "./toolbox.ts";

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Called for each line of standard output. */
  readonly onLine?: (line: string) => void;
  /** Called with the raw bytes of standard output instead of lines. */
  readonly onBytes?: (bytes: Buffer) => void;
  /** Given to the process's standard input, which is then closed. Without it, standard input is empty. */
  readonly input?: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  /** After this time the process is killed and `ended` rejects. */
  readonly timeoutMs?: number;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last 64 KiB of each stream, for the message of a failure. */
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  signal(signal: NodeJS.Signals): void;
  isRunning(): boolean;
}

const children = new Set<ChildProcess>();
const keptOutputChars = 65_536;
const setpriv = "/usr/bin/setpriv";

process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => process.exit(1));
}

/** Starts a process that cannot outlive this one. */
export function start(command: string, args: readonly string[], options: StartOptions = {}): Running {
  const leashed = existsSync(setpriv);
  const child = spawn(
    leashed ? setpriv : command,
    leashed ? ["--pdeathsig", "KILL", command, ...args] : [...args],
    {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    },
  );
  children.add(child);
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null)
    throw new Error("Standard output of a child process is a pipe here");
  let out = "";
  let err = "";
  let timedOut = false;
  stderr.setEncoding("utf8").on("data", (text: string) => {
    err = (err + text).slice(-keptOutputChars);
  });
  if (options.onBytes !== undefined) {
    stdout.on("data", options.onBytes);
  } else {
    createInterface({ input: stdout }).on("line", (line) => {
      out = `${out}${line}\n`.slice(-keptOutputChars);
      options.onLine?.(line);
    });
  }
  if (options.input !== undefined) void feed(child, options.input);
  const timer =
    options.timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          timedOut = true;
          child.kill("SIGKILL");
        }, options.timeoutMs);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", (error) => {
      children.delete(child);
      clearTimeout(timer);
      reject(error);
    });
    child.once("close", (code, signal) => {
      children.delete(child);
      clearTimeout(timer);
      if (timedOut) {
        reject(
          new Error(
            `${describe(command, args)} did not end within ${options.timeoutMs} ms\n${out.slice(-4000)}\n${err.slice(-4000)}`,
          ),
        );
      } else {
        resolve({ code, signal, stdout: out, stderr: err });
      }
    });
  });
  // Whoever awaits sees the failure; a process that nobody awaits must not bring the test down.
  ended.catch(() => undefined);
  return {
    pid: child.pid ?? -1,
    ended,
    signal: (signal) => void child.kill(signal),
    isRunning: () => child.exitCode === null && child.signalCode === null,
  };
}

/** Runs a process to its end; anything but exit code 0 is an error that carries what it said. */
export async function finish(
  command: string,
  args: readonly string[],
  options: StartOptions = {},
): Promise<Ended> {
  const ended = await start(command, args, options).ended;
  if (ended.code === 0) return ended;
  throw new Error(
    `${describe(command, args)} ended with ${ended.code ?? ended.signal}\n${ended.stdout.slice(-4000)}\n${ended.stderr.slice(-8000)}`,
  );
}

async function feed(
  child: ChildProcess,
  input: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const { stdin } = child;
  if (stdin === null) return;
  let wake = (): void => undefined;
  // A process that ends early closes its input; its exit code tells the story.
  stdin.on("error", () => undefined);
  for (const event of ["drain", "close"]) stdin.on(event, () => wake());
  for await (const bytes of input) {
    if (!stdin.writable) return;
    if (!stdin.write(bytes)) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  stdin.end();
}

function describe(command: string, args: readonly string[]): string {
  return [command.split("/").at(-1), ...args].join(" ").slice(0, 400);
}

/** A port on loopback that is free now and that the kernel does not give to outgoing connections. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = 15_000 + Math.floor(Math.random() * 16_000);
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once("error", () => resolve(false));
      server.listen(port, loopback, () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new Error("No free port between 15000 and 31000 on loopback");
}

/** Waits until something accepts connections; rejects when the process ended or the time is over. */
export async function waitForPort(port: number, process: Running, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline && process.isRunning()) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = createConnection({ host: loopback, port });
      socket.once("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
    if (open) return;
    await sleep(50);
  }
  throw new Error(`Nothing listens on ${loopback}:${port} after ${timeoutMs} ms`);
}

export interface ProcessUse {
  readonly cpuSeconds: number;
  readonly rssBytes: number;
  /** The highest resident size since the start or since `resetPeak`. */
  readonly rssPeakBytes: number;
}

/** What the kernel has booked for a process (its clock ticks every 10 ms). */
export function useOf(pid: number): ProcessUse {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The command's name may hold spaces and brackets: fields are counted from the last bracket.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticksPerSecond = 100;
  const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kilobytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
  return { cpuSeconds, rssBytes: kilobytes("VmRSS") * 1024, rssPeakBytes: kilobytes("VmHWM") * 1024 };
}
