/**
 * What a worker of a share group is told (see ../share-members.ts), and what it tells: each line is out before what
 * it is about goes on.
 */
import { tell } from "./membership.ts";

interface Place {
  readonly partition: number;
  readonly offset: number;
}

interface Given extends Place {
  readonly deliveryCount: number;
  readonly value: Buffer | null;
}

export type Word = "accept" | "release" | "reject";

const answers = { accept: "accepted", release: "released", reject: "rejected" } as const;
/** Of so many records one is released when it comes for the first time. */
const releasedEvery = 23;

export class ShareWork {
  readonly address: string;
  readonly topic: string;
  readonly group: string;
  readonly isExplicit: boolean;
  /** Resolves when the member is asked to leave. */
  readonly ending: Promise<void>;
  /** Answers that were not told yet; they are about what is over, so that they may leave together. */
  #waiting: string[] = [];

  constructor([address = "", topic = "", group = "", mode]: readonly string[]) {
    this.address = address;
    this.topic = topic;
    this.group = group;
    this.isExplicit = mode === "explicit";
    this.ending = new Promise((resolve) => process.once("SIGTERM", () => resolve()));
  }

  /** What is to be said of it; it is told already. Does not return for what is deadly. */
  got({ partition, offset, deliveryCount, value }: Given): Word {
    const text = String(value);
    const got = `got ${Date.now()} ${partition} ${offset} ${deliveryCount} ${text}`;
    if (text.endsWith("!deadly")) {
      tell(`${got}\ndies ${partition} ${offset}`);
      process.kill(process.pid, "SIGKILL");
    }
    const isReleased = deliveryCount === 1 && offset % releasedEvery === 0;
    const word = text.endsWith("!rejected") ? "reject" : isReleased ? "release" : "accept";
    tell(word === "accept" ? `${got}\naccepts ${partition} ${offset}` : got);
    return word;
  }

  answered(word: Word, { partition, offset }: Place): void {
    this.#tellSoon(`${answers[word]} ${Date.now()} ${partition} ${offset}`);
  }

  refused({ partition, offset }: Place, why: "state" | "unknown", reason: string): void {
    this.#tellSoon(`refused ${Date.now()} ${partition} ${offset} ${why}`);
    this.#tellSoon(`why ${reason.replaceAll(/\s+/g, " ")}`);
  }

  left(): void {
    this.#tellWaiting();
    tell("left");
  }

  #tellSoon(line: string): void {
    if (this.#waiting.length === 0) setImmediate(() => this.#tellWaiting());
    this.#waiting.push(line);
  }

  #tellWaiting(): void {
    if (this.#waiting.length > 0) tell(this.#waiting.splice(0).join("\n"));
  }
}
