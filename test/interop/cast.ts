/**
 * The processes of a play: programs that join as members of a group, by number, and are asked to leave, killed
 * and stopped while they work. Whoever ends by itself, or does not end as it was asked to, is a fault.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Running, start } from "../../tools/processes.ts";
import type { Program } from "./programs.ts";

export interface CastOptions {
  /** What the member of this number runs. */
  command(member: number): Promise<Program>;
  /** Takes each whole line that a member prints. */
  hear(member: number, line: string): void;
  fault(fault: string): void;
  /** Whether the programs say "left" at their end. */
  readonly tellsLeaving: boolean;
  readonly pauseMs: number;
}

/** A member that is asked to end does so within this, also when the broker is being started again. */
const leaveMs = 45_000;
const startMs = 4_000;
/** A Java process ends with 128 + SIGTERM when it is asked to end. */
const javaTerminated = 143;

interface Actor {
  readonly running: Running;
  /** Its last whole line. */
  readonly last: () => string;
}

/** The members that joined. */
export class Cast {
  readonly #options: CastOptions;
  readonly #running = new Map<number, Actor>();
  readonly #leaving: Promise<void>[] = [];
  readonly #resuming: Promise<void>[] = [];

  constructor(options: CastOptions) {
    this.#options = options;
  }

  get isWorking(): boolean {
    return this.#running.size > 0;
  }

  /** Waits until the member says something, so that the story is about members that work. */
  async join(member: number): Promise<void> {
    const { command, env } = await this.#options.command(member);
    const [program, ...args] = command;
    let rest = "";
    let last = "";
    let said = (): void => undefined;
    const heard = new Promise<void>((resolve) => {
      said = resolve;
    });
    const running = start(program, args, {
      ...(env === undefined ? {} : { env }),
      onBytes: (bytes) => {
        said();
        const lines = (rest + bytes.toString()).split("\n");
        // Who is killed may leave half a line.
        rest = lines.pop() ?? "";
        for (const line of lines) this.#options.hear(member, line);
        last = lines.at(-1) ?? last;
      },
    });
    this.#running.set(member, { running, last: () => last });
    void running.ended.then(
      ({ code, signal, stderr }) => {
        // Whoever left or was killed is not among them any more.
        if (!this.#running.delete(member)) return;
        this.#options.fault(
          `member ${member} ended by itself with ${code ?? signal}: ${last} ${stderr.slice(-1500)}`,
        );
      },
      (cause: unknown) => this.#options.fault(`member ${member} did not start: ${String(cause)}`),
    );
    await Promise.race([heard, running.ended, sleep(startMs)]);
  }

  leave(member: number): void {
    const actor = this.#part(member);
    if (actor === undefined) return;
    const { running, last } = actor;
    running.signal("SIGTERM");
    const late = setTimeout(() => running.signal("SIGKILL"), leaveMs);
    const left = running.ended.then(({ code, signal, stderr }) => {
      clearTimeout(late);
      // It was asked before it could listen to that.
      if ((signal === "SIGTERM" || code === javaTerminated) && last() === "") return;
      const isWell = code === 0 || code === javaTerminated;
      if (isWell && (!this.#options.tellsLeaving || last() === "left")) return;
      this.#options.fault(
        `member ${member} was asked to leave and ended with ${code ?? signal}: ${stderr.slice(-1500)}`,
      );
    });
    this.#leaving.push(left);
  }

  kill(member: number): void {
    this.#part(member)?.running.signal("SIGKILL");
  }

  pause(member: number): void {
    const running = this.#running.get(member)?.running;
    if (running === undefined) return;
    running.signal("SIGSTOP");
    this.#resuming.push(sleep(this.#options.pauseMs).then(() => running.signal("SIGCONT")));
  }

  /** All that were stopped run again. */
  async resumed(): Promise<void> {
    await Promise.all(this.#resuming);
  }

  /** Asks all to leave and waits for those that did before, too. */
  async end(): Promise<void> {
    for (const member of this.#running.keys()) this.leave(member);
    await Promise.all(this.#leaving);
  }

  /** Nobody outlives a play that failed. */
  dismiss(): void {
    for (const member of this.#running.keys()) this.#part(member)?.running.signal("SIGKILL");
  }

  #part(member: number): Actor | undefined {
    const actor = this.#running.get(member);
    this.#running.delete(member);
    return actor;
  }
}
