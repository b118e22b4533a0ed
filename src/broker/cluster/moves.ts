/**
 * Gives partitions of this broker to others without a seal (P5): what a drain, an admin or the balance of the
 * cluster asks for. Appends of the partitions stop, everything appended becomes durable, then MOVE names the
 * position in our WAL up to which their records lie. Until its outcome is known nothing is appended to them: a
 * record behind that position would be acknowledged and read by nobody. Other partitions do not notice.
 */
import { HoldfastError } from "../../base/errors.ts";
import type { BrokerEpoch } from "../../base/ids.ts";
import { type Counter, type Env, sleep, type Timer, within } from "../../base/ports.ts";
import type { Flusher } from "../../log/flush.ts";
import type { Partition } from "../../log/partition.ts";
import type { Partitions } from "../../log/partitions.ts";
import type { Wal } from "../../log/wal.ts";
import { type PlannedMove, planMoves } from "../../metadata/assignment.ts";
import { levelNeeded } from "../../metadata/commands.ts";
import type { Journal } from "../../metadata/journal.ts";
import { isLive } from "../../metadata/state.ts";

export interface MovesOptions {
  readonly env: Env;
  readonly journal: Journal;
  readonly partitions: Partitions;
  readonly wal: Wal;
  readonly flusher: Pick<Flusher, "flush" | "exclusive">;
  /** Who may be given partitions, ourselves included. */
  readonly answering: () => ReadonlySet<BrokerEpoch>;
  readonly onFailure: (cause: Error) => void;
}

/** How long appends stop for what was appended before to become durable. */
const durableMsMax = 2_000;
/** Partitions whose appends stop together. */
const movesAtOnce = 100;
/** How often the balance is looked at. */
const lookMs = 1_000;
/** A broker that began a moment ago may not have been seen by all, and one that answers again may go again. */
const settlingMs = 3_000;
/** A drain that gets nobody to take the rest ends: the rest is taken over. */
const drainMsMax = 30_000;
const drainPauseMs = 100;

export class Moves {
  readonly #options: MovesOptions;
  readonly #moved: Counter;
  #timer: Timer | null = null;
  #running: Promise<unknown> = Promise.resolve();
  #open = 0;
  #closed = false;
  /** As of the last look, and since when it is so. */
  #answering = "";
  #sinceMs = 0;

  constructor(options: MovesOptions) {
    this.#options = options;
    this.#moved = options.env.meter.counter(
      "holdfast_cluster_moved_partitions_total",
      "Partitions that this broker gave to another one by a planned move",
    );
  }

  /** Whether a MOVE is proposed whose outcome is not known: then an own slot proves nothing about its partition. */
  get isOpen(): boolean {
    return this.#open > 0;
  }

  start(): void {
    this.#arm();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#running;
  }

  /** Gives everything away before a planned stop, as far as somebody is there to take it. */
  async drain(): Promise<void> {
    const { env, journal, flusher } = this.#options;
    const { epoch } = journal;
    if (epoch === null || !isLive(journal.state, epoch)) return;
    await journal.append({ kind: "drain", epoch });
    // So that there is almost nothing to load for the new owners.
    await flusher.flush().catch(() => undefined);
    const endMs = env.clock.monotonicMs() + drainMsMax;
    while (env.clock.monotonicMs() < endMs) {
      const planned = this.#plan();
      if (planned.length === 0) return;
      const moved = await this.#runSerially(planned);
      if (moved === 0) await sleep(env.clock, drainPauseMs);
    }
  }

  #arm(): void {
    if (this.#closed) return;
    this.#timer = this.#options.env.clock.schedule(lookMs, () => {
      const planned = this.#isSettled() ? this.#plan() : [];
      if (planned.length === 0) return this.#arm();
      this.#runSerially(planned).then(
        () => this.#arm(),
        (cause: unknown) => {
          if (!this.#closed) this.#options.onFailure(cause as Error);
        },
      );
    });
  }

  #isSettled(): boolean {
    const nowMs = this.#options.env.clock.monotonicMs();
    const answering = Array.from(this.#options.answering())
      .sort((a, b) => a - b)
      .join();
    if (answering !== this.#answering) {
      this.#answering = answering;
      this.#sinceMs = nowMs;
    }
    return nowMs - this.#sinceMs >= settlingMs;
  }

  #plan(): readonly PlannedMove[] {
    const { journal, answering } = this.#options;
    const { state, epoch } = journal;
    if (epoch === null || !isLive(state, epoch)) return [];
    // A MOVE would be void, and appends would have stopped for it.
    if (state.level < levelNeeded("move")) return [];
    return planMoves(state, answering(), epoch, movesAtOnce);
  }

  #runSerially(planned: readonly PlannedMove[]): Promise<number> {
    const run = this.#running.then(() => this.#options.flusher.exclusive(() => this.#move(planned)));
    this.#running = run.catch(() => undefined);
    return run;
  }

  /** While no flush runs: one that had collected a row of a partition before it went would be void as a whole. */
  async #move(planned: readonly PlannedMove[]): Promise<number> {
    const { journal, wal, partitions, env } = this.#options;
    const moving: { readonly partition: Partition; readonly to: BrokerEpoch }[] = [];
    for (const { topicId, partition: index, to } of planned) {
      const partition = partitions.get(topicId, index);
      if (partition?.takesAppends === true) moving.push({ partition, to });
    }
    if (moving.length === 0) return 0;
    const begunMs = env.clock.monotonicMs();
    this.#open++;
    // When something here throws, log or journal is closed: the outcome is unknown, and nothing is resumed.
    for (const { partition } of moving) partitions.pause(partition);
    if (!(await this.#whenDurable(wal.appended))) {
      this.#open--;
      for (const { partition } of moving) if (this.#stays(partition)) partitions.resume(partition);
      return 0;
    }
    const end = wal.durablePosition;
    const outcomes = await Promise.all(
      moving.map(({ partition: { topicId, partition, leaderEpoch }, to }) =>
        journal.append({ kind: "move", topicId, partition, leaderEpoch, to, end }).catch(notTaken),
      ),
    );
    this.#open--;
    for (const { partition } of moving) if (this.#stays(partition)) partitions.resume(partition);
    const moved = outcomes.filter(({ kind }) => kind === "applied").length;
    this.#moved.add(moved);
    const tookMs = Math.round(env.clock.monotonicMs() - begunMs);
    env.log.info("partitions.moved", { partitions: moved, of: moving.length, tookMs });
    return moved;
  }

  /** False: it takes too long. The log may be full of slots that only a flush releases, and no flush runs meanwhile. */
  #whenDurable(number: number): Promise<boolean> {
    const { wal, env } = this.#options;
    const durable = wal.whenDurable(number).then(() => true);
    return within(env.clock, durableMsMax, durable, () => false);
  }

  /** Whether a MOVE that did not hold left it with us. */
  #stays(partition: Partition): boolean {
    const { journal } = this.#options;
    if (partition.isClosed) return false;
    const state = journal.state.topics.get(partition.topicId)?.partitions[partition.partition];
    return state?.owner === journal.epoch && state?.leaderEpoch === partition.leaderEpoch;
  }
}

/** A store that is full took no command: the partition stays, and the next plan has it again. */
function notTaken(cause: unknown): { readonly kind: "refused" } {
  if (cause instanceof HoldfastError && cause.retriable) return { kind: "refused" };
  throw cause;
}
