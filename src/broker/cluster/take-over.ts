/**
 * Ends an epoch whose process is gone, or is believed to be (P3): FENCE in the journal, which freezes what it
 * released and voids what it still sends; SEAL, which makes its WAL end somewhere; RECOVER, which fixes that
 * end for ever and names new owners. In this order: a seal before the fence could meet a slot that was deleted
 * and made anew. Any number of brokers may do this at once, and stop at any step; a suspicion that was wrong
 * costs a restart of the suspect, never a record.
 */
import { HoldfastError } from "../../base/errors.ts";
import { type BrokerEpoch, walPosition } from "../../base/ids.ts";
import { type Env, type Histogram, type ObjectStore, sleep } from "../../base/ports.ts";
import { type DeadWal, readSealed, sealWal, SlotMissingError } from "../../log/object-wal-seal.ts";
import { assignDead } from "../../metadata/assignment.ts";
import type { Journal } from "../../metadata/journal.ts";
import { isLive } from "../../metadata/state.ts";
import type { Ownership } from "./ownership.ts";
import { ReadOnce } from "./read-once.ts";

export interface TakeOverOptions {
  readonly env: Env;
  readonly store: ObjectStore;
  readonly journal: Journal;
  readonly ownership: Pick<Ownership, "remember" | "forget">;
  /** Who may be given partitions, ourselves included. */
  readonly answering: () => ReadonlySet<BrokerEpoch>;
  readonly onFailure: (cause: Error) => void;
}

/** How much later the next live broker begins to end an epoch that everybody sees fenced. */
const staggerMs = 300;
const storeRetryMs = 500;
/** Until a take-over whose slots are missing looks again. */
const missingRetryMs = 5_000;

export class TakeOver {
  readonly #options: TakeOverOptions;
  /** Under way, by epoch. */
  readonly #running = new Map<BrokerEpoch, Promise<void>>();
  /** What those have read. */
  readonly #reading = new Map<BrokerEpoch, ReadOnce>();
  readonly #tookMs: Histogram;
  #unfollow: () => void = () => undefined;
  #closed = false;

