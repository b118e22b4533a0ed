/**
 * What a member of a group is told (see ../members.ts), and what it tells: each line is out before what it is
 * about goes on.
 */
import { writeSync } from "node:fs";

export class Membership {
  readonly address: string;
  readonly topic: string;
  readonly group: string;
  /** classic, cooperative or consumer (KIP-848). */
  readonly protocol: string;
  readonly commitsAsync: boolean;
  readonly sessionMs: number;
  /** Resolves when the member is asked to leave. */
  readonly ending: Promise<void>;
  isEnding = false;

  constructor([address = "", topic = "", group = "", protocol = "", commits, sessionMs]: readonly string[]) {
    this.address = address;
    this.topic = topic;
    this.group = group;
    this.protocol = protocol;
    this.commitsAsync = commits === "async";
    this.sessionMs = Number(sessionMs);
    this.ending = new Promise((resolve) => {
      process.once("SIGTERM", () => {
        this.isEnding = true;
        resolve();
      });
    });
  }

  /** All partitions that the member has in a generation; undefined: the client does not tell it. */
  owns(generation: number | undefined, partitions: Iterable<number>): void {
    tell(["owns", generation ?? "-", ...[...partitions].toSorted((a, b) => a - b)].join(" "));
  }

  did(
    partition: number,
    records: readonly { readonly offset: number; readonly value: Buffer | null }[],
  ): void {
    if (records.length === 0) return;
    tell(records.map(({ offset, value }) => `did ${partition} ${offset} ${String(value)}`).join("\n"));
  }

  committed(partition: number, offset: number): void {
    tell(`committed ${partition} ${offset}`);
  }

  refused(reason: unknown): void {
    tell(`refused ${String(reason).replaceAll(/\s+/g, " ")}`);
  }

  left(): void {
    tell("left");
  }
}

/** Written to the pipe when it returns, unlike with `console.log`. */
export function tell(lines: string): void {
  let bytes = Buffer.from(`${lines}\n`);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(1, bytes));
    } catch (fault) {
      if ((fault as NodeJS.ErrnoException).code !== "EAGAIN") throw fault;
    }
  }
}
