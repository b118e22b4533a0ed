/**
 * Sends batches until each has an outcome: acknowledged, refused for good, or out of time. Decides what an
 * answer or a lost connection means for a batch and its lane; brings lanes to the brokers that lead them.
 * It promises that every batch is settled once, at the latest when its deadline has passed, and that a
 * batch is called "not written" only when no attempt can have written it.
 */
import type { NodeId } from "../base/ids.ts";
import type { Timer } from "../base/ports.ts";
import { ErrorCode } from "../protocol/errors.ts";
import type { Batch, Outcome } from "./batch.ts";
import type { Cluster } from "./cluster.ts";
import { BrokerRefusedError, ClosedError, DeadlineError, type Fate, UnknownTopicError } from "./errors.ts";
import type { Identity, Lane } from "./lane.ts";
import { Links } from "./links.ts";
import { Outlet, type OutletEvents, type PartitionAnswer } from "./outlet.ts";
import { ParkedLanes } from "./parked-lanes.ts";
import type { ProducerSettings } from "./producer-settings.ts";
import { type OnStanding, Registration, type RegistrationFailure, type Standing } from "./registration.ts";
import { backoffAfter } from "./settings.ts";
import { verdictOf } from "./verdict.ts";

/** Who keeps account of memory and numbers. */
export interface SenderEvents {
  /** A batch takes so many bytes more, or less. */
  charge(bytes: number): void;
  settled(batch: Batch, outcome: Outcome): void;
  retried(batch: Batch): void;
  epochBegun(): void;
  topicGone(topic: string): void;
}

/** How often deadlines are looked at. */
const sweepMsMax = 1_000;

export class Sender implements OutletEvents {
  readonly #cluster: Cluster;
  readonly #settings: ProducerSettings;
  readonly #events: SenderEvents;
  readonly #links: Links;
  readonly #outlets = new Map<NodeId, Outlet>();
  readonly #parked: ParkedLanes;
  readonly #unsettled = new Set<Batch>();
  /** Topics that a broker did not know when it was sent to them: is that so? */
  readonly #doubted = new Set<string>();
  readonly #stopWatching: () => void;
  readonly #standing: Standing;
  /** Lanes that have sent something since `restart`. */
  readonly #departed = new Set<Lane>();
  #idleWaiters: (() => void)[] = [];
  #lastCause: Error | null = null;
  #sweep: Timer | null = null;
  #closed = false;

  /** `standing`: of a transaction; by default batches go under an id of their own (`Registration`). */
  constructor(
    cluster: Cluster,
    settings: ProducerSettings,
    events: SenderEvents,
    standing: (onAnswer: OnStanding) => Standing = (onAnswer) => new Registration(cluster, onAnswer),
  ) {
    this.#cluster = cluster;
    this.#settings = settings;
    this.#events = events;
    this.#links = new Links(cluster.settings);
    this.#parked = new ParkedLanes(cluster.settings.clock, (lane) => this.enqueue(lane));
    this.#stopWatching = cluster.onChange(() => this.#reroute());
    this.#standing = standing((failure) => this.#registered(failure));
  }

