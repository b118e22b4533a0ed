/**
 * A worker of a share group (KIP-932): takes messages, each locked for it alone, and tells the broker what became of
 * each. It promises that nothing is accepted that was not said to be, that the promise of an acknowledgement settles with what
 * the broker said about that message, and that what cannot be said is told. So every message is handled at least once.
 */
import type { NodeId } from "../../base/ids.ts";
import type { Timer } from "../../base/ports.ts";
import type { Cluster } from "../cluster.ts";
import { ConsumerUsageError } from "../consumer-errors.ts";
import { Coordinator } from "../coordinator.ts";
import { ClosedError } from "../errors.ts";
import { Links } from "../links.ts";
import { RetryWatch } from "../retry-watch.ts";
import { acquiredOf } from "./acquired.ts";
import { Delivery } from "./delivery.ts";
import { LockLostError } from "./errors.ts";
import { Locks } from "./locks.ts";
import { type SharePlace, ShareMembership } from "./membership.ts";
import { Message } from "./message.ts";
import { orLogged, type ShareConsumerOptions, type ShareSettings, shareSettingsOf } from "./options.ts";
import { Pace } from "./pace.ts";
import { ShareSession, type ShareSessionAccess } from "./session.ts";
import { Words, type WordCounts } from "./words.ts";
import { type ShareHandle, type ShareRunOptions, Work } from "./work.ts";

export interface ShareStats extends Readonly<WordCounts> {
  /** Messages that were given to handlers or loops. */
  readonly delivered: number;
  /** Locks that were lost before anything was said. */
  readonly locksLost: number;
  /** Messages that could not be read and were released. */
  readonly damaged: number;
}

/** Between two questions for leaders that nobody could name. */
const leaderlessMs = 500;

