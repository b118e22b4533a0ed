/**
 * This broker as a member of a cluster: its peers, the barrier, what it owns, whom it takes over from and to
 * whom it gives. Put together here, begun and ended in the order that loses nothing.
 */
import type { BrokerEpoch, NodeId } from "../../base/ids.ts";
import { type Env, type Sha256, sleep } from "../../base/ports.ts";
import type { Flusher } from "../../log/flush.ts";
import type { Partitions } from "../../log/partitions.ts";
import type { SegmentIndex } from "../../log/segment-index.ts";
import type { ObjectWal } from "../../log/object-wal.ts";
import type { Journal } from "../../metadata/journal.ts";
import { isLive } from "../../metadata/state.ts";
import type { ObjectStorage } from "../storage.ts";
import type { Topics } from "../topics.ts";
import { StoreBarrier } from "./barrier.ts";
import type { Cluster } from "./cluster.ts";
import { Moves } from "./moves.ts";
import { Ownership } from "./ownership.ts";
import { PeerRoom } from "./peers.ts";
import { TakeOver } from "./take-over.ts";

export interface MemberOptions {
  readonly env: Env;
  readonly storage: ObjectStorage;
  readonly name: string;
  readonly nodeId: NodeId;
  readonly epoch: BrokerEpoch;
  readonly suspicionMs: number;
  readonly journal: Journal;
  readonly wal: ObjectWal;
  readonly partitions: Partitions;
  readonly topics: Topics;
  readonly index: SegmentIndex;
  readonly flusher: Flusher;
  readonly sha256: Sha256;
  readonly onFailure: (cause: Error) => void;
}

/** How often somebody who waits for the cluster to serve looks again. */
const lookMs = 20;

export class Member {
  readonly cluster: Cluster;
  readonly #options: MemberOptions;
  readonly #peers: PeerRoom;
  readonly #ownership: Ownership;
  readonly #takeOver: TakeOver;
  readonly #moves: Moves;
  readonly #barrier: StoreBarrier;
  #isLeaving = false;

  private constructor(options: MemberOptions, peers: PeerRoom) {
    const { env, journal, wal, partitions, topics, index, flusher, storage, epoch } = options;
    const { store } = storage;
    const onFailure = (cause: Error): void => {
      if (!this.#isLeaving) options.onFailure(cause);
    };
    const answering = (): ReadonlySet<BrokerEpoch> => new Set(peers.answering()).add(epoch);
    this.#options = options;
    this.#peers = peers;
    const onLoaded = (): void => flusher.noticeLoaded();
    this.#ownership = new Ownership({
      env,
      store,
      journal,
      partitions,
      topics,
      index,
      onLoaded,
      onFailure,
    });
    this.#takeOver = new TakeOver({ env, store, journal, ownership: this.#ownership, answering, onFailure });
    this.#moves = new Moves({ env, journal, partitions, wal, flusher, answering, onFailure });
    const { clock } = env;
    this.#barrier = new StoreBarrier({ wal, journal, clock, isMoving: () => this.#moves.isOpen });
    this.cluster = { peers, barrier: this.#barrier };
  }

  /** After REGISTER. Rejects with `RefusedError` when another process answers at our own address. */
  static async join(options: MemberOptions): Promise<Member> {
    const { env, storage, journal, sha256, epoch, nodeId, name, suspicionMs } = options;
    const { dialer, store } = storage;
    let member: Member | null = null;
    const onSuspect = (suspect: BrokerEpoch): void => member?.suspect(suspect);
    const peers = await PeerRoom.open({
      env,
      dialer,
      journal,
      store,
      sha256,
      epoch,
      nodeId,
      name,
      suspicionMs,
      onSuspect,
    });
    member = new Member(options, peers);
    return member;
  }

  start(): void {
    const { journal, epoch, onFailure } = this.#options;
    journal.onFenced((cause) => {
      if (!this.#isLeaving) onFailure(cause);
    });
    journal.follow();
    this.#ownership.start();
    this.#takeOver.start();
    this.#peers.start();
    this.#moves.start();
    this.#peers.refuseOrSuspectPredecessors().catch((cause: unknown) => onFailure(cause as Error));
    this.#options.env.log.info("cluster.joined", { epoch, nodeId: this.#options.nodeId });
  }

  /** A group of our WAL is durable. */
  noticeDurable(): void {
    this.#barrier.noticeDurable();
  }

  /** A broker is believed to be gone. */
  suspect(epoch: BrokerEpoch): void {
    if (!this.#isLeaving) this.#takeOver.begin(epoch);
  }

  /** Resolves when everything that is ours is served and every other partition has an owner that answers. */
  async whenServing(): Promise<void> {
    while (!this.#isLeaving && !this.#isServing) {
      await sleep(this.#options.env.clock, lookMs);
    }
  }

  get #isServing(): boolean {
    const { journal, epoch } = this.#options;
    if (!this.#ownership.isSettled) return false;
    const answering = this.#peers.answering();
    for (const { partitions } of journal.state.topics.values()) {
      if (!partitions.every(({ owner }) => owner === epoch || answering.has(owner))) return false;
    }
    return true;
  }

  /** Gives everything to others, while clients are still served. */
  async drain(): Promise<void> {
    await this.#moves.drain();
  }

  /**
   * Nothing is appended any more, and all that was is durable. The fence of oneself lets the others end this
   * epoch at once, instead of after a suspicion.
   */
  async leave({ isFailed }: { readonly isFailed: boolean }): Promise<void> {
    const { journal, epoch, env } = this.#options;
    this.#isLeaving = true;
    await this.#moves.close();
    await this.#takeOver.close();
    await this.#ownership.close();
    if (!isFailed && isLive(journal.state, epoch)) {
      await journal.append({ kind: "fence", epoch }).catch((cause: unknown) => {
        env.log.warn("cluster.not-fenced", { cause: String(cause) });
      });
    }
    this.#barrier.close();
    this.#peers.close();
  }
}
