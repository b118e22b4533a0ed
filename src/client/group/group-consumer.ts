/**
 * A member of a consumer group: the group gives it partitions and takes them away, and it commits how far
 * it got. It promises that no offset is committed behind which something is unfinished: a record counts
 * as finished when its handler's promise has resolved, or when a loop asks for the next. So every record
 * is handled at least once, whatever crashes; after a crash those behind the last commit are again.
 */
import type { Timer } from "../../base/ports.ts";
import type { AssignedPartition, PartitionPosition } from "../assigned-partition.ts";
import type { Cluster } from "../cluster.ts";
import type { BatchOptions } from "../consumer.ts";
import type { PartitionRef, StartingPoint } from "../consumer-options.ts";
import { ClosedError } from "../errors.ts";
import type { IncomingRecord } from "../incoming-record.ts";
import { type LoopRules, Reader, type RecordBatch } from "../reader.ts";
import { RetryWatch } from "../retry-watch.ts";
import { type OffsetSource, takeOffsets } from "../transaction.ts";
import { TransactionUsageError } from "../transaction-errors.ts";
import type { TransactionalProducer } from "../transactional-producer.ts";
import type { TopicPartition } from "./assignor.ts";
import { Commits, type Wish } from "./commits.ts";
import { Coordinator } from "../coordinator.ts";
import { CommitError } from "./errors.ts";
import { Handlers, type RunOptions, type Taken } from "./handlers.ts";
import { Holdings } from "./holdings.ts";
import { ClassicMembership } from "./classic-membership.ts";
import { Lent } from "./lent.ts";
import { chooseMember } from "./protocol-choice.ts";
import type { Member, MemberAccess } from "./member.ts";
import {
  type CommitRequest,
  type GroupConsumerOptions,
  type GroupSettings,
  groupSettingsOf,
  type ReleaseReason,
} from "./options.ts";
import { Release } from "./release.ts";
import type { Share } from "./share.ts";
import { Subscription } from "./subscription.ts";
import { cannotTake, type TakenAccess, TakenOffsets } from "./taken-offsets.ts";
import { Transform, type TransformOptions } from "./transform.ts";

export class GroupConsumer implements AsyncIterable<IncomingRecord>, OffsetSource, AsyncDisposable {
  readonly #cluster: Cluster;
  readonly #settings: GroupSettings;
  readonly #watch: RetryWatch;
  readonly #reader: Reader;
  readonly #coordinator: Coordinator;
  readonly #memberAccess: MemberAccess;
  /** Another one once it is known which protocol the broker serves. */
  #member: Member;
  readonly #commits: Commits;
  readonly #releasing: Release;
  readonly #subscription: Subscription;
  readonly #onClose: () => void;
  readonly #holdings: Holdings;
  readonly #lent = new Lent();
  #handedOut: Share | undefined = undefined;
  /** Of the last `run`. */
  #handlers: Handlers | undefined = undefined;
  readonly #takenAccess: TakenAccess;
  #isTransforming = false;
  /** `transform` commits in transactions, and from then on nothing is committed beside them. */
  #commitsElsewhere = false;
  #starting: Promise<void> | undefined = undefined;
  #closing: Promise<void> | undefined = undefined;
  readonly #closed = Promise.withResolvers<void>();
  #failure: Error | undefined = undefined;
  #commitTimer: Timer | undefined = undefined;
  #readyWaiters: (() => void)[] = [];

