/**
 * Which brokers are taken for dead. A broker is suspected when it did not answer for `suspicionMs` and put no new
 * slot into its WAL meanwhile: who still writes lives, whatever the network between us does. Suspicion starts a
 * take-over and never makes one safe (I7): a wrong one costs the suspect a restart, so the doubt is on its side. A pause
 * of our own loop starts all counts anew, and who turned out to be merely slow is given more time. What must never
 * be: that a broker is suspected because the store does not answer us, which would take all of them at once.
 */
import type { BrokerEpoch, NodeId } from "../../base/ids.ts";
import type { Counter, Env, ObjectStore } from "../../base/ports.ts";
import { encodeSeal, slotOfKey, walPrefix } from "../../log/object-wal-format.ts";

export interface SuspicionOptions {
  readonly env: Env;
  readonly store: ObjectStore;
  readonly clusterId: string;
  readonly suspicionMs: number;
  /** Called again and again, with growing pauses, while the epoch is live in the journal and silent. */
  readonly onSuspect: (epoch: BrokerEpoch) => void;
}

/** A broker that hands over its partitions is slower; it has so many times the time. */
const drainingFactor = 3;
/** The pause before a suspect is named again doubles up to that. */
const nameAgainMsMax = 60_000;
/** A node that came back so many times `suspicionMs` after it was suspected was slow, not dead. */
const slowFactor = 3;
/** It has twice the time from then on, up to that factor; a quiet time of `forgivenMs` halves it. */
const patienceFactorMax = 4;
const forgivenMs = 300_000;
/** The store did not tell; it is asked again after that. */
const lookAgainMs = 1_000;
/** Of epochs that were suspected, so many are remembered. */
const accusedMax = 1_000;

interface Watched {
  readonly epoch: BrokerEpoch;
  readonly nodeId: NodeId;
  isDraining: boolean;
  /** When the oldest question was put after which nothing was heard of it; null: none is open. */
  openSinceMs: number | null;
  /** Changes with every sign of life, and makes a look that began before count for nothing. */
  life: number;
  isLooking: boolean;
  /** Its highest WAL slot half-way to the suspicion, and when that was seen. */
  seen: { readonly slot: number; readonly atMs: number } | null;
  notBeforeMs: number;
  /** How often it was named since it was last heard. */
  named: number;
}

export class Suspicion {
  readonly #options: SuspicionOptions;
  readonly #watched = new Map<BrokerEpoch, Watched>();
  /** By epoch that was suspected. */
  readonly #accused = new Map<BrokerEpoch, { readonly nodeId: NodeId; readonly atMs: number }>();
  /** By node that was wronged; at most one per node of the cluster. */
  readonly #patience = new Map<NodeId, { readonly factor: number; readonly sinceMs: number }>();
  readonly #sealBytes: number;
  readonly #count: Counter;

