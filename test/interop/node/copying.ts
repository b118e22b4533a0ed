/** What a copier is told (see ../copiers.ts), and what it tells. */
import { tell } from "./membership.ts";

export class Copying {
  readonly address: string;
  readonly input: string;
  readonly output: string;
  readonly group: string;
  /** classic, cooperative or consumer (KIP-848). */
  readonly protocol: string;
  readonly transactionalId: string;
  readonly sessionMs: number;
  readonly timeoutMs: number;
  readonly lot: number;
  readonly pauseMs: number;
  /** Resolves when the copier is asked to leave. */
  readonly ending: Promise<void>;
  isEnding = false;
  readonly #abortsEvery: number;
  #transactions = 0;

  constructor(words: ReadonlyMap<string, string>) {
    const text = (name: string): string => words.get(name) ?? "";
    const number = (name: string): number => Number(words.get(name));
    this.address = text("address");
    this.input = text("input");
    this.output = text("output");
    this.group = text("group");
    this.protocol = text("protocol");
    this.transactionalId = text("transactional-id");
    this.sessionMs = number("session-ms");
    this.timeoutMs = number("timeout-ms");
    this.lot = number("lot");
    this.pauseMs = number("pause-ms");
    this.#abortsEvery = number("aborts-every");
    this.ending = new Promise((resolve) => {
      process.once("SIGTERM", () => {
        this.isEnding = true;
        resolve();
      });
    });
  }

  /** Whether the next transaction is aborted on purpose. */
  aborts(): boolean {
    this.#transactions += 1;
    return this.#transactions % this.#abortsEvery === 0;
  }

  /** `ends`: where each partition goes on. */
  committed(count: number, ends: ReadonlyMap<number, number>): void {
    tell(["committed", count, ...[...ends].flat()].join(" "));
  }

  aborted(count: number): void {
    tell(`aborted ${count}`);
  }

  refused(reason: unknown): void {
    tell(`refused ${String(reason).replaceAll(/\s+/g, " ")}`);
  }

  left(): void {
    tell("left");
  }
}

/** Reads arguments of the form NAME=VALUE. */
export function named(args: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    args.map((arg) => [arg.slice(0, arg.indexOf("=")), arg.slice(arg.indexOf("=") + 1)] as const),
  );
}
