/**
 * Reads ahead: keeps one fetch under way at each broker that leads something wanted, as long as what is
 * asked for and what is held stay below the prefetch bound. Driven by events (an answer, room, a seek,
 * a change of leaders): `pump` is called after each and starts whatever may start now. It never skips a
 * record, and never hands out an answer to a question that is out of date.
 */
import type { Timer } from "../base/ports.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { Fetch, type FetchResponse } from "../protocol/messages/fetch.ts";
import { formatAddress } from "./address.ts";
import { type AssignedPartition, HeldPart } from "./assigned-partition.ts";
import { type Assignment, isRetriable } from "./assignment.ts";
import type { BrokerView, Cluster } from "./cluster.ts";
import { DamagedRecordsError } from "./consumer-errors.ts";
import type { ConsumerSettings } from "./consumer-options.ts";
import { BrokerRefusedError } from "./errors.ts";
import { type FetchPlan, planFetch, roomMin } from "./fetch-plan.ts";
import { type Asked, diverges, FetchQuestion, type PartitionAnswer } from "./fetch-request.ts";
import { type AbortedTransaction, FetchedRecords } from "./fetched-records.ts";
import type { Links } from "./links.ts";
import type { RetryWatch } from "./retry-watch.ts";

export interface FetcherAccess {
  readonly cluster: Cluster;
  readonly links: Links;
  readonly settings: ConsumerSettings;
  readonly watch: RetryWatch;
  readonly assignment: Assignment;
  /** There is something to hand out. */
  readonly onNews: () => void;
}

export class Fetcher {
  readonly #access: FetcherAccess;
  /** Brokers that a fetch is under way at, by address, or that are not to be asked before a time. */
  readonly #busy = new Set<string>();
  readonly #notBeforeMs = new Map<string, number>();
  /** In the order in which they came. Those that were released meanwhile are passed over. */
  #ready: HeldPart[] = [];
  /** Who was given records goes to the end, so that nobody starves. */
  #line: AssignedPartition[] = [];
  /** As of which change of the assignment. */
  #linedUpAt = -1;
  #askedBytes = 0;
  #heldBytes = 0;
  #timer: Timer | null = null;
  /** There was room, and still nothing to ask for before what is held was handed out. */
  #waitsForReader = false;
  #isPumping = false;
  #isClosed = false;

  constructor(access: FetcherAccess) {
    this.#access = access;
  }

  /** What is held and asked for: never above the prefetch bound by more than a batch for each broker. */
  get bufferedBytes(): number {
    return this.#heldBytes + this.#askedBytes;
  }

  /**
   * The next part to hand out; `undefined`: nothing now. `mayTake`: whether a partition is to be handed out.
   * Throws what a partition failed with, until it is moved.
   */
  nextPart(mayTake?: (of: AssignedPartition) => boolean): HeldPart | undefined {
    const failed = this.#access.assignment.failed.find(
      ({ held, isPaused }) => held.length === 0 && !isPaused,
    );
    if (failed?.state.kind === "failed") throw failed.state.error;
    while (this.#ready[0]?.isReleased === true) this.#ready.shift();
    // Those of paused partitions keep their places.
    if (mayTake === undefined) return this.#ready.find(isWaiting);
    return this.#ready.find((part) => isWaiting(part) && mayTake(part.of));
  }