export class ShareConsumer implements AsyncIterable<Message>, AsyncDisposable {
  readonly #cluster: Cluster;
  readonly #settings: ShareSettings;
  readonly #onClose: () => void;
  readonly #watch: RetryWatch;
  readonly #links: Links;
  readonly #coordinator: Coordinator;
  readonly #membership: ShareMembership;
  readonly #memberId: string;
  readonly #sessions = new Map<NodeId, ShareSession>();
  readonly #locks: Locks;
  readonly #pace: Pace;
  readonly #words: Words;
  #places: readonly SharePlace[] = [];
  /** In the order in which they came. */
  #buffered: Delivery[] = [];
  /** Handed out, and nothing was said of them yet. */
  #busy = 0;
  /** Asked for, and not answered. */
  #reserved = 0;
  readonly #counts = {
    delivered: 0,
    accepted: 0,
    released: 0,
    rejected: 0,
    failed: 0,
    locksLost: 0,
    damaged: 0,
  };
  #wakers: (() => void)[] = [];
  #isReading = false;
  #work: Work | undefined = undefined;
  #failure: Error | undefined = undefined;
  #starting: Promise<void> | undefined = undefined;
  #closing: Promise<void> | undefined = undefined;
  #stopFollowing: () => void = () => undefined;
  /** Until leaders that are not known are asked for again. */
  #looking: Timer | undefined = undefined;

  /** Throws `OptionError`. */
  constructor(cluster: Cluster, options: ShareConsumerOptions, onClose: () => void = () => undefined) {
    const settings = shareSettingsOf(options);
    const { clock, random } = cluster.settings;
    this.#cluster = cluster;
    this.#settings = settings;
    this.#onClose = onClose;
    this.#watch = new RetryWatch(cluster.settings, settings.retryNoticeMs, (notice) =>
      orLogged(cluster.settings.log, "onRetry", () => settings.onRetry(notice)),
    );
    this.#links = new Links(cluster.settings);
    this.#coordinator = new Coordinator(cluster, { kind: "group", name: settings.group });
    this.#memberId = Buffer.from(random.bytes(16)).toString("base64url");
    this.#pace = new Pace(clock, settings.prefetchMax);
    this.#locks = new Locks({
      clock,
      renew: (delivery) => this.#words.renewQuietly(delivery),
      onLost: (delivery) => this.#lose(delivery, "it ran out"),
    });
    this.#words = new Words({
      client: cluster.settings,
      settings,
      counts: this.#counts,
      isClosing: () => this.#closing !== undefined,
      onSaid: () => {
        this.#busy--;
        this.#locks.look();
        this.#pokeAll();
      },
      onLost: (delivery, why) => this.#lose(delivery, why),
      onOver: (delivery) => this.#over(delivery),
      onDone: ({ successor }) => {
        if (successor?.state !== "buffered") return;
        this.#buffered = this.#buffered.filter((each) => each !== successor);
        this.#over(successor);
      },
    });
    this.#membership = new ShareMembership({
      cluster,
      coordinator: this.#coordinator,
      settings,
      watch: this.#watch,
      memberId: this.#memberId,
      onAssigned: (places) => {
        this.#places = places;
        this.#distribute();
      },
      onFailure: (cause) => this.#fail(cause),
    });
  }

  get stats(): ShareStats {
    return { ...this.#counts };
  }

  /** Under which the group knows this worker. */
  get memberId(): string {
    return this.#memberId;
  }

  /** The partitions that it takes from at the moment; others may take from them, too. */
  get assignment(): readonly { readonly topic: string; readonly partition: number }[] {
    return this.#places.map(({ topic, partition }) => ({ topic, partition }));
  }

  /** Messages that lie here, and those that somebody handles. */
  get heldCount(): number {
    return this.#buffered.length + this.#busy;
  }

  /**
   * One message after the other. Each stays locked until something is said of it, or the lock runs out, and then it comes
   * again: a loop renews nothing by itself. Ends when the worker is closed.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    let ended: () => void = () => undefined;
    const iterator: AsyncIterableIterator<Message> = {
      next: async () => {
        ended();
        ended = () => undefined;
        const delivery = await this.#take();
        if (delivery === undefined) return { done: true, value: undefined };
        ended = this.#pace.begin();
        return { done: false, value: this.#handOut(delivery) };
      },
      return: () => Promise.resolve({ done: true, value: undefined }),
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  /**
   * Handles messages until `close`, several at once. What a handler returns accepts its message, what it throws releases it,
   * and `Reject`, or a throw at the last allowed delivery, rejects it. Locks are renewed while it works. Rejects
   * with what keeps the worker from taking messages at all, when handlers have finished or `closeTimeoutMs` is over; a
   * handler that fails does not end it.
   */
  async run(handle: ShareHandle, options: ShareRunOptions = {}): Promise<void> {
    if (this.#work !== undefined)
      throw new ConsumerUsageError("The worker is run already; one run at a time.");
    const work = new Work(handle, options, {
      settings: this.#cluster.settings,
      begin: () => this.#pace.begin(),
    });
    this.#work = work;
    this.#pace.concurrency = work.concurrency;
    try {
      for (;;) {
        await work.room();
        const delivery = await this.#take();
        // While it closes nobody waits for another handler: the message is released by the session's end.
        if (delivery === undefined || this.#closing !== undefined) break;
        delivery.keepsLock = true;
        work.start(delivery, this.#handOut(delivery));
        this.#locks.look();
      }
      await work.end();
    } catch (cause) {
      // No more is taken; what is handled is done and said all the same, and `close` waits for it.
      const reason = new ClosedError(
        "The worker can take messages no longer, and the handler had not finished.",
      );
      await work.endWithin(this.#settings.closeTimeoutMs, reason);
      throw cause;
    } finally {
      this.#work = undefined;
    }
  }

  /**
   * Takes nothing more, lets handlers finish (`closeTimeoutMs`), says what is to be said, releases the rest and leaves
   * the group. What is said of a message later rejects.
   */
  close(): Promise<void> {
    // Who closes the client or the queue meanwhile waits for it.
    this.#closing ??= this.#close().finally(this.#onClose);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { clock, requestTimeoutMs } = this.#cluster.settings;
    const { closeTimeoutMs, acknowledgeTimeoutMs } = this.#settings;
    this.#tell();
    for (const session of this.#sessions.values()) session.stopFetching();
    const reason = new ClosedError("The worker was closed before the handler had finished.");
    await this.#work?.endWithin(closeTimeoutMs, reason);
    this.#words.releaseDelayed();
    const untilMs = clock.monotonicMs() + Math.min(acknowledgeTimeoutMs, requestTimeoutMs);
    await Promise.all([...this.#sessions.values()].map((session) => session.close(untilMs)));
    this.#stopFollowing();
    this.#looking?.cancel();
    this.#locks.close();
    // The end of the sessions has released what lies here, without counting it as delivered.
    this.#buffered = [];
    await this.#membership.leave();
    this.#links.close();
    this.#coordinator.close();
  }

  /** The next message; `undefined`: the worker is closed. */
  async #take(): Promise<Delivery | undefined> {
    if (this.#isReading) {
      throw new ConsumerUsageError(
        "One loop at a time takes messages of a worker; another one waits for one now.",
      );
    }
    this.#isReading = true;
    try {
      for (;;) {
        if (this.#closing !== undefined) return undefined;
        if (this.#failure !== undefined) throw this.#failure;
        const delivery = this.#buffered.shift();
        if (delivery !== undefined) {
          // Before anything else runs: what is on its way to a handler takes the handler's place.
          if (delivery.lockedUntilMs > this.#nowMs) {
            delivery.state = "open";
            this.#busy++;
            this.#pokeAll();
            return delivery;
          }
          // This process was asleep: another worker may have it by now.
          this.#lose(delivery, "it ran out");
          continue;
        }
        await this.#start();
        if (this.#buffered.length > 0 || this.#failure !== undefined || this.#closing !== undefined) continue;
        this.#pokeAll();
        await new Promise<void>((resolve) => this.#wakers.push(resolve));
      }
    } finally {
      this.#isReading = false;
    }
  }

  #handOut(delivery: Delivery): Message {
    this.#counts.delivered++;
    return new Message(delivery, this.#words);
  }

  #start(): Promise<void> {
    this.#starting ??= this.#begin().catch((cause: unknown) => {
      // The next loop tries anew.
      this.#starting = undefined;
      if (this.#closing === undefined) throw cause;
    });
    return this.#starting;
  }

  async #begin(): Promise<void> {
    // A name that is mistyped is told at once.
    await Promise.all(this.#settings.topics.map((topic) => this.#cluster.topic(topic)));
    if (this.#closing !== undefined) return;
    this.#stopFollowing = this.#cluster.onChange(() => this.#distribute());
    this.#membership.start();
  }

  /** Each broker is asked for the partitions that it leads. */
  #distribute(): void {
    if (this.#closing !== undefined) return;
    const byLeader = new Map<NodeId, SharePlace[]>();
    let isComplete = true;
    for (const place of this.#places) {
      const view = this.#cluster.peek(place.topic);
      const leader = view?.id === place.topicId ? view.partitions[place.partition]?.leader : undefined;
      if (leader === undefined || this.#cluster.broker(leader) === undefined) {
        this.#cluster.refresh(place.topic);
        isComplete = false;
        continue;
      }
      const together = byLeader.get(leader);
      if (together === undefined) byLeader.set(leader, [place]);
      else together.push(place);
    }
    for (const [node, places] of byLeader) {
      let session = this.#sessions.get(node);
      if (session === undefined) {
        session = new ShareSession(node, this.#sessionAccess);
        this.#sessions.set(node, session);
      }
      session.want(places);
    }
    for (const [node, session] of this.#sessions) {
      if (byLeader.has(node)) continue;
      session.want([]);
      if (!session.isIdle) continue;
      this.#sessions.delete(node);
      void session.close(this.#nowMs);
    }
    if (!isComplete) {
      // The answer may name no leader either, and then nobody else asks again.
      this.#looking ??= this.#cluster.settings.clock.schedule(leaderlessMs, () => {
        this.#looking = undefined;
        this.#distribute();
      });
    }
  }

  get #sessionAccess(): ShareSessionAccess {
    return {
      cluster: this.#cluster,
      links: this.#links,
      settings: this.#settings,
      watch: this.#watch,
      memberId: this.#memberId,
      reserve: () => this.#reserve(),
      giveBack: (count) => {
        this.#reserved -= count;
      },
      onRecords: (session, place, answer, lockedUntilMs) => {
        const { records, gaps, damaged, damage } = acquiredOf(place.topic, place.partition, answer);
        for (const { record, deliveryCount } of records) {
          const delivery = new Delivery({ place, record, deliveryCount, session, lockedUntilMs });
          this.#locks.hold(delivery, (before) => {
            before.successor = delivery;
            this.#lose(before, "it was delivered again");
          });
          session.begin(delivery);
          this.#buffered.push(delivery);
        }
        for (const range of gaps) this.#words.sayOfRange(session, place, range, "gap");
        for (const range of damaged) this.#words.sayOfRange(session, place, range, "release");
        if (damage !== undefined || damaged.length > 0) {
          this.#counts.damaged += damaged.reduce((sum, { first, last }) => sum + last - first + 1, 0);
          const cause = damage?.message ?? "records cannot be read";
          this.#cluster.settings.log.warn("client.share.damaged", {
            topic: place.topic,
            partition: place.partition,
            cause,
          });
        }
        this.#tell();
      },
      onLock: (lockMs) => this.#locks.lasts(lockMs),
      onLost: (session) => this.#sessionLost(session),
      onMoved: () => this.#distribute(),
      onFailure: (cause) => this.#fail(cause),
    };
  }

  #reserve(): number {
    const closed = this.#closing !== undefined || (!this.#isReading && this.#work === undefined);
    if (closed && this.#buffered.length > 0) return 0;
    // Whoever waits for a message shall have one, also where he has said nothing yet of those that he was given.
    const isWaiting = this.#isReading && this.#buffered.length === 0;
    const wanted = Math.max(isWaiting ? 1 : 0, this.#pace.roomFor(this.#busy) - this.#buffered.length);
    if (wanted <= 0) return 0;
    // Each broker may have something, so each is asked for one at least.
    const room = Math.max(1, wanted - this.#reserved);
    this.#reserved += room;
    return room;
  }

  /** The broker has let go of what came over that connection. What is handled goes on: its word may still be in time. */
  #sessionLost(session: ShareSession): void {
    const lost = this.#buffered.filter((delivery) => delivery.session === session);
    for (const delivery of lost) this.#lose(delivery, "the connection to the broker ended");
  }

  #lose(delivery: Delivery, why: string): void {
    const { state } = delivery;
    if (state === "over") return;
    if (state === "said") {
      // Its answer is still to come; nothing else is known.
      delivery.abort(new LockLostError(`The lock of offset ${delivery.record.offset} was lost: ${why}.`));
      return;
    }
    this.#counts.locksLost++;
    if (state === "open") this.#busy--;
    if (state === "buffered") this.#buffered = this.#buffered.filter((each) => each !== delivery);
    delivery.lose(why);
    if (state === "delayed") this.#words.endDelay(delivery);
    this.#over(delivery);
  }

  #over(delivery: Delivery): void {
    delivery.state = "over";
    this.#locks.drop(delivery);
    delivery.session.over(delivery);
    this.#pokeAll();
  }

  #pokeAll(): void {
    for (const session of this.#sessions.values()) session.poke();
  }

  #fail(cause: Error): void {
    if (this.#closing !== undefined) return;
    this.#failure ??= cause;
    this.#tell();
  }

  #tell(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }

  get #nowMs(): number {
    return this.#cluster.settings.clock.monotonicMs();
  }
}
