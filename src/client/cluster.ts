/**
 * What the client knows of its cluster: brokers, topics, who leads which partition. It learns by asking
 * any broker (those it knows, else those of the bootstrap list), keeps what it learnt until told that it
 * was wrong or until it is old, and never lets an older answer replace a newer one.
 */
import {
  NO_TOPIC_ID,
  type LeaderEpoch,
  type NodeId,
  type PartitionIndex,
  type TopicId,
} from "../base/ids.ts";
import { sleep } from "../base/ports.ts";
import type { Api } from "../protocol/api.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { Metadata, type MetadataRequest, type MetadataResponse } from "../protocol/messages/metadata.ts";
import { type Address, formatAddress } from "./address.ts";
import type { CallOptions, Connection } from "./connection.ts";
import {
  BrokerRefusedError,
  ClosedError,
  ConnectionLostError,
  NoBrokerError,
  NotKafkaError,
  UnknownPartitionError,
  UnknownTopicError,
} from "./errors.ts";
import { Links } from "./links.ts";
import { backoffAfter, type ClientSettings } from "./settings.ts";
import { similarNames } from "./similar-names.ts";

export interface BrokerView extends Address {
  readonly nodeId: NodeId;
  readonly rack: string | null;
}

export interface PartitionView {
  readonly index: PartitionIndex;
  /** −1: none at the moment. */
  readonly leader: NodeId;
  readonly leaderEpoch: LeaderEpoch;
  readonly replicas: readonly NodeId[];
  readonly inSync: readonly NodeId[];
}

/** One topic as of one answer; a refresh puts another in its place. */
export interface TopicView {
  readonly name: string;
  /** `NO_TOPIC_ID`: the broker is too old to tell. */
  readonly id: TopicId;
  readonly isInternal: boolean;
  /** By index, without gaps. */
  readonly partitions: readonly PartitionView[];
  /** When it was learnt, on the monotonic clock. */
  readonly learntMs: number;
}

export interface AskOptions extends CallOptions {
  /** How long to look for a broker that answers; the default is `requestTimeoutMs`. */
  readonly searchMs?: number;
  /** Whether to ask again when an earlier attempt may have been carried out; default true. */
  readonly repeatable?: boolean;
}

export interface TopicOptions {
  /** How long to look for a broker, and for the topic's leaders; the default is `requestTimeoutMs`. */
  readonly searchMs?: number;
  /** Let the broker create it, if it is configured to; default false. */
  readonly create?: boolean;
}

/** Topics to ask about together. */
interface Round {
  /** And whether each may be created. */
  readonly names: Map<string, boolean>;
  searchEndMs: number;
  done: Promise<void>;
}

/** Names in one Metadata request. */
const namesMax = 1_000;

export class Cluster {
  readonly settings: ClientSettings;
  readonly #links: Links;
  readonly #brokers = new Map<NodeId, BrokerView>();
  readonly #topics = new Map<string, TopicView>();
  readonly #listeners = new Set<() => void>();
  /** Why each topic that was asked for is not there. */
  readonly #absence = new Map<string, number>();
  readonly #refreshing = new Set<string>();
  /** The round that has not begun yet. */
  #next: Round | null = null;
  #running: Promise<void> = Promise.resolve();
  #current: Connection | null = null;
  #everReached = false;
  #clusterId: string | null = null;
  #controllerId = -1;
  #closed = false;

  constructor(settings: ClientSettings) {
    this.settings = settings;
    this.#links = new Links(settings);
  }