  constructor(options: SuspicionOptions) {
    this.#options = options;
    const { clusterId, env } = options;
    this.#sealBytes = encodeSeal({ clusterId, epoch: 0 as BrokerEpoch, slot: 0 }).byteLength;
    this.#count = env.meter.counter(
      "holdfast_peers_suspicions_total",
      "Brokers taken for dead, by whether they came back at once and so were only slow.",
    );
  }

  watch(epoch: BrokerEpoch, nodeId: NodeId, isDraining: boolean): void {
    const known = this.#watched.get(epoch);
    if (known !== undefined) known.isDraining = isDraining;
    else {
      this.#watched.set(epoch, {
        epoch,
        nodeId,
        isDraining,
        openSinceMs: null,
        life: 0,
        isLooking: false,
        seen: null,
        notBeforeMs: 0,
        named: 0,
      });
    }
  }

  /** It is fenced, or we are. */
  forget(epoch: BrokerEpoch): void {
    this.#watched.delete(epoch);
  }

  /** A question goes to it, or would if there were a way. */
  asked(epoch: BrokerEpoch): void {
    const of = this.#watched.get(epoch);
    if (of !== undefined) of.openSinceMs ??= this.#nowMs();
  }

  /** It answered: nothing is open any more. */
  answered(epoch: BrokerEpoch): void {
    const of = this.#watched.get(epoch);
    if (of !== undefined) this.#lives(of, null);
    this.#returned(epoch);
  }

  /** It said something by itself. What it was asked is open still, from now on. Also of an epoch that is fenced. */
  heard(epoch: BrokerEpoch): void {
    const of = this.#watched.get(epoch);
    if (of !== undefined) this.#lives(of, of.openSinceMs === null ? null : this.#nowMs());
    this.#returned(epoch);
  }

  /** Our own loop stood still: what others said meanwhile is not read yet. */
  pausedOurselves(): void {
    for (const of of this.#watched.values()) {
      this.#lives(of, of.openSinceMs === null ? null : this.#nowMs(), of.named);
    }
  }

  /** Several times per `suspicionMs`. */
  tick(): void {
    const nowMs = this.#nowMs();
    for (const of of this.#watched.values()) {
      if (of.openSinceMs === null || of.isLooking || nowMs < of.notBeforeMs) continue;
      const silentMs = nowMs - of.openSinceMs;
      const patienceMs = this.#patienceOf(of, nowMs);
      const isDue =
        of.seen === null
          ? silentMs >= patienceMs / 2
          : silentMs >= patienceMs && nowMs - of.seen.atMs >= patienceMs / 2;
      if (isDue) void this.#look(of);
    }
  }

  /** Without waiting: who asks knows that its life is over. */
  suspectNow(epoch: BrokerEpoch): void {
    const of = this.#watched.get(epoch);
    if (of !== undefined) this.#name(of);
  }

  #nowMs(): number {
    return this.#options.env.clock.monotonicMs();
  }

  #lives(of: Watched, openSinceMs: number | null, named = 0): void {
    of.openSinceMs = openSinceMs;
    of.life++;
    of.seen = null;
    if (named === 0) of.notBeforeMs = 0;
    of.named = named;
  }

  /** Never rejects. */
  async #look(of: Watched): Promise<void> {
    const { life } = of;
    const { env } = this.#options;
    of.isLooking = true;
    const slot = await this.#highestSlot(of.epoch).catch((cause: unknown) => {
      env.log.debug("peers.no-evidence", { epoch: of.epoch, cause: String(cause) });
      return null;
    });
    of.isLooking = false;
    if (of.life !== life || !this.#watched.has(of.epoch)) return;
    const nowMs = this.#nowMs();
    if (slot === null) {
      of.notBeforeMs = nowMs + lookAgainMs;
    } else if (of.seen === null) {
      of.seen = { slot, atMs: nowMs };
    } else if (slot > of.seen.slot) {
      env.log.warn("peers.writes-and-does-not-answer", { epoch: of.epoch, node: of.nodeId, slot });
      this.#lives(of, nowMs);
    } else this.#name(of);
  }

  /** −1: there is none. A seal is somebody else's. */
  async #highestSlot(epoch: BrokerEpoch): Promise<number> {
    let highest = -1;
    for (const { key, bytes } of await this.#options.store.list(walPrefix(epoch))) {
      if (bytes > this.#sealBytes) highest = Math.max(highest, slotOfKey(epoch, key) ?? -1);
    }
    return highest;
  }

  #name(of: Watched): void {
    const { env, suspicionMs, onSuspect } = this.#options;
    const { epoch, nodeId } = of;
    const nowMs = this.#nowMs();
    of.named++;
    of.seen = null;
    of.notBeforeMs = nowMs + Math.min(nameAgainMsMax, suspicionMs * 2 ** Math.min(of.named, 10));
    const silentMs = of.openSinceMs === null ? 0 : Math.round(nowMs - of.openSinceMs);
    env.log.warn("peers.suspected", { epoch, node: nodeId, silentMs, times: of.named });
    this.#count.add(1, { was: "silent" });
    this.#accused.delete(epoch);
    this.#accused.set(epoch, { nodeId, atMs: nowMs });
    for (const oldest of this.#accused.keys()) {
      if (this.#accused.size <= accusedMax) break;
      this.#accused.delete(oldest);
    }
    onSuspect(epoch);
  }

  /** Heard of an epoch that was suspected: if it is soon, it was slow, and its node is given more time. */
  #returned(epoch: BrokerEpoch): void {
    const accused = this.#accused.get(epoch);
    if (accused === undefined) return;
    this.#accused.delete(epoch);
    const nowMs = this.#nowMs();
    const { nodeId, atMs } = accused;
    const { env, suspicionMs } = this.#options;
    if (nowMs - atMs > slowFactor * suspicionMs) return;
    const factor = Math.min(patienceFactorMax, 2 * this.#factorOf(nodeId, nowMs));
    this.#patience.set(nodeId, { factor, sinceMs: nowMs });
    this.#count.add(1, { was: "slow" });
    env.log.warn("peers.was-only-slow", { epoch, node: nodeId, patienceMs: factor * suspicionMs });
  }

  #factorOf(nodeId: NodeId, nowMs: number): number {
    const wronged = this.#patience.get(nodeId);
    if (wronged === undefined) return 1;
    const factor = wronged.factor / 2 ** Math.floor((nowMs - wronged.sinceMs) / forgivenMs);
    if (factor > 1) return factor;
    this.#patience.delete(nodeId);
    return 1;
  }

  #patienceOf(of: Watched, nowMs: number): number {
    const { suspicionMs } = this.#options;
    return suspicionMs * this.#factorOf(of.nodeId, nowMs) * (of.isDraining ? drainingFactor : 1);
  }
}