  constructor(options: TakeOverOptions) {
    this.#options = options;
    this.#tookMs = options.env.meter.histogram(
      "holdfast_cluster_takeover_ms",
      "From the fence of a dead broker's epoch to its end in the journal",
      [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000],
    );
  }

  /** Ends what others fenced and did not end, from now on. */
  start(): void {
    const { journal } = this.#options;
    this.#unfollow = journal.onApplied((event) => {
      if (event.kind === "reloaded") return this.#endFenced(null);
      if (event.commands.some(({ command }) => command.kind === "fence")) this.#endFenced(event.author);
    });
    this.#endFenced(null);
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#unfollow();
    await Promise.all(this.#running.values());
  }

  /** The epoch is believed to be dead. */
  begin(epoch: BrokerEpoch): void {
    this.#run(epoch, 0);
  }

  /** `by`: who fenced somebody just now, and ends him; who has fenced himself leaves that to others. */
  #endFenced(by: BrokerEpoch | null): void {
    const { journal } = this.#options;
    const { brokers } = journal.state;
    let rank = by !== null && by !== journal.epoch && isLive(journal.state, by) ? 1 : 0;
    for (const broker of brokers.values()) {
      if (broker.status === "live" && broker.epoch < (journal.epoch as BrokerEpoch)) rank++;
    }
    for (const { epoch, status } of brokers.values()) {
      if (status === "fenced" && epoch !== journal.epoch) this.#run(epoch, rank * staggerMs);
    }
  }

  #run(epoch: BrokerEpoch, delayMs: number): void {
    if (this.#closed || this.#running.has(epoch)) return;
    const running = this.#end(epoch, delayMs)
      .catch((cause: unknown) => {
        if (!this.#closed) this.#options.onFailure(cause as Error);
      })
      .finally(() => {
        this.#running.delete(epoch);
        this.#reading.delete(epoch);
        this.#options.ownership.forget(epoch);
      });
    this.#running.set(epoch, running);
  }

  async #end(epoch: BrokerEpoch, delayMs: number): Promise<void> {
    const { env, journal } = this.#options;
    if (delayMs > 0) await sleep(env.clock, delayMs);
    const begunMs = env.clock.monotonicMs();
    while (!this.#closed && this.#isOpen(epoch) && isLive(journal.state, this.#own)) {
      if (!(await this.#tryToEnd(epoch))) continue;
      const tookMs = env.clock.monotonicMs() - begunMs;
      this.#tookMs.observe(tookMs);
      env.log.info("takeover.done", { epoch, tookMs: Math.round(tookMs) });
    }
  }

  #isOpen(epoch: BrokerEpoch): boolean {
    const status = this.#statusOf(epoch);
    return status === "live" || status === "fenced";
  }

  /** Whether our RECOVER was the one that counts. A store that is full takes no command, and is asked again. */
  async #tryToEnd(epoch: BrokerEpoch): Promise<boolean> {
    const { env, journal, store } = this.#options;
    const reading = new ReadOnce(store);
    this.#reading.set(epoch, reading);
    // Beside the fence, and as of before it: what is released meanwhile is not looked at.
    reading.readAhead(epoch, journal.state.brokers.get(epoch)?.released ?? walPosition(0));
    try {
      if (this.#statusOf(epoch) === "live") await journal.append({ kind: "fence", epoch });
      return this.#statusOf(epoch) === "fenced" && (await this.#sealAndRecord(epoch));
    } catch (cause) {
      if (!(cause instanceof HoldfastError) || !cause.retriable) throw cause;
      env.log.warn("takeover.retried", { epoch, cause: cause.message });
      await sleep(env.clock, storeRetryMs);
      return false;
    }
  }

  async #sealAndRecord(epoch: BrokerEpoch): Promise<boolean> {
    const { env, journal, ownership, answering } = this.#options;
    const broker = journal.state.brokers.get(epoch);
    const reading = this.#reading.get(epoch);
    if (broker === undefined || reading === undefined) return false;
    const { released } = broker;
    const { clusterId } = journal.state;
    const wal: DeadWal = { store: reading.store, ports: env, clusterId, epoch, released };
    const end = await sealWal(wal, await reading.highest);
    const dead = await readSealed(wal, released, end).catch((cause: unknown) =>
      this.#afterMissing(epoch, cause),
    );
    if (dead === null) return false;
    for (const report of dead.reports) env.log.warn("recovery.report", { epoch, ...report });
    ownership.remember(epoch, released, dead);
    const outcome = await journal.append({
      kind: "recover",
      epoch,
      end,
      assignment: assignDead(journal.state, epoch, answering()),
      holes: dead.holes,
      jumped: dead.jumped,
      hash: new Uint8Array(0),
    });
    return outcome.kind === "applied";
  }

  /** Deleted, because somebody else recorded the end and all of it is in segments; or lost. */
  async #afterMissing(epoch: BrokerEpoch, cause: unknown): Promise<null> {
    if (!(cause instanceof SlotMissingError)) throw cause;
    const { journal, env } = this.#options;
    await journal.catchUp();
    if (this.#statusOf(epoch) !== "fenced") return null;
    env.log.error(
      "takeover.unreadable: acknowledged records are missing in the store; put the objects back from a copy of the bucket",
      { epoch, cause: cause.message },
    );
    await sleep(env.clock, missingRetryMs);
    return null;
  }

  #statusOf(epoch: BrokerEpoch): "live" | "fenced" | "sealed" | undefined {
    return this.#options.journal.state.brokers.get(epoch)?.status;
  }

  get #own(): BrokerEpoch {
    return this.#options.journal.epoch as BrokerEpoch;
  }
}