  /** Throws `OptionError`. */
  constructor(cluster: Cluster, options: GroupConsumerOptions, onClose: () => void = () => undefined) {
    const settings = groupSettingsOf(options);
    const { reading } = settings;
    this.#cluster = cluster;
    this.#settings = settings;
    this.#onClose = onClose;
    this.#watch = new RetryWatch(cluster.settings, reading.retryNoticeMs, reading.onRetry);
    const watch = this.#watch;
    this.#reader = new Reader({
      cluster,
      settings: reading,
      watch,
      onChange: () => this.#tellReady(),
      onHandOut: (of, at, epochBefore) => {
        const share = this.#holdings.of(of);
        share?.begin(at, epochBefore);
        this.#handedOut = share;
      },
    });
    const coordinator = new Coordinator(cluster, { kind: "group", name: settings.group });
    this.#coordinator = coordinator;
    this.#holdings = new Holdings({
      cluster,
      settings,
      watch,
      coordinator,
      reader: this.#reader,
      isClosing: () => this.#closing !== undefined,
    });
    this.#subscription = new Subscription({
      cluster,
      settings,
      watch,
      onChange: () => this.#member.rejoin(),
      isLeader: () => this.#member.isLeader,
    });
    this.#memberAccess = {
      cluster,
      coordinator,
      settings,
      watch,
      topics: () => this.#subscription.topics,
      owned: () => this.assignment,
      onAssigned: (added) => this.#take(added),
      release: (parts, reason) => this.#release(parts, reason),
      onChange: () => this.#changed(),
      onFailure: (cause) => this.#fail(cause),
    };
    this.#member = new ClassicMembership(this.#memberAccess);
    this.#takenAccess = {
      group: settings.group,
      coordinator,
      member: () => this.#member,
      holdings: this.#holdings,
      reader: this.#reader,
      onFailure: (cause) => {
        if (this.#closing === undefined) this.#fail(cause);
      },
    };
    this.#commits = new Commits({
      coordinator,
      settings,
      client: cluster.settings,
      watch,
      member: () => this.#member,
      isOwned: (share) => this.#holdings.holds(share),
    });
    this.#releasing = new Release({
      clock: cluster.settings.clock,
      settings,
      commits: this.#commits,
      holdings: this.#holdings,
      handlers: () => this.#handlers,
      commitsItself: () => this.#commitsItself,
    });
  }

  /**
   * Resolves when the group has given this member its partitions and it is known where each begins. Rejects
   * with `UnknownTopicError`, `NoBrokerError`, `BrokerRefusedError`, `FencedMemberError`, `LostPositionError`.
   */
  async ready(): Promise<void> {
    await this.#start();
    while (!this.#isReady()) {
      await new Promise<void>((resolve) => this.#readyWaiters.push(resolve));
    }
    // So that "end" stays where it was when nobody read anything before this process ends.
    if (this.#settings.from !== "start" && this.#settings.autoCommit)
      await this.#commitNow(this.#holdings.wishes());
  }

  /** What the group has given to this member at the moment. */
  get assignment(): readonly TopicPartition[] {
    return this.#holdings.all.map(({ topic, partition }) => ({ topic, partition }));
  }

  /** Under which this member commits at the moment; `undefined`: it is out of the group. */
  get membership(): { readonly memberId: string; readonly generation: number } | undefined {
    const { identity } = this.#member;
    return identity && { memberId: identity.memberId, generation: identity.generation };
  }

  /**
   * One record after the other. A record is finished when the next is asked for, or with `commitSync()`. Leaving
   * the loop leaves its last record unfinished: it is handed out again, here or by another member.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<IncomingRecord> {
    return this.#loop(() => this.#reader.takeRecord((of) => this.#mayTake(of)));
  }

  /** Consecutive records of one partition at a time; all are finished when the next batch is asked for. */
  batches(options: BatchOptions = {}): AsyncIterableIterator<RecordBatch> {
    const { recordsMax = 2_000 } = options;
    return this.#loop(() => this.#reader.takeBatch(recordsMax, (of) => this.#mayTake(of)));
  }

  /**
   * Handles records, several at once, until `close`. Rejects with `HandlerError` when a handler fails: what was
   * finished is committed, and another `run` begins at the lowest unfinished record of each partition.
   */
  async run(options: RunOptions): Promise<void> {
    const handlers = new Handlers(options, this.#memberAccess, () => this.#reader.tell());
    try {
      const records = this.#reader.iterate({
        ...this.#rules(() => (handlers.hasRoom ? this.#takeOne((of) => handlers.mayTake(of)) : undefined)),
        isFinished: () => handlers.failure !== undefined || this.#isFinished,
      });
      this.#handlers = handlers;
      for await (const taken of records) handlers.start(taken);
      // What was taken is handled; whoever closes meanwhile waits no longer than a bound.
      if (handlers.failure === undefined) await Promise.race([handlers.end(), this.#closed.promise]);
    } finally {
      handlers.stop();
      if (!this.#reader.isClosed) await this.#releasing.within(handlers.end());
    }
    const { failure } = handlers;
    if (failure === undefined) return;
    for (const share of this.#holdings.all) share.rewind();
    this.#reader.moved();
    if (this.#commitsItself && this.#closing === undefined) {
      // The handler's failure is what the caller has to know; a commit that failed is told as well.
      await this.#commitNow(this.#holdings.wishes()).catch((cause: unknown) => this.#tellCommit(cause));
    }
    throw failure;
  }

  /**
   * Consume, transform, produce, until `close`: records are handled in transactions of `producer`, which hold what
   * the handler sends and how far the group has got. Each record counts once for readers of committed records,
   * whatever crashes; what a handler does elsewhere may happen again. Commits nothing beside the transactions,
   * whatever `autoCommit` says. Rejects with `HandlerError` when the handler fails, `ProducerFencedError`, and
   * `TransactionAbortedError` for what another attempt would not mend; begun again, it goes on behind the last commit.
   */
  async transform(producer: TransactionalProducer, options: TransformOptions): Promise<void> {
    if (this.#isTransforming || this.#handlers?.isRunning === true) {
      throw new TransactionUsageError(
        `The consumer of group ${this.#settings.group} is read by run or transform already; one at a time reads it.`,
      );
    }
    this.#commitsElsewhere = this.#isTransforming = true;
    try {
      await this.#transform(producer, options);
    } finally {
      this.#isTransforming = false;
    }
  }

  async #transform(producer: TransactionalProducer, options: TransformOptions): Promise<void> {
    const transform = new Transform(
      {
        producer,
        source: this,
        watch: this.#watch,
        clock: this.#cluster.settings.clock,
        goBack: () => {
          for (const share of this.#holdings.all) share.goBack();
          this.#reader.moved();
        },
      },
      options,
    );
    // First: offsets of a predecessor's open transaction keep the group's from being told.
    await producer.connect();
    const take = (): Taken | undefined => this.#takeOne(() => true);
    const all = this.#reader.iterate(this.#rules(() => transform.collect(take)));
    for await (const taken of all) await transform.once(taken);
  }

  /** For `tx.commitOffsets`. */
  [takeOffsets](): TakenOffsets {
    const running = this.#handlers?.isRunning === true;
    if (!this.#isTransforming && (this.#settings.autoCommit || running)) {
      throw cannotTake(this.#settings.group, running);
    }
    return new TakenOffsets(this.#takenAccess);
  }

  /**
   * Resolves when what is finished by now is committed: what loops were given up to now, including the record
   * at hand, and what handlers have finished; or the offsets that are named. Tried for `commitTimeoutMs`, also
   * over rebalances. Rejects with `CommitError`.
   */
  async commitSync(offsets?: readonly CommitRequest[]): Promise<void> {
    this.#lent.finish();
    await this.#commitNow(
      offsets === undefined
        ? this.#holdings.wishes()
        : this.#holdings.named(offsets, () => this.#commits.nextOrder()),
    );
  }

  /** As `commitSync`, and nobody waits: what fails goes with the next commit, or is told to `onCommitFailed`. */
  commitAsync(offsets?: readonly CommitRequest[]): void {
    this.#lent.finish();
    const named =
      offsets === undefined ? undefined : this.#holdings.named(offsets, () => this.#commits.nextOrder());
    if (named === undefined) this.#commits.async(() => this.#holdings.wishes());
    else {
      const { commitTimeoutMs: timeoutMs } = this.#settings;
      this.#commits
        .sync(named, { mayWait: true, timeoutMs })
        .catch((cause: unknown) => this.#tellCommit(cause));
    }
  }

  /** Goes on elsewhere in a partition that this member has; what is being handled of it does not count any more. */
  seek(target: PartitionRef & { readonly to: StartingPoint }): void {
    const partition = this.#reader.assignment.find(target);
    const share = this.#holdings.of(partition);
    share?.moved();
    this.#lent.forget(share);
    this.#reader.seek(target);
  }

  /** Hands out nothing of these partitions (default: all) until `resume`, or until they are taken away. */
  pause(partitions?: readonly PartitionRef[]): void {
    this.#reader.pause(partitions);
  }

  resume(partitions?: readonly PartitionRef[]): void {
    this.#reader.resume(partitions);
  }

  positions(): readonly PartitionPosition[] {
    return this.#reader.positions();
  }

  get bufferedBytes(): number {
    return this.#reader.bufferedBytes;
  }

  /**
   * Hands out nothing more, waits for what is being handled (`releaseTimeoutMs`), commits what is finished and
   * leaves the group. Rejects with `CommitError` when that commit fails; everything is closed all the same.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close().finally(() => this.#closed.resolve());
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#onClose();
    this.#commitTimer?.cancel();
    this.#subscription.close();
    let failure: unknown;
    const { all } = this.#holdings;
    if (all.length > 0) failure = await this.#letGo(all, "closed");
    await this.#member.leave();
    this.#reader.close();
    this.#coordinator.close();
    this.#tellReady();
    if (failure !== undefined) throw failure;
  }

  #start(): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(new ClosedError("The consumer was closed."));
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#starting ??= this.#begin().catch((cause: unknown) => {
      // The next loop tries anew.
      this.#starting = undefined;
      throw cause;
    });
    return this.#starting;
  }

  async #begin(): Promise<void> {
    await this.#subscription.start();
    await this.#reader.assignment.start();
    const member = await chooseMember(this.#memberAccess, () => this.#closing !== undefined);
    if (this.#closing !== undefined) return;
    this.#member = member;
    this.#member.start();
    if (this.#settings.autoCommit) this.#scheduleCommit();
  }

  #scheduleCommit(): void {
    this.#commitTimer = this.#cluster.settings.clock.schedule(this.#settings.commitIntervalMs, () => {
      if (this.#closing !== undefined) return;
      if (this.#commitsItself) this.#commits.async(() => this.#holdings.wishes());
      this.#scheduleCommit();
    });
  }

  #loop<T extends IncomingRecord | RecordBatch>(take: () => T | undefined): AsyncIterableIterator<T> {
    return this.#reader.iterate({
      ...this.#rules(() => {
        const taken = take();
        if (taken !== undefined) this.#lent.lend(this.#handedOut, taken);
        return taken;
      }),
      onNext: () => this.#lent.finish(),
      onReturn: () => {
        const share = this.#lent.takeBack();
        if (share === undefined) return;
        share.rewind();
        this.#reader.moved();
      },
    });
  }

  #rules<T>(take: () => T | undefined): LoopRules<T> {
    return {
      take: () => {
        if (this.#failure !== undefined) throw this.#failure;
        // Somebody else may have the partitions of a member that was silent for too long.
        return this.#closing === undefined && this.#member.isAlive ? take() : undefined;
      },
      // A loop that is at its record while the member is closed ends as one that waits: without an error.
      start: () => (this.#closing === undefined ? this.#start() : Promise.resolve()),
      isFinished: () => this.#isFinished,
    };
  }

  get #commitsItself(): boolean {
    return this.#settings.autoCommit && !this.#commitsElsewhere;
  }

  #takeOne(mayTake: (of: AssignedPartition) => boolean): Taken | undefined {
    const record = this.#reader.takeRecord((of) => this.#mayTake(of) && mayTake(of));
    const share = this.#handedOut;
    if (record === undefined || share?.reading === undefined) return undefined;
    return { record, share, of: share.reading };
  }

  #mayTake(of: AssignedPartition): boolean {
    return this.#holdings.of(of)?.isLeaving === false;
  }

  get #isFinished(): boolean {
    const { partitions } = this.#reader.assignment;
    return (
      this.#closing === undefined &&
      this.#settings.reading.until === "end" &&
      this.#isReady() &&
      partitions.length > 0 &&
      partitions.every(({ isFinished }) => isFinished)
    );
  }

  #take(added: readonly TopicPartition[]): void {
    if (added.length === 0) return;
    const generation = this.#member.identity?.generation ?? -1;
    const placed = this.#holdings.add(added, generation);
    try {
      this.#settings.onAssigned(added);
    } catch (cause) {
      // The group has given it out all the same; whoever reads is told.
      this.#fail(cause as Error);
    }
    placed.then(
      () => this.#changed(),
      (cause: unknown) => {
        if (this.#closing === undefined) this.#fail(cause as Error);
      },
    );
  }

  async #release(parts: readonly TopicPartition[], reason: ReleaseReason): Promise<void> {
    const shares = parts.flatMap((part) => this.#holdings.find(part) ?? []);
    const failure = await this.#letGo(shares, reason);
    if (failure !== undefined) this.#tellCommit(failure);
  }

  /** Resolves with what the last commit failed with. */
  async #letGo(shares: readonly Share[], reason: ReleaseReason | "closed"): Promise<unknown> {
    const failure = await this.#releasing.letGo(shares, reason);
    this.#changed();
    return failure;
  }

  #commitNow(wishes: readonly Wish[]): Promise<void> {
    return this.#commits.sync(wishes, { mayWait: true, timeoutMs: this.#settings.commitTimeoutMs });
  }

  #tellCommit(cause: unknown): void {
    if (!(cause instanceof CommitError)) this.#fail(cause as Error);
    else this.#settings.onCommitFailed(cause);
  }

  #fail(cause: Error): void {
    this.#failure ??= cause;
    this.#changed();
  }

  #isReady(): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing !== undefined) throw new ClosedError("The consumer was closed.");
    for (const share of this.#holdings.all) {
      const state = share.reading?.state;
      if (state?.kind === "failed") throw state.error;
      if (state === undefined || state.kind === "unplaced") return false;
    }
    return this.#member.isStable;
  }

  #changed(): void {
    this.#reader.tell();
    this.#tellReady();
  }

  #tellReady(): void {
    for (const wake of this.#readyWaiters.splice(0)) wake();
  }
}