  /** A part was handed out. Most of the time that lets nothing start, and looking would cost more than the part. */
  released(): void {
    const isRoom = this.#bytesLeft >= roomMin(this.#access.settings);
    const isIdle = this.#busy.size < this.#access.cluster.brokers.length;
    if (!isRoom || !isIdle) return;
    if (this.#waitsForReader && this.#ready.some(isWaiting)) return;
    this.pump();
  }

  /** Starts every fetch that may start now. */
  pump(): void {
    if (this.#isClosed || this.#isPumping) return;
    this.#isPumping = true;
    try {
      const { assignment } = this.#access;
      assignment.placeUnplaced();
      this.#lineUp();
      this.#waitsForReader = this.#bytesLeft >= roomMin(this.#access.settings);
      for (const [leader, partitions] of this.#byLeader()) this.#ask(leader, partitions);
      this.#freePaused();
      this.#armTimer();
    } finally {
      this.#isPumping = false;
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const part of this.#ready) part.release();
    this.#ready = [];
  }

  #lineUp(): void {
    const { partitions, changes } = this.#access.assignment;
    if (this.#linedUpAt === changes) return;
    this.#linedUpAt = changes;
    const wanted = new Set(partitions);
    const known = new Set(this.#line);
    this.#line = this.#line.filter((partition) => wanted.has(partition));
    this.#line.push(...partitions.filter((partition) => !known.has(partition)));
  }

  /** Only brokers that can be asked now. */
  #byLeader(): ReadonlyMap<BrokerView, AssignedPartition[]> {
    const { cluster, assignment } = this.#access;
    const nowMs = this.#nowMs;
    const byLeader = new Map<BrokerView, AssignedPartition[]>();
    for (const partition of this.#line) {
      const leader = partition.leader === undefined ? undefined : cluster.broker(partition.leader);
      if (leader === undefined) {
        if (partition.isWanted(nowMs)) assignment.recheck(partition.topic);
        continue;
      }
      const address = formatAddress(leader);
      if (this.#busy.has(address) || (this.#notBeforeMs.get(address) ?? 0) > nowMs) continue;
      const together = byLeader.get(leader);
      if (together === undefined) byLeader.set(leader, [partition]);
      else together.push(partition);
    }
    return byLeader;
  }

  #ask(leader: BrokerView, partitions: readonly AssignedPartition[]): void {
    const { prefetchBytesMax, fetchBytesMax, partitionBytesMax, maxWaitMs } = this.#access.settings;
    const bounds = {
      bytesLeft: this.#bytesLeft,
      prefetchBytesMax,
      fetchBytesMax,
      partitionBytesMax,
      maxWaitMs,
    };
    const plan = planFetch(partitions, bounds, this.#nowMs);
    if (plan === undefined) return;
    this.#waitsForReader = false;
    void this.#fetch(leader, plan);
  }

  async #fetch(leader: BrokerView, plan: FetchPlan): Promise<void> {
    const { links, settings, watch, cluster } = this.#access;
    const address = formatAddress(leader);
    const question = new FetchQuestion(plan, settings.isolation);
    const operation = `fetch from ${address}`;
    this.#busy.add(address);
    this.#askedBytes += plan.bytesMax;
    for (const { partition } of question.asked) partition.isAsked = true;
    try {
      const connection = links.peek(leader) ?? (await links.to(leader));
      const { versionMax } = question;
      const timeoutMs = plan.maxWaitMs + cluster.settings.requestTimeoutMs;
      const options = versionMax === undefined ? { timeoutMs } : { timeoutMs, versionMax };
      const answer = await connection.call(Fetch, question.request, options);
      this.#askedBytes -= plan.bytesMax;
      watch.succeeded(operation);
      if (!this.#isClosed) this.#take(question, answer);
    } catch (cause) {
      this.#askedBytes -= plan.bytesMax;
      if (!this.#isClosed) this.#troubled(operation, address, question, cause as Error);
    }
    this.#busy.delete(address);
    for (const { partition } of question.asked) partition.isAsked = false;
    if (this.#isClosed) return;
    this.pump();
    this.#access.onNews();
  }

  /** Not reached, or the connection ended: perhaps another broker leads by now. */
  #troubled(operation: string, address: string, question: FetchQuestion, cause: Error): void {
    if (!isRetriable(cause)) {
      for (const { partition, generation } of question.asked) {
        if (partition.generation === generation) partition.fail(cause);
      }
      this.#access.assignment.noteFailures();
      return;
    }
    const waitMs = this.#access.watch.failed(operation, cause);
    this.#notBeforeMs.set(address, this.#nowMs + waitMs);
    for (const topic of new Set(question.asked.map(({ partition }) => partition.topic))) {
      this.#access.cluster.refresh(topic);
    }
  }

  #take(question: FetchQuestion, answer: FetchResponse): void {
    const parts: { readonly of: AssignedPartition; readonly records: FetchedRecords }[] = [];
    let bytes = 0;
    if (answer.errorCode !== ErrorCode.NONE) {
      for (const asked of question.asked) this.#refused(asked.partition, answer.errorCode);
    }
    for (const { asked, part } of question.match(answer)) {
      if (asked.partition.generation !== asked.generation) continue;
      const records = this.#read(asked, part);
      if (records === undefined) continue;
      parts.push({ of: asked.partition, records });
      for (const chunk of part.records ?? []) bytes += chunk.byteLength;
    }
    if (parts.length > 0) this.#hold(parts, bytes);
  }

  /** All parts share the answer's bytes: they are given back when the last part is. */
  #hold(
    parts: readonly { readonly of: AssignedPartition; readonly records: FetchedRecords }[],
    bytes: number,
  ): void {
    let left = parts.length;
    this.#heldBytes += bytes;
    const onRelease = (): void => {
      if (--left === 0) this.#heldBytes -= bytes;
    };
    for (const { of, records } of parts) {
      const part = new HeldPart(of, records, onRelease);
      of.hold(part);
      this.#ready.push(part);
    }
    const served = new Set(parts.map(({ of }) => of));
    if (this.#line.length > 1) {
      this.#line = [...this.#line.filter((one) => !served.has(one)), ...served];
    }
  }

  #read({ partition }: Asked, part: PartitionAnswer): FetchedRecords | undefined {
    if (part.errorCode !== ErrorCode.NONE) {
      this.#refused(partition, part.errorCode);
      return undefined;
    }
    const { settings, watch, assignment } = this.#access;
    const place = { topic: partition.topic, partition: partition.partition };
    watch.succeeded("fetch", place);
    if (diverges(part)) {
      assignment.assessLoss(partition, "truncated");
      return undefined;
    }
    const isCommitted = settings.isolation === "committed";
    partition.end = isCommitted ? part.lastStableOffset : part.highWatermark;
    if (part.records === null || part.records.length === 0) return undefined;
    const onSkipped = (from: number, to: number): void =>
      settings.onSkipped({ ...place, from, to, reason: "damaged" });
    try {
      const records = new FetchedRecords(part.records, {
        ...place,
        from: partition.fetchOffset,
        stopAt: partition.stopAt,
        aborted: isCommitted ? inOrder(part.abortedTransactions) : null,
        onDamage: settings.onDamage,
        onSkipped,
      });
      if (records.isEmpty) return undefined;
      return records;
    } catch (cause) {
      if (!(cause instanceof DamagedRecordsError)) throw cause;
      this.#damaged(partition, cause);
      return undefined;
    }
  }

  #refused(partition: AssignedPartition, code: number): void {
    const { assignment, watch } = this.#access;
    const place = { topic: partition.topic, partition: partition.partition };
    const what = `Reading ${partition.name} at offset ${partition.fetchOffset}`;
    const error = new BrokerRefusedError(what, code);
    switch (code) {
      case ErrorCode.OFFSET_OUT_OF_RANGE:
        assignment.assessLoss(partition, undefined);
        return;
      case ErrorCode.CORRUPT_MESSAGE:
        this.#damaged(
          partition,
          new DamagedRecordsError({
            ...place,
            offset: partition.fetchOffset,
            why: "the broker says that they are damaged where it keeps them",
            cause: error,
          }),
        );
        return;
      default:
    }
    if (!errorFacts(code).retriable) {
      partition.fail(error);
      assignment.noteFailures();
      return;
    }
    partition.waitUntilMs = this.#nowMs + watch.failed("fetch", error, place);
    assignment.recheck(partition.topic);
  }

  /** Nobody knows how far it goes: with `onDamage: "skip"` one offset after the other is left out until something can be read. */
  #damaged(partition: AssignedPartition, error: DamagedRecordsError): void {
    if (this.#access.settings.onDamage === "error") {
      partition.fail(error);
      this.#access.assignment.noteFailures();
      return;
    }
    const { topic, partition: index, fetchOffset: from } = partition;
    partition.leap(from + 1);
    this.#access.settings.onSkipped({ topic, partition: index, from, to: from + 1, reason: "damaged" });
  }