  get clusterId(): string | null {
    return this.#clusterId;
  }
  /** −1: not known. */
  get controllerId(): number {
    return this.#controllerId;
  }
  get brokers(): readonly BrokerView[] {
    return [...this.#brokers.values()];
  }
  broker(id: NodeId): BrokerView | undefined {
    return this.#brokers.get(id);
  }
  /** The bootstrap addresses, for sentences. */
  get where(): string {
    return this.settings.bootstrap.map(formatAddress).join(",");
  }

  /** Reaches a broker now; one attempt at each address. Rejects with `NoBrokerError` or `NotKafkaError`. */
  async connect(): Promise<void> {
    await this.#connection(new Set());
  }

  /** Called after each refresh; returns how to stop that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What is known of a topic now. Asks again in the background when it is old. */
  peek(name: string): TopicView | undefined {
    const view = this.#topics.get(name);
    if (view !== undefined) {
      const ageMs = this.settings.clock.monotonicMs() - view.learntMs;
      if (ageMs > this.settings.metadataMaxAgeMs) this.refresh(name);
    }
    return view;
  }

  /** Something that was learnt of the topic turned out to be wrong: asks again soon, without a promise. */
  refresh(name: string): void {
    // While one is under way another would tell nothing more: who is not content asks again after it.
    if (this.#refreshing.has(name)) return;
    this.#refreshing.add(name);
    const done = (): void => void this.#refreshing.delete(name);
    // A failure will be met by whoever needs the answer.
    this.#ask(name, false).then(done, done);
  }

  /** A leader that an answer named in passing (KIP-951). */
  learnLeader(name: string, index: number, leader: NodeId, leaderEpoch: LeaderEpoch): void {
    const view = this.#topics.get(name);
    const known = view?.partitions[index];
    if (view === undefined || known === undefined || leaderEpoch <= known.leaderEpoch) return;
    if (!this.#brokers.has(leader)) return;
    this.#topics.set(name, {
      ...view,
      partitions: view.partitions.with(index, { ...known, leader, leaderEpoch }),
    });
  }

  /**
   * The topic, asked for if it is not known. Rejects with `UnknownTopicError` when it is not there for
   * `topicTimeoutMs`, with `BrokerRefusedError`, and with what `ask` rejects with.
   */
  async topic(name: string, options: TopicOptions = {}): Promise<TopicView> {
    const known = this.peek(name);
    return known ?? this.askTopic(name, options);
  }

  /** As `topic`, but asks in any case. */
  async askTopic(name: string, options: TopicOptions = {}): Promise<TopicView> {
    const { clock, topicTimeoutMs, requestTimeoutMs } = this.settings;
    const beginMs = clock.monotonicMs();
    const searchEndMs = beginMs + (options.searchMs ?? requestTimeoutMs);
    let absentSinceMs: number | null = null;
    for (let attempt = 1; ; attempt++) {
      this.#absence.delete(name);
      await this.#ask(name, options.create ?? false, searchEndMs);
      const view = this.#topics.get(name);
      const absence = this.#absence.get(name);
      if (view !== undefined && absence === undefined) return view;
      const nowMs = clock.monotonicMs();
      absentSinceMs ??= nowMs;
      const code = absence ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      const isUnknown = code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      if (!errorFacts(code).retriable) throw new BrokerRefusedError(`Looking for topic "${name}"`, code);
      const giveUpMs = isUnknown ? absentSinceMs + topicTimeoutMs : searchEndMs;
      if (nowMs >= giveUpMs) {
        if (isUnknown) throw new UnknownTopicError(name, await this.#similar(name), this.where);
        throw new BrokerRefusedError(`Looking for topic "${name}"`, code);
      }
      await sleep(clock, Math.min(backoffAfter(attempt, this.settings), Math.max(1, giveUpMs - nowMs)));
    }
  }

  /** Throws `UnknownPartitionError`. */
  partition(view: TopicView, index: number): PartitionView {
    const partition = view.partitions[index];
    if (partition === undefined) throw new UnknownPartitionError(view.name, index, view.partitions.length);
    return partition;
  }

  /** All topics there are; refreshes what is known of each. */
  async listTopics(options: AskOptions = {}): Promise<readonly TopicView[]> {
    const answer = await this.ask(Metadata, question(null), options);
    this.#learn(answer, []);
    return answer.topics.flatMap(({ name }) => {
      const view = name === null ? undefined : this.#topics.get(name);
      return view === undefined ? [] : [view];
    });
  }

  /**
   * Asks any broker, and another when one cannot be reached. Rejects with `NoBrokerError` when none could
   * be reached in time, `ConnectionLostError` when the request may have been carried out and is not
   * repeatable, `NotKafkaError`, `VersionGapError`, `ClosedError`.
   */
  async ask<Req, Res>(api: Api<Req, Res>, request: Req, options: AskOptions = {}): Promise<Res> {
    const { clock, requestTimeoutMs, bootstrapTimeoutMs } = this.settings;
    const beginMs = clock.monotonicMs();
    const searchMs = options.searchMs ?? requestTimeoutMs;
    const failed = new Set<string>();
    for (let attempt = 1; ; attempt++) {
      let cause: unknown;
      try {
        const connection = await this.#connection(failed);
        return await connection.call(api, request, options);
      } catch (thrown) {
        cause = thrown;
      }
      const spentMs = clock.monotonicMs() - beginMs;
      const limitMs = this.#everReached ? searchMs : Math.min(searchMs, bootstrapTimeoutMs);
      const mayRepeat =
        cause instanceof NoBrokerError ||
        (cause instanceof ConnectionLostError && (!cause.sent || options.repeatable !== false)) ||
        (cause instanceof NotKafkaError && (this.#everReached || isCutOff(cause)));
      if (!mayRepeat || spentMs >= limitMs) throw cause;
      await sleep(clock, Math.min(backoffAfter(attempt, this.settings), Math.max(1, limitMs - spentMs)));
      failed.clear();
    }
  }

  close(): void {
    this.#closed = true;
    this.#links.close();
  }

  /** One round at a time; whoever asks during a round joins the next. */
  #ask(name: string, create: boolean, searchEndMs = Number.POSITIVE_INFINITY): Promise<void> {
    let round = this.#next;
    if (round === null) {
      const made: Round = { names: new Map(), searchEndMs: 0, done: Promise.resolve() };
      made.done = this.#running.then(() => this.#run(made));
      // The next round begins whatever becomes of this one; its failure is for those who wait for it.
      this.#running = made.done.catch(() => undefined);
      this.#next = round = made;
    }
    round.names.set(name, create || (round.names.get(name) ?? false));
    round.searchEndMs = Math.max(round.searchEndMs, searchEndMs);
    return round.done;
  }

  async #run(round: Round): Promise<void> {
    if (this.#next === round) this.#next = null;
    const { clock, requestTimeoutMs } = this.settings;
    for (const create of [false, true]) {
      const names = [...round.names].flatMap(([name, wish]) => (wish === create ? [name] : []));
      for (let at = 0; at < names.length; at += namesMax) {
        const part = names.slice(at, at + namesMax);
        const leftMs = Math.max(0, round.searchEndMs - clock.monotonicMs());
        const options = { searchMs: Number.isFinite(leftMs) ? leftMs : requestTimeoutMs };
        this.#learn(await this.ask(Metadata, question(part, create), options), part);
      }
    }
  }

  #learn(answer: MetadataResponse, wanted: readonly string[]): void {
    const learntMs = this.settings.clock.monotonicMs();
    if (answer.brokers.length > 0) {
      this.#brokers.clear();
      for (const { nodeId, host, port, rack } of answer.brokers) {
        this.#brokers.set(nodeId, { nodeId, host, port, rack });
      }
    }
    this.#clusterId = answer.clusterId;
    this.#controllerId = answer.controllerId;
    for (const topic of answer.topics) {
      if (topic.name === null) continue;
      if (topic.errorCode !== ErrorCode.NONE) {
        this.#topics.delete(topic.name);
        if (wanted.includes(topic.name)) this.#absence.set(topic.name, topic.errorCode);
        continue;
      }
      this.#absence.delete(topic.name);
      this.#topics.set(topic.name, viewOf(topic, topic.name, learntMs, this.#topics.get(topic.name)));
    }
    for (const listener of this.#listeners) listener();
  }

  async #similar(name: string): Promise<readonly string[]> {
    try {
      const all = await this.listTopics({ searchMs: 1_000, timeoutMs: 1_000 });
      return similarNames(
        name,
        all.filter((topic) => !topic.isInternal).map((topic) => topic.name),
      );
    } catch {
      // A hint in a sentence about another failure: without it the sentence is still true.
      return [];
    }
  }

  /** An open connection to any broker. `failed` collects addresses that need not be tried again now. */
  async #connection(failed: Set<string>): Promise<Connection> {
    if (this.#current?.isOpen === true) return this.#current;
    let first: unknown = null;
    for (const [address, known] of this.#candidates()) {
      if (this.#closed) break;
      if (failed.has(formatAddress(address))) continue;
      try {
        this.#current = await this.#links.to(address, known);
        this.#everReached = true;
        return this.#current;
      } catch (cause) {
        first ??= cause;
        failed.add(formatAddress(address));
      }
    }
    if (this.#closed) throw new ClosedError("The client was closed.");
    throw first ?? new NoBrokerError(`No broker of ${this.where} can be reached.`);
  }

  /** Brokers that are known, from a random one on; then the bootstrap list. */
  *#candidates(): Generator<[Address, "bootstrap" | "advertised"]> {
    const brokers = this.brokers;
    const begin = brokers.length === 0 ? 0 : this.settings.random.u32() % brokers.length;
    for (let at = 0; at < brokers.length; at++) {
      yield [brokers[(begin + at) % brokers.length] as BrokerView, "advertised"];
    }
    for (const address of this.settings.bootstrap) yield [address, "bootstrap"];
  }
}

/** It took the connection and closed it without a word: perhaps a broker that is just ending, or beginning. */
const isCutOff = ({ cause }: NotKafkaError): boolean => cause instanceof ConnectionLostError;

function question(names: readonly string[] | null, create = false): MetadataRequest {
  return {
    topics: names === null ? null : names.map((name) => ({ topicId: NO_TOPIC_ID, name })),
    allowAutoTopicCreation: create,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  };
}

type TopicAnswer = MetadataResponse["topics"][number];

/** A partition whose leader epoch is older than what is known of it keeps what is known. */
function viewOf(
  topic: TopicAnswer,
  name: string,
  learntMs: number,
  before: TopicView | undefined,
): TopicView {
  const sameTopic = before !== undefined && before.id === topic.topicId;
  const partitions: PartitionView[] = [];
  for (const each of topic.partitions.toSorted((a, b) => a.partitionIndex - b.partitionIndex)) {
    const known = sameTopic ? before.partitions[each.partitionIndex] : undefined;
    partitions.push(
      known !== undefined && known.leaderEpoch > each.leaderEpoch
        ? known
        : {
            index: each.partitionIndex,
            leader: each.leaderId,
            leaderEpoch: each.leaderEpoch,
            replicas: each.replicaNodes,
            inSync: each.isrNodes,
          },
    );
  }
  return { name, id: topic.topicId, isInternal: topic.isInternal, partitions, learntMs };
}
