/**
 * The other live brokers of the cluster, as the journal names them: who of them answers, how far each has read the
 * journal, and calls to them. Two connections go to each: one for heartbeats, so that no answer that waits for
 * the store delays them, and one for calls. Heartbeats carry the journal's position both ways, so a command of
 * one is known to all within a round trip. Nothing here is part of safety (I7). A broker that the journal has
 * fenced gets no call any more, and its connections are closed.
 */
import { RefusedError } from "../../base/errors.ts";
import type { BrokerEpoch, NodeId } from "../../base/ids.ts";
import type { Dialer, Env, Histogram, ObjectStore, Sha256, Timer } from "../../base/ports.ts";
import type { JournalEvent } from "../../metadata/outcomes.ts";
import { type BrokerState, type ClusterState, isLive } from "../../metadata/state.ts";
import type { Api } from "../../protocol/api.ts";
import { PeerHeartbeat, type PeerHeartbeatResponse } from "../../protocol/messages/peer-heartbeat.ts";
import type { Peers } from "./cluster.ts";
import { PeerError } from "./errors.ts";
import { Door } from "./peer-door.ts";
import { peerKey } from "./peer-key.ts";
import { type PeerLine, PeerLink } from "./peer-link.ts";
import { Suspicion } from "./suspicion.ts";

export interface PeersOptions {
  readonly env: Env;
  readonly dialer: Dialer;
  readonly journal: PeerJournal;
  readonly store: ObjectStore;
  readonly sha256: Sha256;
  /** This broker. */
  readonly epoch: BrokerEpoch;
  readonly nodeId: NodeId;
  /** As it registered: the address by which it is known, "HOST:PORT". */
  readonly name: string;
  /** How long a broker may be silent; `holdfast.peer.suspicion.ms`. */
  readonly suspicionMs?: number;
  /** Synchronous; called again, with growing pauses, while the epoch is live and silent. */
  readonly onSuspect: (epoch: BrokerEpoch) => void;
}

/** What is needed of the journal. */
export interface PeerJournal {
  readonly state: ClusterState;
  onApplied(listener: (event: JournalEvent) => void): () => void;
  /** Somebody says that every slot below this is decided. */
  notice(nextSlot: number): void;
}

const suspicionMsDefault = 3_000;
/** Heartbeats in the time after which a silent broker is suspected. */
const beatsPerSuspicion = 6;
/** How long a call may take: as long as the store may be away without anything being wrong with the other broker. */
const callMs = 30_000;
/** What is not reachable is told of once in this time. */
const complaintMs = 60_000;

interface Peer {
  readonly epoch: BrokerEpoch;
  readonly nodeId: NodeId;
  /** Null: it registered none. */
  readonly address: string | null;
  /** For heartbeats, and for all else. */
  readonly pulse: PeerLink | null;
  readonly calls: PeerLink | null;
  /** When it answered last; −Infinity: never. */
  answeredMs: number;
  /** When we began to ask it. */
  readonly metMs: number;
  /** Journal slots below this are applied there, as far as it told. */
  nextSlot: number;
  isBeating: boolean;
  /** There is something new to say since the heartbeat that is under way. */
  beatAgain: boolean;
  /** It is ahead: when we have applied up to this, it hears of it. Null: it is not. */
  owedSlot: number | null;
  complainedMs: number;
}

interface AppliedWaiter {
  readonly slot: number;
  readonly resolve: () => void;
  readonly timer: Timer;
}

export class PeerRoom implements Peers {
  readonly door: Door;
  readonly #options: PeersOptions;
  readonly #key: Uint8Array;
  readonly #suspicionMs: number;
  readonly #beatMs: number;
  readonly #suspicion: Suspicion;
  readonly #peers = new Map<BrokerEpoch, Peer>();
  /** Bounded by the requests that wait. */
  readonly #waiters = new Set<AppliedWaiter>();
  readonly #roundTrip: Histogram;
  readonly #unfollow: () => void;
  #tickMs = 0;
  #timer: Timer | null = null;
  #isClosed = false;

