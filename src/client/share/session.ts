/**
 * A share session with one broker (KIP-932): one request at a time that asks for messages, carries what was said of
 * others, or both. It promises that each wish is settled, and that what comes after a lost connection is a session of
 * its own, from which nothing of before is taken for granted.
 */
import type { NodeId } from "../../base/ids.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import { ShareAcknowledge } from "../../protocol/messages/share-acknowledge.ts";
import {
  ShareFetch,
  type ShareFetchRequest,
  type ShareFetchResponse,
} from "../../protocol/messages/share-fetch.ts";
import { formatAddress } from "../address.ts";
import { isRetriable } from "../assignment.ts";
import type { Cluster } from "../cluster.ts";
import type { Connection } from "../connection.ts";
import { BrokerRefusedError, ClosedError, ConnectionLostError, NoBrokerError } from "../errors.ts";
import type { Links } from "../links.ts";
import type { RetryWatch } from "../retry-watch.ts";
import {
  Acknowledgements,
  type Carried,
  nameOf,
  nothingCarried,
  type Wish,
  wishesOf,
} from "./acknowledgements.ts";
import { Alarm } from "./alarm.ts";
import type { Delivery } from "./delivery.ts";
import type { ShareSettings } from "./options.ts";
import type { SharePlace } from "./membership.ts";
import { SessionPlaces } from "./session-places.ts";

export interface ShareSessionAccess {
  readonly cluster: Cluster;
  readonly links: Links;
  readonly settings: ShareSettings;
  readonly watch: RetryWatch;
  readonly memberId: string;
  /** How many messages may be asked for now; they are set aside until `giveBack`. 0: none. */
  readonly reserve: () => number;
  readonly giveBack: (count: number) => void;
  /** One partition of an answer; its locks hold until then, on the monotonic clock. */
  readonly onRecords: (
    session: ShareSession,
    place: SharePlace,
    answer: ShareFetchResponse["responses"][number]["partitions"][number],
    lockedUntilMs: number,
  ) => void;
  readonly onLock: (lockMs: number) => void;
  /** The connection ended: the broker lets go of the locks that it had. */
  readonly onLost: (session: ShareSession) => void;
  /** Somebody else leads some of its partitions. */
  readonly onMoved: () => void;
  readonly onFailure: (cause: Error) => void;
}

/** Wait for new messages no longer than this while something is still to be said: it waits behind the answer. */
const busyWaitMs = 100;
const opening = 0;
const closing = -1;
/** Of the farewell; the connection's end says the same. */
const farewellMs = 3_000;

export class ShareSession {
  readonly node: NodeId;
  readonly #access: ShareSessionAccess;
  readonly #wishes = new Acknowledgements();
  readonly #places = new SessionPlaces();
  #epoch = opening;
  #pausedUntilMs = 0;
  /** Nothing was said of them yet, or no answer came to it. */
  readonly #open = new Set<Delivery>();
  #connection: Connection | undefined = undefined;
  #isFetching = true;
  /** A request is under way. */
  #isAsking = false;
  #isClosed = false;
  /** With which it ended. */
  #failure: Error | undefined = undefined;
  #quietWaiters: (() => void)[] = [];
  readonly #alarm: Alarm;

  constructor(node: NodeId, access: ShareSessionAccess) {
    this.node = node;
    this.#access = access;
    this.#alarm = new Alarm(access.cluster.settings.clock);
    void this.#live();
  }

  /** Nothing is asked for, held, to be said or under way. */
  get isIdle(): boolean {
    return !this.#isAsking && this.#places.isEmpty && this.#open.size === 0 && this.#wishes.isEmpty;
  }

  /** Whether locks can be renewed (KIP-1222); true until the broker has been asked. */
  get canRenew(): boolean {
    const connection = this.#connection;
    return (
      connection === undefined ||
      !connection.serves(ShareAcknowledge) ||
      connection.versionOf(ShareAcknowledge) >= 2
    );
  }

  begin(delivery: Delivery): void {
    this.#open.add(delivery);
  }

  over(delivery: Delivery): void {
    this.#open.delete(delivery);
  }

  want(places: readonly SharePlace[]): void {
    this.#places.want(places);
    this.poke();
  }

