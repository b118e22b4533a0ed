/**
 * Which ids were claimed and which are done, as a topic has them: a window of the newest. It reads the topic twice: all that is
 * there, to see claims as they come, and what is committed, to see which of them count. Claims of one id have to have an
 * order, and whoever makes one has to find those of others: so all are in one partition, however many the topic gets.
 */
import type { Cluster } from "../cluster.ts";
import { Consumer } from "../consumer.ts";
import { DeadlineError } from "../errors.ts";
import type { IncomingRecord } from "../incoming-record.ts";
import { sleep } from "../../base/ports.ts";

interface Known {
  /** Offsets of claims, whatever became of them. */
  readonly claims: number[];
  /** Of the first claim that was committed. */
  doneAt: number | undefined;
}

/** Of claims. Chosen by the id, it would be another one when the topic gains partitions. */
export const claimPartition = 0;

/** Between two looks at how far committed records were read. */
const lookMs = 20;

export class DoneWindow {
  readonly #cluster: Cluster;
  readonly #idsMax: number;
  readonly #claimed: Consumer;
  readonly #committed: Consumer;
  /** The oldest first. */
  readonly #known = new Map<string, Known>();
  /** By the offset of the claim that each waits for. */
  readonly #waiters = new Map<number, () => void>();
  /** Highest offset that was learnt; −1: none. */
  #learnt = -1;
  #failure: Error | undefined = undefined;

  constructor(cluster: Cluster, topic: string, window: { readonly idsMax: number; readonly ms: number }) {
    this.#cluster = cluster;
    this.#idsMax = window.idsMax;
    const from = { timeMs: Math.max(0, Math.floor(cluster.settings.clock.wallMs() - window.ms)) };
    const place = { topic, partitions: [claimPartition], from, onLostPosition: "start" } as const;
    this.#claimed = new Consumer(cluster, { ...place, isolation: "uncommitted" });
    this.#committed = new Consumer(cluster, place);
  }

  /** Resolves when it is known where the window begins. */
  async start(): Promise<void> {
    await Promise.all([this.#claimed.ready(), this.#committed.ready()]);
    void this.#follow(this.#claimed, (record) => this.#learnClaim(record));
    void this.#follow(this.#committed, (record) => {
      const known = this.#of(String(record.key));
      known.doneAt = Math.min(known.doneAt ?? record.offset, record.offset);
    });
  }

  isDone(id: string): boolean {
    return this.#known.get(id)?.doneAt !== undefined;
  }

  /** It cannot go on: the topic is gone, or cannot be read. */
  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  /**
   * Whether somebody else's claim that came before this one, at offset `claim`, counts. Waits until that is decided.
   * Rejects with `DeadlineError` after `limitMs`.
   */
  async isTaken(id: string, claim: number, limitMs: number): Promise<boolean> {
    const endMs = this.#nowMs + limitMs;
    await this.#reach(claim, endMs);
    const earlier = (this.#known.get(id)?.claims ?? []).filter((at) => at < claim);
    if (earlier.length === 0) return false;
    const last = Math.max(...earlier);
    while (this.#committedTo <= last) {
      this.#check(endMs);
      await sleep(this.#cluster.settings.clock, lookMs);
    }
    const doneAt = this.#known.get(id)?.doneAt;
    return doneAt !== undefined && doneAt < claim;
  }

  async close(): Promise<void> {
    await Promise.all([this.#claimed.close(), this.#committed.close()]);
  }

  async #reach(claim: number, endMs: number): Promise<void> {
    const { clock } = this.#cluster.settings;
    while (this.#learnt < claim) {
      this.#check(endMs);
      const learnt = Promise.withResolvers<void>();
      const timer = clock.schedule(Math.max(1, endMs - this.#nowMs), learnt.resolve);
      this.#waiters.set(claim, learnt.resolve);
      await learnt.promise;
      timer.cancel();
      this.#waiters.delete(claim);
    }
  }

  #check(endMs: number): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#nowMs >= endMs) {
      throw new DeadlineError("it was not decided in time whether the message is done already");
    }
  }

  get #committedTo(): number {
    return this.#committed.position({ partition: claimPartition }) ?? -1;
  }

  #learnClaim({ key, offset }: IncomingRecord): void {
    const { claims } = this.#of(String(key));
    claims.push(offset);
    this.#learnt = offset;
    this.#waiters.get(offset)?.();
  }

  #of(id: string): Known {
    let known = this.#known.get(id);
    if (known === undefined) {
      known = { claims: [], doneAt: undefined };
      this.#known.set(id, known);
      const [oldest] = this.#known.keys();
      if (this.#known.size > this.#idsMax && oldest !== undefined) this.#known.delete(oldest);
    }
    return known;
  }

  async #follow(consumer: Consumer, learn: (record: IncomingRecord) => void): Promise<void> {
    try {
      for await (const record of consumer) learn(record);
    } catch (cause) {
      this.#failure = cause as Error;
      for (const wake of this.#waiters.values()) wake();
    }
  }

  get #nowMs(): number {
    return this.#cluster.settings.clock.monotonicMs();
  }
}