  private constructor(options: PeersOptions, key: Uint8Array) {
    const { env, store, journal, onSuspect, suspicionMs = suspicionMsDefault } = options;
    this.#options = options;
    this.#key = key;
    this.#suspicionMs = suspicionMs;
    this.#beatMs = suspicionMs / beatsPerSuspicion;
    const { clusterId } = journal.state;
    this.#suspicion = new Suspicion({ env, store, clusterId, suspicionMs, onSuspect });
    this.#roundTrip = env.meter.histogram(
      "holdfast_peers_round_trip_seconds",
      "From a heartbeat to its answer.",
      [0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3],
    );
    env.meter.gauge("holdfast_peers_live_count", "Other brokers that are live in the journal.", () => {
      return this.#peers.size;
    });
    env.meter.gauge("holdfast_peers_answering_count", "Those of them that answer us.", () => {
      return this.answering().size;
    });
    this.door = new Door({
      ...options,
      key,
      onHeard: (from, nextSlot) => this.#onHeard(from, nextSlot),
    });
    this.#unfollow = journal.onApplied((event) => this.#onApplied(event));
    this.#followJournal();
  }

  /** Reads the key of the cluster, or makes it. Errors as those of `peerKey`. */
  static async open(options: PeersOptions): Promise<PeerRoom> {
    const { env, store, sha256, journal } = options;
    const { clusterId } = journal.state;
    return new PeerRoom(options, await peerKey({ env, store, sha256, clusterId }));
  }

  /** From now on heartbeats leave, and who does not answer is suspected. Call it when our own listener answers. */
  start(): void {
    this.#tickMs = this.#nowMs();
    this.#tick();
  }

  /** The last room to close: until then this broker shows others that it lives. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.door.close();
    this.#unfollow();
    this.#timer?.cancel();
    for (const epoch of Array.from(this.#peers.keys())) this.#part(epoch, "this broker stops");
    this.#settleWaiters();
  }

  answering(): ReadonlySet<BrokerEpoch> {
    const epochs = new Set<BrokerEpoch>();
    for (const peer of this.#peers.values()) if (this.#isAnswering(peer)) epochs.add(peer.epoch);
    return epochs;
  }

  call<Req, Res>(to: BrokerEpoch, api: Api<Req, Res>, request: Req): Promise<Res> {
    const link = this.#peers.get(to)?.calls ?? null;
    if (link !== null) return link.call(api, request);
    const message = `${api.name} was not sent: the broker of epoch ${to} is not live any more.`;
    return Promise.reject(new PeerError(message, { trouble: "gone", sent: false }));
  }

  whenApplied(slot: number, timeoutMs: number): Promise<void> {
    if (!this.#isAnyBehind(slot)) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#options.env.clock.schedule(timeoutMs, () => {
        this.#waiters.delete(waiter);
        resolve();
      });
      const waiter: AppliedWaiter = { slot, resolve, timer };
      this.#waiters.add(waiter);
      this.#tellNews();
    });
  }

  /**
   * Brokers with our own name are earlier lives of this one: they are suspected at once, since this one has their
   * place. Rejects with `RefusedError` when one of them answers. Call it when our own listener answers.
   */
  async refuseOrSuspectPredecessors(): Promise<void> {
    const { journal, name, epoch: own, env } = this.#options;
    const earlier = Array.from(journal.state.brokers.values()).filter(
      (broker) => broker.status === "live" && broker.name === name && broker.epoch < own,
    );
    await Promise.all(
      earlier.map(async (broker) => {
        const answers = await this.#answersNow(broker);
        if (this.#isClosed || !isLive(journal.state, broker.epoch)) return;
        if (answers) {
          throw new RefusedError(
            `A broker with the name ${name} is running already, and it answers as epoch ${broker.epoch}. Stop it first, or give this one an address of its own with --listen or --advertise.`,
          );
        }
        env.log.info("peers.predecessor-is-gone", { epoch: broker.epoch, name });
        this.#suspicion.suspectNow(broker.epoch);
      }),
    );
  }

  #onHeard(from: BrokerEpoch, nextSlot: number): void {
    this.#suspicion.heard(from);
    const peer = this.#peers.get(from);
    const isAhead = this.#learn(peer, nextSlot);
    if (peer !== undefined && isAhead) peer.owedSlot = nextSlot;
  }

  #nowMs(): number {
    return this.#options.env.clock.monotonicMs();
  }

  /** "A moment ago": fewer than half the beats after which it would be suspected are missing. */
  #isAnswering(peer: Peer): boolean {
    return this.#nowMs() - peer.answeredMs <= this.#suspicionMs / 2;
  }

  #isAnyBehind(slot: number): boolean {
    for (const peer of this.#peers.values()) {
      if (peer.nextSlot <= slot && this.#isAnswering(peer)) return true;
    }
    return false;
  }

  #settleWaiters(): void {
    for (const waiter of this.#waiters) {
      if (!this.#isClosed && this.#isAnyBehind(waiter.slot)) continue;
      this.#waiters.delete(waiter);
      waiter.timer.cancel();
      waiter.resolve();
    }
  }

  #tick(): void {
    const nowMs = this.#nowMs();
    // The answers of that time wait behind this timer, and say nothing against anybody.
    if (nowMs - this.#tickMs > 2 * this.#beatMs) this.#suspicion.pausedOurselves();
    this.#tickMs = nowMs;
    this.#timer = this.#options.env.clock.schedule(this.#beatMs, () => {
      if (!this.#isClosed) this.#tick();
    });
    for (const peer of this.#peers.values()) this.#beat(peer);
    this.#suspicion.tick();
    this.#settleWaiters();
  }

  /** Must not throw: the journal calls it. */
  #onApplied(event: JournalEvent): void {
    this.#followJournal();
    const { journal, epoch } = this.#options;
    const { nextSlot } = journal.state;
    if (event.kind === "slot" && event.author === epoch) this.#tellNews();
    for (const peer of this.#peers.values()) {
      if (peer.owedSlot === null || peer.owedSlot > nextSlot) continue;
      peer.owedSlot = null;
      this.#beat(peer);
    }
  }

  /** Whoever is not known to be where we are hears it now. */
  #tellNews(): void {
    const { nextSlot } = this.#options.journal.state;
    for (const peer of this.#peers.values()) {
      if (peer.nextSlot < nextSlot && this.#isAnswering(peer)) this.#beat(peer);
    }
  }

  #followJournal(): void {
    const { journal, epoch: own } = this.#options;
    const { brokers } = journal.state;
    for (const broker of brokers.values()) {
      if (broker.status !== "live" || broker.epoch === own) continue;
      this.#suspicion.watch(broker.epoch, broker.nodeId, broker.draining);
      if (!this.#peers.has(broker.epoch)) this.#meet(broker);
    }
    for (const epoch of Array.from(this.#peers.keys())) {
      if (brokers.get(epoch)?.status !== "live") this.#part(epoch, "the journal says that it is fenced");
    }
    this.door.showOutFenced();
  }

  #meet(broker: BrokerState): void {
    const { epoch, nodeId, listeners } = broker;
    const [listener] = listeners;
    this.#peers.set(epoch, {
      epoch,
      nodeId,
      address: listener === undefined ? null : `${listener.host}:${listener.port}`,
      pulse: this.#linkTo(broker, "pulse", (this.#suspicionMs * 2) / 3),
      calls: this.#linkTo(broker, "calls", callMs),
      answeredMs: -Infinity,
      metMs: this.#nowMs(),
      nextSlot: 0,
      isBeating: false,
      beatAgain: false,
      owedSlot: null,
      complainedMs: -Infinity,
    });
  }

  #linkTo({ epoch, listeners }: BrokerState, line: PeerLine, answerMs: number): PeerLink | null {
    const [address] = listeners;
    if (address === undefined) return null;
    const { env, dialer, sha256, journal, epoch: from } = this.#options;
    const { clusterId } = journal.state;
    return new PeerLink({
      env,
      dialer,
      sha256,
      key: this.#key,
      clusterId,
      from,
      to: epoch,
      line,
      address,
      connectMs: (this.#suspicionMs * 2) / 3,
      answerMs,
      onFenced: () => journal.notice(journal.state.nextSlot + 1),
    });
  }

  #part(epoch: BrokerEpoch, why: string): void {
    const peer = this.#peers.get(epoch);
    this.#peers.delete(epoch);
    this.#suspicion.forget(epoch);
    peer?.pulse?.close(why);
    peer?.calls?.close(why);
    this.#settleWaiters();
  }

  /** One heartbeat at a time; what is new meanwhile leaves with the next, at once. */
  #beat(peer: Peer): void {
    this.#suspicion.asked(peer.epoch);
    if (peer.pulse === null) return;
    if (peer.isBeating) peer.beatAgain = true;
    else void this.#exchangeBeat(peer, peer.pulse);
  }

  /** Never rejects. */
  async #exchangeBeat(peer: Peer, pulse: PeerLink): Promise<void> {
    const { nextSlot } = this.#options.journal.state;
    const sentMs = this.#nowMs();
    peer.isBeating = true;
    peer.beatAgain = false;
    try {
      this.#onBeatAnswered(peer, await pulse.call(PeerHeartbeat, { nextSlot }), sentMs);
    } catch (cause) {
      peer.beatAgain = false;
      this.#complain(peer, cause as Error);
    }
    peer.isBeating = false;
    if (peer.beatAgain && this.#peers.get(peer.epoch) === peer) this.#beat(peer);
  }

  #onBeatAnswered(peer: Peer, answer: PeerHeartbeatResponse, sentMs: number): void {
    if (this.#peers.get(peer.epoch) !== peer) return;
    const nowMs = this.#nowMs();
    this.#roundTrip.observe((nowMs - sentMs) / 1000);
    peer.answeredMs = nowMs;
    this.#suspicion.answered(peer.epoch);
    this.#learn(peer, answer.nextSlot);
  }

  /** Whether it has read more of the journal than we have. */
  #learn(peer: Peer | undefined, nextSlot: number): boolean {
    const { journal } = this.#options;
    if (peer !== undefined && nextSlot > peer.nextSlot) {
      peer.nextSlot = nextSlot;
      this.#settleWaiters();
    }
    if (nextSlot <= journal.state.nextSlot) return false;
    journal.notice(nextSlot);
    return true;
  }

  /** Not of one that was just there: it may be about to leave, and to say so in the journal. */
  #complain(peer: Peer, cause: Error): void {
    const nowMs = this.#nowMs();
    const sinceMs = Math.max(peer.answeredMs, peer.metMs);
    if (this.#peers.get(peer.epoch) !== peer || nowMs - sinceMs < this.#suspicionMs / 2) return;
    if (nowMs - peer.complainedMs < complaintMs) return;
    peer.complainedMs = nowMs;
    const { epoch, nodeId: node, address } = peer;
    this.#options.env.log.warn("peers.unreachable", { epoch, node, address, cause: cause.message });
  }

  /** Whether somebody proves, now, to be that broker. */
  async #answersNow(broker: BrokerState): Promise<boolean> {
    const link = this.#linkTo(broker, "question", (this.#suspicionMs * 2) / 3);
    if (link === null) return false;
    try {
      await link.call(PeerHeartbeat, { nextSlot: this.#options.journal.state.nextSlot });
      return true;
    } catch {
      return false;
    } finally {
      link.close("it was asked only whether it is there");
    }
  }
}
