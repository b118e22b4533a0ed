/**
 * Incremental fetch sessions (KIP-227): a consumer of many partitions names only what changed, and is
 * answered only with what has news. The cache is bounded; losing a session costs the client one full
 * fetch, never data. Pure: the fetch handler reads, this remembers.
 */
import type { Clock } from "../base/ports.ts";
import type { LeaderEpoch, Offset, PartitionIndex, TopicId } from "../base/ids.ts";

/** What a client wants of one partition. */
export interface FetchWish {
  /** By id from version 13 on, by name before; the other one is empty. */
  readonly topic: string;
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
  readonly currentLeaderEpoch: LeaderEpoch;
  readonly fetchOffset: Offset;
  readonly lastFetchedEpoch: LeaderEpoch;
  readonly bytesMax: number;
}

export interface ForgottenPartition {
  readonly topic: string;
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
}

/** What of an answer decides whether a session has to hear it. */
export interface FetchNews {
  readonly errorCode: number;
  readonly recordBytes: number;
  readonly highWatermark: Offset;
  readonly logStart: Offset;
  readonly diverging: boolean;
}

interface SessionPartition {
  wish: FetchWish;
  /** As last told to the client; −1: never. */
  toldHighWatermark: number;
  toldLogStart: number;
}

interface Session {
  readonly id: number;
  /** The next request must carry this epoch. */
  epoch: number;
  readonly byId: boolean;
  /** In the order in which they are served next: what was served moves to the end, so that no partition starves. */
  readonly partitions: Map<string, SessionPartition>;
  lastUsedMs: number;
}

export type FetchPlan =
  | { readonly kind: "unknown-session" | "wrong-epoch" | "wrong-topic-naming" }
  | {
      readonly kind: "serve";
      readonly wishes: readonly FetchWish[];
      /** 0: no session. */
      readonly sessionId: number;
      /**
       * Whether the client was told that the partition of `wishes[index]` begins and ends there: then it has to
       * hear of records and errors only.
       */
      knows(index: number, logStart: Offset, highWatermark: Offset): boolean;
      /** Whether this answer may leave the partition out; remembers what the client was told. */
      omits(wish: FetchWish, news: FetchNews): boolean;
    };

/** A session unused for this long gives way to another; Kafka's min.incremental.fetch.session.eviction.ms. */
const idleMsMin = 120_000;
const sessionEpochMax = 0x7fff_ffff;
/** Each fetch of a session looks at all its partitions, however small the request: more get no session. */
const sessionPartitionsMax = 50_000;
/** What all sessions remember together: some 300 bytes a partition. */
const allPartitionsMax = 200_000;
/** No topic has a longer name; what is remembered must not be as long as a stranger likes. */
const nameLengthMax = 249;

const keyOf = (
  of: { readonly topic: string; readonly topicId: TopicId; readonly partition: number },
  byId: boolean,
): string => `${byId ? of.topicId : of.topic}/${of.partition}`;

const isNamedTooLong = ({ topic }: FetchWish): boolean => topic.length > nameLengthMax;

/** A partition counts once, as in Kafka: a fetch that waits would watch it as often as it is named. */
function distinct(wishes: readonly FetchWish[]): readonly FetchWish[] {
  const seen = new Map<string, Set<number>>();
  const once: FetchWish[] = [];
  for (const wish of wishes) {
    // A request names its topics one way, and leaves the other empty.
    const topic = wish.topic === "" ? wish.topicId : wish.topic;
    let partitions = seen.get(topic);
    if (partitions === undefined) {
      partitions = new Set();
      seen.set(topic, partitions);
    }
    if (partitions.has(wish.partition)) continue;
    partitions.add(wish.partition);
    once.push(wish);
  }
  return once;
}

const never = (): boolean => false;

export class FetchSessions {
  readonly #clock: Clock;
  readonly #slots: number;
  readonly #nextId: () => number;
  /** Bound over all sessions together; each remembers one row per partition. */
  readonly #partitionsMax: number;
  readonly #sessionPartitionsMax: number;
  #partitionCount = 0;
  /** Least recently used first. */
  readonly #sessions = new Map<number, Session>();

  /** `slots`: Kafka's max.incremental.fetch.session.cache.slots. `nextId` draws a positive int32. */
  constructor(options: {
    readonly clock: Clock;
    readonly slots: number;
    readonly nextId: () => number;
    readonly partitionsMax?: number;
    readonly sessionPartitionsMax?: number;
  }) {
    this.#clock = options.clock;
    this.#slots = options.slots;
    this.#nextId = options.nextId;
    this.#partitionsMax = options.partitionsMax ?? allPartitionsMax;
    this.#sessionPartitionsMax = options.sessionPartitionsMax ?? sessionPartitionsMax;
  }

