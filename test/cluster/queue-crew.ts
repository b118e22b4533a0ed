/**
 * The workers of a storm of queues: so many places, each with a process that is started anew when it has ended. One is
 * killed, stopped for a while or asked to leave, and one may die of a record and says so; any other end is a fault.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Ended, type Running, start } from "../../tools/processes.ts";
import type { Program } from "../interop/programs.ts";

export interface CrewOptions {
  readonly size: number;
  /** What the worker at this place runs. */
  command(place: number): Promise<Program>;
  /** A whole line that a worker printed; each process has a number of its own. */
  hear(member: number, line: string): void;
  paused(member: number): void;
  resumed(member: number): void;
  fault(fault: string): void;
}

export interface CrewCounts {
  started: number;
  killed: number;
  paused: number;
  left: number;
  died: number;
}

interface Worker {
  readonly member: number;
  readonly running: Running;
  /** What was done to it; "works": nothing. */
  state: "works" | "paused" | "killed" | "leaving";
  last: string;
}

/** A worker that is asked to end does so within this, also when there is no broker for a while. */
const leaveMs = 60_000;
/** A Java process ends with 128 + SIGTERM when it is asked to end. */
const javaTerminated = 143;

export class QueueCrew {
  readonly #options: CrewOptions;
  readonly #places: (Worker | undefined)[];
  readonly #ends: Promise<void>[] = [];
  readonly #counts: CrewCounts = { started: 0, killed: 0, paused: 0, left: 0, died: 0 };
  #isEnding = false;

  constructor(options: CrewOptions) {
    this.#options = options;
    this.#places = Array.from({ length: options.size }, () => undefined);
  }

  get counts(): CrewCounts {
    return { ...this.#counts };
  }

  async start(): Promise<void> {
    for (let place = 0; place < this.#places.length; place++) await this.#hire(place);
  }

  kill(place: number): void {
    const worker = this.#places[place];
    if (worker?.state !== "works") return;
    worker.state = "killed";
    this.#counts.killed += 1;
    worker.running.signal("SIGKILL");
  }

  leave(place: number): void {
    const worker = this.#places[place];
    if (worker?.state !== "works") return;
    worker.state = "leaving";
    this.#counts.left += 1;
    worker.running.signal("SIGTERM");
  }

  /** Stands still for so long, and goes on. */
  async pause(place: number, ms: number): Promise<void> {
    const worker = this.#places[place];
    if (worker?.state !== "works") return;
    worker.state = "paused";
    this.#counts.paused += 1;
    this.#options.paused(worker.member);
    worker.running.signal("SIGSTOP");
    await sleep(ms);
    this.#options.resumed(worker.member);
    worker.running.signal("SIGCONT");
    worker.state = "works";
  }

  /** Asks all to leave; resolves when everybody is gone. Nobody is paused any more. */
  async end(): Promise<void> {
    this.#isEnding = true;
    for (const [place, worker] of this.#places.entries()) {
      this.leave(place);
      if (worker === undefined) continue;
      const late = setTimeout(() => worker.running.signal("SIGKILL"), leaveMs);
      void worker.running.ended.finally(() => clearTimeout(late)).catch(() => undefined);
    }
    await Promise.all(this.#ends);
  }

  /** Nobody outlives a storm that failed. */
  dismiss(): void {
    this.#isEnding = true;
    for (const worker of this.#places) {
      if (worker === undefined) continue;
      worker.state = "killed";
      worker.running.signal("SIGKILL");
    }
  }

  async #hire(place: number): Promise<void> {
    const { command, env } = await this.#options.command(place);
    if (this.#isEnding) return;
    const [program, ...args] = command;
    const member = this.#counts.started;
    this.#counts.started += 1;
    let rest = "";
    const running = start(program, args, {
      ...(env === undefined ? {} : { env }),
      onBytes: (bytes) => {
        const lines = (rest + bytes.toString("latin1")).split("\n");
        // Who is killed may leave half a line.
        rest = lines.pop() ?? "";
        for (const line of lines) this.#options.hear(member, line);
        worker.last = lines.at(-1) ?? worker.last;
      },
    });
    const worker: Worker = { member, running, state: "works", last: "" };
    this.#places[place] = worker;
    this.#ends.push(this.#replaced(place, worker));
  }

  async #replaced(place: number, worker: Worker): Promise<void> {
    let end: Ended;
    try {
      end = await worker.running.ended;
    } catch (cause) {
      this.#options.fault(`worker ${worker.member} did not start: ${String(cause)}`);
      return;
    }
    this.#judge(worker, end);
    this.#places[place] = undefined;
    if (!this.#isEnding) await this.#hire(place);
  }

  #judge({ member, state, last }: Worker, { code, signal, stderr }: Ended): void {
    if (state === "killed") return;
    if (last.startsWith("dies ")) {
      this.#counts.died += 1;
      return;
    }
    if (state === "leaving") {
      const isWell = code === 0 || code === javaTerminated;
      // It may have been asked before it could listen to that.
      if ((isWell && last === "left") || last === "") return;
    }
    this.#options.fault(
      `worker ${member} (${state}) ended with ${code ?? signal}: ${last} ${stderr.slice(-3000)}`,
    );
  }
}