  /** When paused partitions hold so much that nobody else can be read, theirs is dropped and fetched again later. */
  #freePaused(): void {
    if (this.#busy.size > 0 || this.#heldBytes === 0) return;
    const { settings, assignment } = this.#access;
    if (this.bufferedBytes <= settings.prefetchBytesMax / 2) return;
    const holding = assignment.partitions.filter(({ held }) => held.length > 0);
    if (holding.some(({ isPaused }) => !isPaused)) return;
    for (const partition of holding) partition.forget();
    this.#isPumping = false;
    this.pump();
  }

  /** Looks again when the next of those that wait may be asked. */
  #armTimer(): void {
    this.#timer?.cancel();
    this.#timer = null;
    const nowMs = this.#nowMs;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const atMs of this.#notBeforeMs.values()) if (atMs > nowMs) nextMs = Math.min(nextMs, atMs);
    for (const { waitUntilMs } of this.#line) if (waitUntilMs > nowMs) nextMs = Math.min(nextMs, waitUntilMs);
    if (nextMs === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#access.cluster.settings;
    this.#timer = clock.schedule(Math.max(1, nextMs - nowMs), () => {
      this.#timer = null;
      this.pump();
    });
  }

  get #bytesLeft(): number {
    return this.#access.settings.prefetchBytesMax - this.bufferedBytes;
  }

  get #nowMs(): number {
    return this.#access.cluster.settings.clock.monotonicMs();
  }
}

/** Brokers name them in the order in which they ended. */
const inOrder = (aborted: PartitionAnswer["abortedTransactions"]): readonly AbortedTransaction[] =>
  (aborted ?? []).toSorted((a, b) => a.firstOffset - b.firstOffset);

const isWaiting = (part: HeldPart): boolean => !part.isReleased && !part.of.isPaused;