  get unsettled(): readonly Batch[] {
    return [...this.#unsettled];
  }

  /** A batch began: from now on its deadline is watched. */
  track(batch: Batch): void {
    this.#unsettled.add(batch);
    this.#armSweep();
  }

  /** The lane may have something to send. */
  enqueue(lane: Lane): void {
    if (lane.queued || this.#closed) return;
    const leader = this.#leaderOf(lane);
    if (leader === null) {
      this.#cluster.refresh(lane.topic);
      this.#parked.addFor(lane, backoffAfter(1, this.#cluster.settings));
      return;
    }
    this.#outlet(leader).push(lane);
  }

  /** Gives up everything that is not settled; resolves when nothing is on its way any more, however it came back. */
  async abandon(cause: Error): Promise<void> {
    this.#expireAll(cause);
    while (!this.#closed && [...this.#outlets.values()].some(({ inFlight }) => inFlight > 0)) {
      await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    }
  }

  /** Sequences begin at 0 under the identity that comes next. Only when nothing waits or is on its way. */
  restart(): void {
    for (const lane of this.#departed) lane.restart();
    this.#departed.clear();
  }

  /** Everything that is not settled is given up, and nothing is sent any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopWatching();
    this.#parked.close();
    this.#sweep?.cancel();
    this.#links.close();
    this.#expireAll(new ClosedError("The producer was closed."));
    this.idle();
  }

  // ── What an outlet asks and tells ──

  get produceVersionMax(): number {
    return this.#standing.produceVersionMax;
  }

  idle(): void {
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }

  take(lane: Lane, node: NodeId, bytesLeft: number): Batch | null {
    if (this.#leaderOf(lane) !== node) {
      this.enqueue(lane);
      return null;
    }
    const pauseMs = lane.pausedUntilMs - this.#nowMs;
    if (pauseMs > 0) {
      this.#parked.addFor(lane, pauseMs);
      return null;
    }
    // To another broker only when nothing is on its way to the one before: order.
    if (lane.inFlight.length > 0 && lane.flightNode !== node) return null;
    if (lane.next(this.#settings.inFlightMax) === null) return null;
    if (this.#settings.acks !== 0) {
      const { identity } = this.#standing;
      const isLacking = identity === null || !this.#standing.admits(lane);
      if (isLacking || (lane.breaks && !this.#beginEpoch(lane, identity))) {
        this.#parked.add(lane);
        this.#standing.request();
        return null;
      }
    }
    const batch = lane.next(this.#settings.inFlightMax);
    if (batch === null) return null;
    this.#events.charge(batch.seal(this.#settings));
    if (batch.bytes.byteLength > bytesLeft) {
      this.enqueue(lane);
      return null;
    }
    lane.depart(this.#settings.acks === 0 ? null : this.#standing.identity, node);
    if (this.#isTransactional) this.#departed.add(lane);
    if (lane.waiting.length > 0) this.enqueue(lane);
    return batch;
  }

  answered(batch: Batch, answer: PartitionAnswer): void {
    const { lane } = batch;
    const { errorCode, baseOffset, logAppendTimeMs, currentLeader } = answer;
    const verdict = verdictOf(errorCode, batch.attempts);
    if (verdict.kind === "written") {
      lane.arrive(batch);
      lane.failures = 0;
      this.#acknowledge(batch, { kind: "written", baseOffset, logAppendTimeMs });
      if (lane.waiting.length > 0) this.enqueue(lane);
      return;
    }
    const cause = new BrokerRefusedError(
      `Writing to "${lane.topic}" partition ${lane.partition}`,
      errorCode,
      answer.errorMessage,
    );
    if (currentLeader.leaderId >= 0) {
      this.#cluster.learnLeader(
        lane.topic,
        lane.partition,
        currentLeader.leaderId,
        currentLeader.leaderEpoch,
      );
    }
    switch (verdict.kind) {
      case "too-large":
        this.#split(batch, cause);
        break;
      case "sequence":
        this.#resequence(batch, cause, verdict.stale);
        break;
      case "again":
        if (!verdict.certain) batch.inDoubt = true;
        if (verdict.moved) this.#cluster.refresh(lane.topic);
        if (isAbsence(errorCode)) this.#confirm(lane.topic);
        this.#again(batch, cause);
        break;
      case "never":
        lane.arrive(batch);
        if (!verdict.certain) batch.inDoubt = true;
        this.#fail(batch, cause);
        break;
      default:
        verdict satisfies never;
    }
    this.enqueue(lane);
  }

  lost(batch: Batch, cause: Error): void {
    batch.inDoubt = true;
    if (this.#settings.acks === 0) {
      // Nobody would tell whether it came twice.
      batch.lane.arrive(batch);
      this.#fail(batch, cause);
    } else this.#again(batch, cause, false);
    this.enqueue(batch.lane);
  }

  unsent(batch: Batch, cause: Error): void {
    batch.lane.arrive(batch);
    this.#fail(batch, cause);
    this.enqueue(batch.lane);
  }

  posted(batch: Batch): void {
    batch.lane.arrive(batch);
    this.#finish(batch, { kind: "written", baseOffset: -1, logAppendTimeMs: -1 });
    this.enqueue(batch.lane);
  }

  unreachable(lanes: readonly Lane[], cause: Error): void {
    this.#lastCause = cause;
    for (const lane of lanes) {
      // The leader may be another by now; if not, the link makes us wait before the next attempt.
      this.#cluster.refresh(lane.topic);
      this.#parked.addFor(lane, backoffAfter(1, this.#cluster.settings));
    }
  }

  // ── Batches that came back ──

  #again(batch: Batch, cause: Error, pauses = true): void {
    const { lane } = batch;
    batch.lastCause = this.#lastCause = cause;
    if (batch.settled) {
      lane.arrive(batch);
      this.#events.charge(-batch.chargedBytes);
      return;
    }
    lane.comeBack(batch);
    if (pauses) {
      lane.failures++;
      lane.pausedUntilMs = this.#nowMs + backoffAfter(lane.failures, this.#cluster.settings);
    }
    this.#events.retried(batch);
    if (this.#closed) this.#expire(batch, new ClosedError("The producer was closed."));
  }

  /**
   * The broker expects another sequence. Behind a batch that is not acknowledged yet that is natural: it
   * goes again after that one. The oldest would be refused for ever, so the epoch must change: with this
   * batch if it certainly was not written, without it (its fate stays unknown) if an attempt is in doubt.
   */
  #resequence(batch: Batch, cause: Error, stale: boolean): void {
    const { lane } = batch;
    if (!lane.isOldest(batch)) return this.#again(batch, cause, false);
    if (this.#isTransactional) {
      // Its transaction can only be aborted: what was written under this epoch ends with it.
      lane.arrive(batch);
      return this.#fail(batch, cause);
    }
    lane.breakSequence(stale);
    if (stale) this.#standing.giveUp();
    if (!batch.inDoubt) return this.#again(batch, cause);
    lane.arrive(batch);
    this.#fail(batch, cause);
  }

  #split(batch: Batch, cause: Error): void {
    const { lane } = batch;
    batch.lastCause = this.#lastCause = cause;
    if (batch.recordCount === 1 || batch.settled) {
      lane.arrive(batch);
      return this.#fail(batch, cause);
    }
    const halves = batch.split(this.#settings.batchBytes);
    for (const half of halves) {
      half.inDoubt = batch.inDoubt;
      half.lastCause = cause;
      half.seal(this.#settings);
      this.#events.charge(half.chargedBytes);
      this.track(half);
    }
    lane.replace(batch, halves);
    // Its outcome is made of theirs.
    this.#unsettled.delete(batch);
    this.#events.charge(-batch.chargedBytes);
    this.#events.retried(batch);
  }

  #beginEpoch(lane: Lane, identity: Identity): boolean {
    const inDoubt = lane.beginEpoch(identity);
    if (inDoubt === null) {
      this.#standing.giveUp();
      return false;
    }
    this.#events.epochBegun();
    this.#cluster.settings.log.warn("client.producer.epoch", {
      topic: lane.topic,
      partition: lane.partition,
    });
    for (const batch of inDoubt) {
      this.#fail(batch, batch.lastCause ?? new Error("the broker lost track of this producer"));
    }
    this.#settleEarly(lane);
    return true;
  }