  say(wish: Wish): void {
    const over = this.#failure ?? (this.#isClosed ? new ClosedError("the worker was closed") : undefined);
    if (over !== undefined) {
      wish.onFailed(over, "not-acknowledged");
      return;
    }
    this.#wishes.add(wish);
    this.poke();
  }

  get wishes(): Acknowledgements {
    return this.#wishes;
  }

  /** Looks whether there is something to do. */
  poke(): void {
    this.#alarm.wake();
  }

  /** Asks for no more messages. */
  stopFetching(): void {
    this.#isFetching = false;
    this.poke();
  }

  /** Says what is to be said until `untilMs`, and ends the session; what it still has locked is released by that. */
  async close(untilMs: number): Promise<void> {
    this.stopFetching();
    const { clock } = this.#access.cluster.settings;
    const limit = Promise.withResolvers<void>();
    const timer = clock.schedule(Math.max(1, untilMs - clock.monotonicMs()), limit.resolve);
    const said = async (): Promise<void> => {
      while (!this.#wishes.isEmpty || this.#isAsking) await this.#quiet();
    };
    await Promise.race([said(), limit.promise]);
    timer.cancel();
    this.#isClosed = true;
    this.poke();
    const isOpen = this.#epoch !== opening && this.#connection?.isOpen === true && !this.#isAsking;
    if (isOpen) await this.#farewell().catch(() => undefined);
    this.#wishes.giveUp(new ClosedError("the worker was closed"));
  }

  #quiet(): Promise<void> {
    return new Promise((resolve) => this.#quietWaiters.push(resolve));
  }

  async #live(): Promise<void> {
    // So that whoever made it has it before anything is asked of them.
    await Promise.resolve();
    while (!this.#isClosed) {
      const step = this.#next();
      if (step === undefined) {
        await this.#idle();
        continue;
      }
      this.#isAsking = true;
      try {
        await step;
      } catch (cause) {
        this.#end(cause as Error);
      }
      this.#isAsking = false;
      for (const wake of this.#quietWaiters.splice(0)) wake();
    }
    // What was on its way when it was closed has come back, and goes nowhere any more.
    this.#wishes.giveUp(new ClosedError("the worker was closed"));
  }

  #next(): Promise<void> | undefined {
    const nowMs = this.#nowMs;
    if (this.#pausedUntilMs > nowMs) return undefined;
    const wanted = this.#places.at(nowMs);
    const hasWishes = !this.#wishes.isEmpty;
    const mayFetch = this.#isFetching && wanted.size > 0;
    if (this.#epoch === opening) {
      const room = mayFetch ? this.#access.reserve() : 0;
      if (room === 0 && !hasWishes) return undefined;
      return this.#fetch(wanted, room, nothingCarried());
    }
    if (this.#wishes.hasRenewals || (hasWishes && !this.#wishes.isWithin(new Set(wanted.keys())))) {
      return this.#acknowledge();
    }
    const room = mayFetch ? this.#access.reserve() : 0;
    if (room > 0) return this.#fetch(wanted, room, this.#wishes.take());
    return hasWishes ? this.#acknowledge() : undefined;
  }

  async #fetch(wanted: ReadonlyMap<string, SharePlace>, room: number, carried: Carried): Promise<void> {
    const { settings, giveBack, memberId } = this.#access;
    const isBusy = this.#open.size > 0 || !this.#wishes.isEmpty || carried.wishes.size > 0;
    const maxWaitMs = room === 0 ? 0 : isBusy ? Math.min(busyWaitMs, settings.maxWaitMs) : settings.maxWaitMs;
    const request: ShareFetchRequest = {
      groupId: settings.group,
      memberId,
      shareSessionEpoch: this.#epoch,
      maxWaitMs,
      minBytes: room === 0 ? 0 : 1,
      maxBytes: room === 0 ? 0 : settings.fetchBytesMax,
      maxRecords: room,
      batchSize: room,
      // Not more than was asked for: what lies here nobody else can handle.
      shareAcquireMode: 1,
      isRenewAck: false,
      ...this.#places.toTell(wanted, carried),
    };
    let answer: ShareFetchResponse | undefined;
    const sentMs = await this.#ask(carried, maxWaitMs, async (connection, timeoutMs) => {
      answer = await connection.call(ShareFetch, request, { timeoutMs });
      return answer;
    });
    giveBack(room);
    if (sentMs === undefined || answer === undefined) return;
    this.#places.told(wanted);
    const lockMs = answer.acquisitionLockTimeoutMs;
    if (lockMs > 0) this.#access.onLock(lockMs);
    const nowMs = this.#nowMs;
    const parts = answer.responses.flatMap(({ topicId, partitions }) =>
      partitions.map((part) => ({ part, name: nameOf({ topicId, partition: part.partitionIndex }) })),
    );
    // All words first: whatever the records do to who handles them, each promise has settled.
    for (const { part, name } of parts) {
      const told = { errorCode: part.acknowledgeErrorCode, message: part.acknowledgeErrorMessage };
      this.#wishes.settle(carried, name, told, { sentMs, lockMs, nowMs });
    }
    this.#wishes.settleRest(carried, nowMs);
    for (const { part, name } of parts) {
      const place = wanted.get(name);
      if (place === undefined) continue;
      if (part.errorCode !== ErrorCode.NONE) this.#refused(place, part.errorCode, part.errorMessage);
      else {
        this.#access.watch.succeeded("share fetch", placeOf(place));
        if (part.acquiredRecords.length > 0) this.#access.onRecords(this, place, part, sentMs + lockMs);
      }
    }
  }

  async #acknowledge(): Promise<void> {
    const carried = this.#wishes.take();
    const request = {
      groupId: this.#access.settings.group,
      memberId: this.#access.memberId,
      shareSessionEpoch: this.#epoch,
      isRenewAck: carried.hasRenewals,
      topics: carried.topics,
    };
    await this.#ask(carried, 0, async (connection, timeoutMs, sentMs) => {
      const answer = await connection.call(ShareAcknowledge, request, { timeoutMs });
      if (answer.errorCode !== ErrorCode.NONE) return answer;
      const lockMs = answer.acquisitionLockTimeoutMs;
      const nowMs = this.#nowMs;
      for (const { topicId, partitions } of answer.responses) {
        for (const { partitionIndex: partition, errorCode, errorMessage } of partitions) {
          const told = { errorCode, message: errorMessage };
          this.#wishes.settle(carried, nameOf({ topicId, partition }), told, { sentMs, lockMs, nowMs });
        }
      }
      this.#wishes.settleRest(carried, nowMs);
      return answer;
    });
  }

  /** Sends one request of the session. Resolves with when it left; `undefined`: it failed, and is dealt with. */
  async #ask(
    carried: Carried,
    maxWaitMs: number,
    send: (
      connection: Connection,
      timeoutMs: number,
      sentMs: number,
    ) => Promise<{ readonly errorCode: number; readonly errorMessage: string | null }>,
  ): Promise<number | undefined> {
    const { cluster, links, watch } = this.#access;
    const broker = cluster.broker(this.node);
    const operation =
      broker === undefined ? `reach broker ${this.node}` : `share messages of ${formatAddress(broker)}`;
    try {
      if (broker === undefined) throw new NoBrokerError(`Broker ${this.node} is not known any more.`);
      const connection = links.peek(broker) ?? (await links.to(broker));
      if (connection !== this.#connection) {
        if (this.#connection !== undefined && this.#epoch !== opening) {
          // The broker's session ended with its connection: what is to be said waits for a new one.
          this.#follow(connection);
          this.#restart();
          this.#wishes.again(
            wishesOf(carried),
            new ConnectionLostError("the connection ended", { sent: false }),
            this.#nowMs,
          );
          return undefined;
        }
        this.#follow(connection);
      }
      const sentMs = this.#nowMs;
      const answer = await send(connection, maxWaitMs + cluster.settings.requestTimeoutMs, sentMs);
      if (answer.errorCode !== ErrorCode.NONE) {
        this.#refusedWhole(answer, carried, operation);
        return undefined;
      }
      watch.succeeded(operation);
      this.#epoch = this.#epoch === 0x7fff_ffff ? 1 : this.#epoch + 1;
      return sentMs;
    } catch (cause) {
      const failure = cause as Error;
      const isUnsent = failure instanceof ConnectionLostError ? !failure.sent : !isLost(failure);
      if (!isUnsent) for (const wish of wishesOf(carried)) wish.isDoubtful = true;
      this.#restart();
      this.#wishes.again(
        wishesOf(carried),
        failure,
        isRetriable(failure) ? this.#nowMs : Number.POSITIVE_INFINITY,
      );
      this.#wishes.expire(failure, this.#nowMs);
      if (this.#isClosed) return undefined;
      if (!isRetriable(failure)) {
        this.#end(failure);
        return undefined;
      }
      this.#pause(watch.failed(operation, failure));
      this.#lookAgain();
      return undefined;
    }
  }

  /** A connection that ends between two requests takes the session with it. */
  #follow(connection: Connection): void {
    this.#connection = connection;
    connection.onClose(() => {
      if (this.#connection === connection && !this.#isAsking && !this.#isClosed) this.#restart();
    });
  }

  /** None of the request was carried out. */
  #refusedWhole(
    { errorCode, errorMessage }: { readonly errorCode: number; readonly errorMessage: string | null },
    carried: Carried,
    operation: string,
  ): void {
    const { watch, settings } = this.#access;
    const cause = new BrokerRefusedError(
      `Taking messages of group ${settings.group}`,
      errorCode,
      errorMessage,
    );
    const isOfSession =
      errorCode === ErrorCode.SHARE_SESSION_NOT_FOUND || errorCode === ErrorCode.INVALID_SHARE_SESSION_EPOCH;
    this.#restart();
    const mayAgain = isOfSession || errorFacts(errorCode).retriable;
    this.#wishes.again(wishesOf(carried), cause, mayAgain ? this.#nowMs : Number.POSITIVE_INFINITY);
    this.#wishes.expire(cause, this.#nowMs);
    if (!mayAgain) {
      this.#end(cause);
      return;
    }
    this.#pause(watch.failed(operation, cause));
  }

  #refused(place: SharePlace, code: number, message: string | null): void {
    const { watch, onFailure } = this.#access;
    const where = placeOf(place);
    const cause = new BrokerRefusedError(
      `Taking messages of ${place.topic}/${place.partition}`,
      code,
      message,
    );
    const isGone = code === ErrorCode.UNKNOWN_TOPIC_ID || code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    if (!isGone && !errorFacts(code).retriable && code !== ErrorCode.UNKNOWN_SERVER_ERROR) {
      onFailure(cause);
      return;
    }
    this.#places.postpone(place, this.#nowMs + watch.failed("share fetch", cause, where));
    this.#lookAgain();
  }

  /** The broker forgets what this session had, and lets go of its locks. */
  #restart(): void {
    if (this.#epoch === opening) return;
    this.#epoch = opening;
    this.#places.forget();
    this.#access.onLost(this);
  }

  #lookAgain(): void {
    const { cluster, settings, onMoved } = this.#access;
    for (const topic of settings.topics) cluster.refresh(topic);
    onMoved();
  }

  async #farewell(): Promise<void> {
    const { settings, memberId } = this.#access;
    const request = {
      groupId: settings.group,
      memberId,
      shareSessionEpoch: closing,
      isRenewAck: false,
      topics: [],
    };
    await this.#connection?.call(ShareAcknowledge, request, { timeoutMs: farewellMs });
  }

  /** Nothing is asked of the broker any more: what is said, or will be, cannot count. */
  #end(cause: Error): void {
    this.#failure = cause;
    this.#pausedUntilMs = Number.POSITIVE_INFINITY;
    this.#wishes.giveUp(cause);
    this.#access.onFailure(cause);
  }

  #pause(ms: number): void {
    this.#pausedUntilMs = this.#nowMs + ms;
  }

  /** Until there may be something to do. */
  #idle(): Promise<void> {
    const nowMs = this.#nowMs;
    const times = [this.#pausedUntilMs, ...this.#places.times()].filter((atMs) => atMs > nowMs);
    return this.#alarm.wait(Math.min(...times));
  }

  get #nowMs(): number {
    return this.#access.cluster.settings.clock.monotonicMs();
  }
}

const placeOf = ({
  topic,
  partition,
}: SharePlace): { readonly topic: string; readonly partition: number } => ({
  topic,
  partition,
});

/** Whether the failure may have come after the request was sent. */
const isLost = (cause: Error): boolean => !(cause instanceof NoBrokerError);