  get count(): number {
    return this.#sessions.size;
  }

  plan(request: {
    readonly sessionId: number;
    readonly sessionEpoch: number;
    readonly byId: boolean;
    readonly wishes: readonly FetchWish[];
    readonly forgotten: readonly ForgottenPartition[];
  }): FetchPlan {
    if (request.sessionEpoch <= 0) return this.#planFull(request);
    const session = this.#sessions.get(request.sessionId);
    if (session === undefined) return { kind: "unknown-session" };
    if (session.epoch !== request.sessionEpoch) return { kind: "wrong-epoch" };
    if (session.byId !== request.byId) return { kind: "wrong-topic-naming" };
    session.epoch = session.epoch === sessionEpochMax ? 1 : session.epoch + 1;
    this.#touch(session);
    for (const wish of request.wishes) {
      const key = keyOf(wish, session.byId);
      const known = session.partitions.get(key);
      if (known === undefined) this.#add(session, wish);
      else known.wish = wish;
    }
    for (const forgotten of request.forgotten) {
      if (session.partitions.delete(keyOf(forgotten, session.byId))) this.#partitionCount--;
    }
    const tooMany =
      this.#partitionCount > this.#partitionsMax || session.partitions.size > this.#sessionPartitionsMax;
    if (tooMany || request.wishes.some(isNamedTooLong)) {
      this.#drop(session.id);
      return { kind: "unknown-session" };
    }
    const partitions = [...session.partitions.values()];
    return {
      kind: "serve",
      wishes: partitions.map(({ wish }) => wish),
      sessionId: session.id,
      knows(index, logStart, highWatermark) {
        const told = partitions[index];
        return told?.toldLogStart === logStart && told.toldHighWatermark === highWatermark;
      },
      omits: (wish, news) => this.#omits(session, wish, news),
    };
  }

  /** Epoch −1 ends a session and wants none; epoch 0 wants one. Both fetch what they name, whole. */
  #planFull(request: Parameters<FetchSessions["plan"]>[0]): FetchPlan {
    if (request.sessionId !== 0) this.#drop(request.sessionId);
    const wishes = distinct(request.wishes);
    const fits =
      this.#partitionCount + wishes.length <= this.#partitionsMax &&
      wishes.length <= this.#sessionPartitionsMax &&
      !wishes.some(isNamedTooLong);
    const wanted = request.sessionEpoch === 0 && wishes.length > 0;
    const session = wanted && fits ? this.#make(request.byId) : null;
    if (session === null) return { kind: "serve", wishes, sessionId: 0, knows: never, omits: never };
    for (const wish of wishes) this.#add(session, wish);
    return {
      kind: "serve",
      wishes,
      sessionId: session.id,
      knows: never,
      omits: (wish, news) => {
        this.#omits(session, wish, news);
        return false;
      },
    };
  }

  #make(byId: boolean): Session | null {
    if (this.#sessions.size >= this.#slots) {
      const [oldest] = this.#sessions.values();
      if (oldest === undefined || this.#clock.monotonicMs() - oldest.lastUsedMs < idleMsMin) return null;
      this.#drop(oldest.id);
    }
    let id = this.#nextId();
    while (this.#sessions.has(id)) id = this.#nextId();
    const session = { id, epoch: 1, byId, partitions: new Map(), lastUsedMs: this.#clock.monotonicMs() };
    this.#sessions.set(id, session);
    return session;
  }

  #add(session: Session, wish: FetchWish): void {
    const before = session.partitions.size;
    session.partitions.set(keyOf(wish, session.byId), { wish, toldHighWatermark: -1, toldLogStart: -1 });
    this.#partitionCount += session.partitions.size - before;
  }

  #drop(id: number): void {
    this.#partitionCount -= this.#sessions.get(id)?.partitions.size ?? 0;
    this.#sessions.delete(id);
  }

  #touch(session: Session): void {
    session.lastUsedMs = this.#clock.monotonicMs();
    this.#sessions.delete(session.id);
    this.#sessions.set(session.id, session);
  }

  #omits(session: Session, wish: FetchWish, news: FetchNews): boolean {
    const key = keyOf(wish, session.byId);
    const partition = session.partitions.get(key);
    if (partition === undefined) return false;
    const changed =
      news.errorCode !== 0 ||
      news.recordBytes > 0 ||
      news.diverging ||
      news.highWatermark !== partition.toldHighWatermark ||
      news.logStart !== partition.toldLogStart;
    if (news.recordBytes > 0) {
      session.partitions.delete(key);
      session.partitions.set(key, partition);
    }
    // After an error the client must hear of the partition again even if nothing moved.
    partition.toldHighWatermark = news.errorCode === 0 ? news.highWatermark : -1;
    partition.toldLogStart = news.logStart;
    return !changed;
  }
}