  #fail(batch: Batch, cause: Error): void {
    const fate: Fate = batch.inDoubt ? "unknown" : "not-written";
    // That time is over is nobody's reason, and each deadline would carry all those before it.
    if (!(cause instanceof DeadlineError)) this.#lastCause = cause;
    this.#finish(batch, { kind: "failed", fate, cause });
  }

  /**
   * Settles the batch, or keeps that for later when one before it was written perhaps and asked about again:
   * promises of a partition resolve in the order of its offsets.
   */
  #acknowledge(batch: Batch, outcome: Outcome): void {
    const { lane } = batch;
    if (batch.settled || !lane.hasUnsettledBefore(batch)) return this.#finish(batch, outcome);
    batch.acknowledged = outcome;
    lane.early.push(batch);
  }

  /** It is neither waiting nor on its way any more: its memory is free. */
  #finish(batch: Batch, outcome: Outcome): void {
    this.#settle(batch, outcome);
    this.#events.charge(-batch.chargedBytes);
  }

  #settle(batch: Batch, outcome: Outcome): void {
    this.#unsettled.delete(batch);
    if (batch.settled) return;
    batch.settle(outcome);
    this.#events.settled(batch, outcome);
    this.#settleEarly(batch.lane);
  }

  #settleEarly(lane: Lane): void {
    for (const batch of lane.early.splice(0)) this.#acknowledge(batch, batch.acknowledged as Outcome);
  }

  #expireAll(cause: Error): void {
    for (const batch of this.#unsettled) this.#expire(batch, cause);
  }

  #expire(batch: Batch, cause: Error): void {
    // Those before it, which are older, are given up in the same turn, and then it is told that it was written.
    if (batch.acknowledged !== null) return;
    const { lane } = batch;
    if (!lane.inFlight.includes(batch)) {
      lane.drop(batch);
      return this.#fail(batch, cause);
    }
    // Its bytes are on their way still: the memory is given back when it returns.
    this.#settle(batch, { kind: "failed", fate: "unknown", cause });
  }

  // ── Where lanes go ──

  get #isTransactional(): boolean {
    return this.#settings.transactionalId !== null;
  }

  get #nowMs(): number {
    return this.#cluster.settings.clock.monotonicMs();
  }

  #leaderOf(lane: Lane): NodeId | null {
    const leader = this.#cluster.peek(lane.topic)?.partitions[lane.partition]?.leader;
    return leader === undefined || leader < 0 ? null : leader;
  }

  #outlet(node: NodeId): Outlet {
    let outlet = this.#outlets.get(node);
    if (outlet === undefined) {
      const parts = { cluster: this.#cluster, links: this.#links, settings: this.#settings, events: this };
      this.#outlets.set(node, (outlet = new Outlet(node, parts)));
    }
    return outlet;
  }

  /** What is known of the cluster changed. */
  #reroute(): void {
    const lanes: Lane[] = [];
    for (const [node, outlet] of this.#outlets) {
      if (this.#cluster.broker(node) !== undefined) continue;
      lanes.push(...outlet.drain());
      this.#outlets.delete(node);
    }
    this.#parked.release(lanes);
  }

  // ── The producer's id ──

  /** Those that were parked for it go on, or wait for the next attempt. */
  #registered(failure: RegistrationFailure | null): void {
    if (this.#closed) return;
    if (failure !== null) {
      this.#lastCause = failure.cause;
      if (failure.isFinal) this.#giveUpAll(failure.cause);
      else this.#parked.holdUntil(this.#nowMs + backoffAfter(2, this.#cluster.settings));
    }
    this.#reroute();
  }

  #giveUpAll(cause: Error): void {
    for (const batch of this.#unsettled) {
      if (!batch.lane.inFlight.includes(batch)) this.#expire(batch, cause);
    }
  }

  // ── Ends ──

  /** A broker did not know the topic: if it does not exist any more, what waits for it fails now. */
  #confirm(topic: string): void {
    if (this.#doubted.has(topic)) return;
    this.#doubted.add(topic);
    this.#cluster
      .askTopic(topic)
      .catch((cause: unknown) => {
        if (!(cause instanceof UnknownTopicError)) return;
        // Should it come back, its lanes begin at sequence 0: under this id they would look like duplicates.
        this.#standing.giveUp();
        this.#events.topicGone(topic);
        for (const batch of this.#unsettled) if (batch.lane.topic === topic) this.#expire(batch, cause);
      })
      .finally(() => this.#doubted.delete(topic));
  }

  #armSweep(): void {
    if (this.#sweep !== null || this.#unsettled.size === 0 || this.#closed) return;
    const everyMs = Math.max(1, Math.min(sweepMsMax, this.#settings.deliveryTimeoutMs / 10));
    this.#sweep = this.#cluster.settings.clock.schedule(everyMs, () => {
      this.#sweep = null;
      const nowMs = this.#nowMs;
      for (const batch of this.#unsettled) {
        if (batch.deadlineMs <= nowMs) this.#expire(batch, this.#late(batch));
      }
      this.#armSweep();
    });
  }

  #late(batch: Batch): DeadlineError {
    const last = batch.lastCause ?? this.#lastCause;
    const why = last === null ? "it waited behind others" : `the last thing that went wrong: ${last.message}`;
    return new DeadlineError(
      `it could not be delivered within ${this.#settings.deliveryTimeoutMs} ms (deliveryTimeoutMs); ${why}`,
      { cause: last ?? undefined },
    );
  }
}

function isAbsence(code: number): boolean {
  return code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION || code === ErrorCode.UNKNOWN_TOPIC_ID;
}
