/**
 * The second phase of transactions: once the intention is a record, a marker in every partition that takes
 * part, then the record of completion.
 *
 * Partitions of this broker and the intention lie in one WAL, of which a crash leaves a beginning and never a
 * later part alone. So its order does what waiting would do: no marker stays without its intention, and no
 * completion without its markers, though all of them leave in one frame (I4). Of the WAL of another broker this
 * order says nothing. So the intention is durable before a marker leaves for it (I1), and completion is written
 * when each such marker is acknowledged, which it is once it is durable there.
 *
 * What a crash or a move cuts off is driven again by whoever reads the intention next, in a higher coordinator
 * epoch. A marker is asked for until it is there, or its topic is gone, or the shard is not here any more.
 */
import type { BrokerEpoch } from "../../base/ids.ts";
import type { Env, Timer } from "../../base/ports.ts";
import type { ShardRuntime } from "../../coordinator/runtime.ts";
import type { TransactionRecord } from "../../coordinator/transaction/records.ts";
import type { PreparedTransaction, TransactionShard } from "../../coordinator/transaction/shard.ts";
import type { TransactionPartition } from "../../coordinator/transaction/transaction.ts";
import type { Partitions } from "../../log/partitions.ts";
import type { Wal } from "../../log/wal.ts";
import type { Markers } from "./markers.ts";
import type { RemoteMarkers } from "./remote-markers.ts";

export type TransactionRuntime = ShardRuntime<TransactionShard, TransactionRecord>;

export interface DriverOptions {
  readonly env: Pick<Env, "clock" | "log">;
  readonly partitions: Partitions;
  readonly wal: Wal;
  readonly markers: Markers;
  readonly remote: RemoteMarkers;
  /** Markers that one step writes or asks for: the loop is not held for a transaction over thousands of partitions. */
  readonly markersAtOnce: number;
  readonly isOver: () => boolean;
  readonly onFailure: (cause: Error) => void;
}

/** Partitions that move, or whose owner died, are looked for again after so long, and then ever later. */
const retryMsMin = 50;
const retryMsMax = 1_000;
/** After so many tries in a row, some ten seconds, an operator is told. */
const triesTold = 15;

/** One transaction on its way to completion. */
interface Run {
  readonly runtime: TransactionRuntime;
  readonly transaction: PreparedTransaction;
  /** Nobody has looked at them since they were last known to be without a marker. */
  left: readonly TransactionPartition[];
  /** Steps, requests to others and waits that are under way: each looks again whether everything is marked. */
  underWay: number;
  /** Times in a row that a marker could not be written. */
  tries: number;
}

export class Driver {
  readonly #options: DriverOptions;
  /** By transactional id; those that one step does not bring to their end. */
  readonly #runs = new Map<string, Run>();
  readonly #timers = new Set<Timer>();

  constructor(options: DriverOptions) {
    this.#options = options;
  }

  /** Transactions whose markers one step did not bring to their end. */
  get count(): number {
    return this.#runs.size;
  }

  /** After a decision, in the same step: ends what it wants ended. */
  drive(runtime: TransactionRuntime): void {
    if (this.#options.isOver() || !runtime.isOpen) return;
    for (const transaction of runtime.shard.prepared()) {
      // Of a shard that was given up and read again the run is another one.
      if (this.#runs.get(transaction.transactionalId)?.runtime === runtime) continue;
      const run = { runtime, transaction, left: placesOf(transaction), underWay: 0, tries: 0 };
      this.#runs.set(transaction.transactionalId, run);
      this.#step(run);
    }
  }

  /** Whether the run still decides anything: its shard may be somebody else's by now. */
  #isCurrent(run: Run): boolean {
    const { transactionalId: id } = run.transaction;
    if (this.#options.isOver() || this.#runs.get(id) !== run) return false;
    if (run.runtime.isOpen) return true;
    this.#runs.delete(id);
    return false;
  }

  /** Synchronous. */
  #step(run: Run): void {
    const { partitions, markers, markersAtOnce } = this.#options;
    const away = new Map<BrokerEpoch, TransactionPartition[]>();
    const between: TransactionPartition[] = [];
    const session = partitions.begin();
    for (const place of run.left.slice(0, markersAtOnce)) {
      const marked = markers.mark(place, run.transaction, session);
      if (marked.kind === "away") {
        const known = away.get(marked.owner);
        if (known === undefined) away.set(marked.owner, [place]);
        else known.push(place);
      } else if (marked.kind === "between") {
        between.push(place);
      } else if (marked.kind !== "gone" && marked.kind !== "marked") {
        // Somebody ended it there by hand, or with a later epoch: nothing of it is open any more.
        const { transactionalId, producerId, producerEpoch } = run.transaction;
        const facts = { transactionalId, producerId, producerEpoch, ...place, why: marked.kind };
        this.#options.env.log.warn("transaction.marker-refused", facts);
      }
    }
    session.commit();
    run.left = run.left.slice(markersAtOnce);
    for (const [owner, places] of away) this.#under(run, this.#ask(run, owner, places));
    if (between.length > 0) this.#retry(run, between);
    if (run.left.length > 0) this.#under(run, this.#whenDurable());
    else this.#look(run);
  }

  /** Everything is looked at: completes what has all its markers. */
  #look(run: Run): void {
    if (run.underWay > 0) return;
    const { transactionalId: id } = run.transaction;
    this.#runs.delete(id);
    // Nobody waits for it: if the log closes meanwhile, whoever reads the intention next drives it again.
    run.runtime.run((shard, turn) => shard.completed(turn, id)).catch(() => undefined);
  }

  /** Goes on when `doing` is done, if that still makes sense. */
  #under(run: Run, doing: Promise<unknown>): void {
    run.underWay++;
    doing
      .then(() => {
        run.underWay--;
        if (!this.#isCurrent(run)) return;
        if (run.left.length > 0) this.#step(run);
        else this.#look(run);
      })
      .catch((cause: unknown) => {
        if (!this.#options.isOver()) this.#options.onFailure(cause as Error);
      });
  }

  async #ask(run: Run, owner: BrokerEpoch, places: readonly TransactionPartition[]): Promise<void> {
    // Before it leaves, the intention is durable: it lies below what is appended now.
    await this.#whenDurable();
    if (!this.#isCurrent(run)) return;
    const left = await this.#options.remote.write(owner, run.transaction, places);
    if (left.length === 0) run.tries = 0;
    else this.#retry(run, left);
  }

  #retry(run: Run, places: readonly TransactionPartition[]): void {
    const delayMs = Math.min(retryMsMin * 2 ** run.tries, retryMsMax);
    run.tries++;
    if (run.tries === triesTold) {
      const { transactionalId, outcome } = run.transaction;
      const [first] = places;
      const facts = { transactionalId, outcome, waitingFor: places.length, ...first };
      this.#options.env.log.warn("transaction.markers-waiting", facts);
    }
    this.#under(
      run,
      this.#wait(delayMs).then(() => {
        run.left = [...run.left, ...places];
      }),
    );
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.env.clock.schedule(delayMs, () => {
        this.#timers.delete(timer);
        resolve();
      });
      this.#timers.add(timer);
    });
  }

  async #whenDurable(): Promise<void> {
    const { wal } = this.#options;
    if (wal.appended > wal.durable) await wal.whenDurable(wal.appended);
  }

  /** The broker stops: whoever reads the intentions next goes on. */
  close(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    this.#runs.clear();
  }
}

function placesOf({ topics }: PreparedTransaction): readonly TransactionPartition[] {
  return topics.flatMap(({ topic, partitionIds }) => partitionIds.map((partition) => ({ topic, partition })));
}
