/**
 * A simulated worker of a share group: takes records, and says of each what became of it; in time or late, once or
 * twice, along with the next fetch or by itself. It vanishes, sleeps longer than its locks last, forgets records,
 * dies of poisonous ones, and speaks of what is not his. What he sees goes to the judge.
 */
import { offset, partitionIndex, type TopicId } from "../base/ids.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { ShareAcknowledge, type ShareAcknowledgeResponse } from "../protocol/messages/share-acknowledge.ts";
import { ShareFetch, type ShareFetchResponse } from "../protocol/messages/share-fetch.ts";
import { batchesIn } from "../record/batch.ts";
import { recordsIn } from "../record/record.ts";
import type { Actor } from "./actor.ts";
import type { Api } from "../protocol/api.ts";
import { type Caller, Disconnected } from "./client.ts";
import { type Held, type ShareHistory, type ShareRecord, ShareVisit, type Word } from "./share-history.ts";
import type { WorkPace } from "./share-pace.ts";

const version = 2;
const inflatedBytesMax = 1 << 24;
const types: { readonly [word in Word]: number } = { accept: 1, release: 2, reject: 3, renew: 4 };

export interface SharePlace {
  readonly topic: string;
  readonly topicId: TopicId;
  readonly partition: number;
}

export interface ShareWorkerOptions {
  readonly name: string;
  readonly history: ShareHistory;
  readonly places: readonly SharePlace[];
  readonly pace: WorkPace;
  /** Whether the record ends each worker that works on it. */
  readonly isPoison: (value: string) => boolean;
}

/** Codes after which a session begins anew; of the others those that are retriable. */
const sessionGone = new Set<ErrorCode>([
  ErrorCode.SHARE_SESSION_NOT_FOUND,
  ErrorCode.INVALID_SHARE_SESSION_EPOCH,
  ErrorCode.SHARE_SESSION_LIMIT_REACHED,
]);

export class ShareWorker {
  readonly #actor: Actor;
  readonly #options: ShareWorkerOptions;
  #lives = 0;
  #memberId = "";
  #epoch = 0;
  #visit = new ShareVisit("");
  /** What it takes from over this connection; of several brokers each has partitions of its own. */
  #here: readonly SharePlace[] = [];
  /** By partition in the order of offsets. */
  #held: Held[] = [];
  /** What it was given over this connection. */
  #seen: Held[] = [];
  /** Connections of this life. */
  #visits = 0;
  /** It takes what is left, accepts all of it, and is careful. */
  #isCleaning = false;
  /** Answers that it heard. */
  operations = 0;
  deaths = 0;
  /** Fetches in a row that brought nothing, and since when. */
  #idleSinceMs = 0;

  constructor(actor: Actor, options: ShareWorkerOptions) {
    this.#actor = actor;
    this.#options = options;
    this.#die();
  }

  async run(isOver: () => boolean): Promise<void> {
    const { random, hasSeveralBrokers } = this.#actor;
    const { places } = this.#options;
    await this.#run(isOver, () => (hasSeveralBrokers ? [random.pick(places)] : places));
  }

  /** Until nothing was left for so long that whatever anybody held would be free. */
  async clean(quietMs: number): Promise<void> {
    const { places } = this.#options;
    this.#isCleaning = true;
    for (const here of this.#actor.hasSeveralBrokers ? places.map((place) => [place]) : [places]) {
      this.#idleSinceMs = this.#actor.nowMs;
      await this.#run(
        () => this.#actor.nowMs - this.#idleSinceMs > quietMs,
        () => here,
      );
    }
  }

  async #run(isOver: () => boolean, pick: () => readonly SharePlace[]): Promise<void> {
    while (!isOver()) {
      try {
        this.#here = pick();
        const client = await this.#actor.connect(this.#memberId);
        this.#visit = new ShareVisit(this.#memberId);
        this.#epoch = 0;
        this.#held = [];
        this.#seen = [];
        this.#visits++;
        try {
          await this.#session(client, isOver);
        } finally {
          client.close();
          this.#options.history.gone(this.#visit);
        }
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
        await this.#actor.pause(5);
      }
      if (this.#actor.hasDied()) this.#die();
    }
  }

  /** Another process takes its place. */
  #die(): void {
    this.#memberId = `${this.#options.name}-${++this.#lives}`;
    this.#visits = 0;
  }

  async #session(client: Caller, isOver: () => boolean): Promise<void> {
    const { random } = this.#actor;
    const { isPoison, pace } = this.#options;
    while (!isOver()) {
      await this.#fetch(client);
      // A record that ends it, in the middle of its work, and with it all that it holds.
      if (this.#held.some(({ value }) => isPoison(value)) && !this.#isCleaning) {
        this.deaths++;
        return this.#die();
      }
      if (this.#isCleaning) {
        await this.#say(client, "accept", this.#held);
        continue;
      }
      await this.#work();
      if (random.chance(0.02)) return this.#die();
      if (random.chance(0.02)) await this.#actor.wait(pace.lockMs * 3);
      await this.#tell(client);
      if (random.chance(0.04)) await this.#steal(client);
      if (random.chance(0.02)) return await this.#close(client);
      if (random.chance(0.2)) await this.#actor.wait(pace.idleMs);
    }
    await this.#close(client);
  }

  async #work(): Promise<void> {
    await this.#actor.wait(Math.max(this.#options.pace.workMs, this.#held.length * 200));
  }

  // ── Requests ──

  async #fetch(client: Caller): Promise<void> {
    const { random, nowMs: sentMs } = this.#actor;
    const { history } = this.#options;
    const alongs = this.#isCleaning || random.chance(0.7) ? [] : this.#some();
    if (alongs.length > 0) history.says("accept", alongs);
    this.#drop(alongs);
    const response = await this.#call(client, ShareFetch, {
      ...this.#head(),
      maxWaitMs: random.pick([0, 2_000, 10_000, 30_000]),
      minBytes: 1,
      maxBytes: random.pick([2_000, 1 << 20]),
      maxRecords: random.pick([1, 3, 10, 100]),
      batchSize: random.pick([1, 10, 500]),
      shareAcquireMode: random.pick([0, 1]),
      isRenewAck: false,
      topics: this.#topics("accept", alongs, this.#epoch === 0),
      forgottenTopicsData: [],
    }).catch((cause: unknown) => {
      if (cause instanceof Disconnected) history.fetchLost();
      throw cause;
    });
    const given = this.#recordsOf(response, sentMs);
    this.#actor.record(`${this.#memberId} asked at ${sentMs} and has ${given.map(nameOf).join(" ")}`);
    this.#judgeWords("accept", alongs, ofFetch(response), sentMs);
    this.#check(response.errorCode);
    for (const record of given) {
      this.#seen.push(record);
      // What it was given before ran out.
      this.#held = [...this.#held.filter((held) => !isSame(held, record)), record];
    }
    history.given(this.#visit, given, sentMs);
    if (given.length > 0) this.#idleSinceMs = this.#actor.nowMs;
    this.#held.sort((a, b) => a.partition - b.partition || a.offset - b.offset);
  }

  /** Says of what it holds what became of it. */
  async #tell(client: Caller): Promise<void> {
    const { random } = this.#actor;
    const word = random.pick(["accept", "accept", "accept", "accept", "release", "reject", "renew"] as const);
    const records = random.chance(0.7) ? this.#held : this.#some();
    if (word === "reject" && records.length > 3) return this.#say(client, word, records.slice(0, 1));
    await this.#say(client, word, records);
    if (random.chance(0.05)) await this.#say(client, word, records, true);
    // Some are forgotten: their locks run out.
    if (random.chance(0.05)) this.#drop(this.#some());
  }

  async #say(client: Caller, word: Word, records: readonly Held[], isAgain = false): Promise<void> {
    if (records.length === 0) return;
    const said = [...records];
    if (word !== "renew") this.#drop(said);
    this.#actor.record(`${this.#memberId} says ${word} of ${said.map(nameOf).join(" ")}`);
    // What is said twice may be refused, and tells nothing.
    if (!isAgain) this.#options.history.says(word, said);
    const sentMs = this.#actor.nowMs;
    const response = await this.#call(client, ShareAcknowledge, {
      ...this.#head(),
      isRenewAck: word === "renew",
      topics: this.#topics(word, said, false),
    });
    if (!isAgain) this.#judgeWords(word, said, ofAcknowledge(response), sentMs);
    this.#check(response.errorCode);
  }

  /** Accepts what it was never given. */
  async #steal(client: Caller): Promise<void> {
    const { random } = this.#actor;
    const record = this.#options.history.someRecord((count) => random.below(count));
    // What it was given and forgot is its own, and so may be what an answer had that was lost.
    if (record === null || !this.#here.some((place) => isAt(place, record))) return;
    if (this.#visits > 1 || this.#seen.some((seen) => isSame(seen, record))) return;
    const response = await this.#call(client, ShareAcknowledge, {
      ...this.#head(),
      isRenewAck: false,
      topics: this.#topics("accept", [record], false),
    });
    const place = this.#here.find((each) => isAt(each, record));
    const code = place === undefined ? undefined : ofAcknowledge(response)(place);
    if (code !== undefined) this.#options.history.answeredThief(record, code);
    this.#check(response.errorCode);
  }

  async #close(client: Caller): Promise<void> {
    this.#options.history.gone(this.#visit);
    const response = await this.#call(client, ShareAcknowledge, {
      ...this.#head(),
      shareSessionEpoch: -1,
      isRenewAck: false,
      topics: [],
    });
    this.#check(response.errorCode);
  }

  #head(): { groupId: string; memberId: string; shareSessionEpoch: number } {
    return { groupId: this.#options.history.group, memberId: this.#memberId, shareSessionEpoch: this.#epoch };
  }

  async #call<Req, Res>(client: Caller, api: Api<Req, Res>, request: Req): Promise<Res> {
    const sentMs = this.#actor.nowMs;
    const answer = await client.call(api, version, request);
    this.#epoch++;
    this.operations++;
    this.#options.history.heard(this.#visit, sentMs);
    return answer;
  }

  /** The answer as a whole: whoever has no session any more begins one anew. */
  #check(code: ErrorCode): void {
    if (code === ErrorCode.NONE) return;
    const { name, retriable } = errorFacts(code);
    if (!retriable && !sessionGone.has(code))
      this.#actor.history.violations.push(`${this.#memberId} was answered with ${name}`);
    throw new Disconnected(name);
  }

  #judgeWords(
    word: Word,
    records: readonly Held[],
    codeOf: (place: SharePlace) => ErrorCode | undefined,
    sentMs: number,
  ): void {
    for (const place of this.#here) {
      const here = records.filter((record) => isAt(place, record));
      const code = here.length === 0 ? undefined : codeOf(place);
      if (code !== undefined) this.#options.history.answered(this.#visit, word, here, code, sentMs);
    }
  }

  #topics(word: Word, records: readonly ShareRecord[], isOpening: boolean) {
    const byTopic = new Map<TopicId, Parameters<typeof partitionOf>[]>();
    for (const place of this.#here) {
      const here = records.filter((record) => isAt(place, record));
      if (here.length === 0 && !isOpening) continue;
      const known = byTopic.get(place.topicId) ?? [];
      byTopic.set(place.topicId, [...known, [place.partition, here, types[word]]]);
    }
    return Array.from(byTopic, ([topicId, parts]) => ({
      topicId,
      partitions: parts.map((part) => partitionOf(...part)),
    }));
  }

  // ── What it holds ──

  #some(): Held[] {
    return this.#held.filter(() => this.#actor.random.chance(0.3));
  }

  #drop(records: readonly Held[]): void {
    const dropped = new Set(records);
    this.#held = this.#held.filter((record) => !dropped.has(record));
  }

  #recordsOf(response: ShareFetchResponse, sentMs: number): readonly Held[] {
    return response.responses.flatMap(({ topicId, partitions }) =>
      partitions.flatMap((part) => {
        const topic = this.#here.find((place) => place.topicId === topicId)?.topic;
        if (topic === undefined) throw new Error("an answer names a topic that was asked for");
        const stored = (part.records ?? []).flatMap((chunk) =>
          [...batchesIn(chunk)].flatMap((batch) =>
            batch.isControl ? [] : [...recordsIn(batch, inflatedBytesMax)],
          ),
        );
        return part.acquiredRecords.flatMap(({ firstOffset, lastOffset, deliveryCount }) =>
          stored
            .filter((record) => record.offset >= firstOffset && record.offset <= lastOffset)
            .map((record) => ({
              topic,
              partition: part.partitionIndex as number,
              offset: record.offset as number,
              value: Buffer.from(record.value ?? []).toString(),
              deliveryCount,
              sinceMs: sentMs,
            })),
        );
      }),
    );
  }
}

const nameOf = ({ topic, partition, offset: at, deliveryCount }: Held): string =>
  `${topic}/${partition}@${at}#${deliveryCount}`;

const isSame = (a: ShareRecord, b: ShareRecord): boolean =>
  a.topic === b.topic && a.partition === b.partition && a.offset === b.offset;

function partitionOf(partition: number, records: readonly ShareRecord[], type: number) {
  return {
    partitionIndex: partitionIndex(partition),
    acknowledgementBatches: [...records]
      .sort((a, b) => a.offset - b.offset)
      .map((record) => ({
        firstOffset: offset(record.offset),
        lastOffset: offset(record.offset),
        acknowledgeTypes: [type],
      })),
  };
}

const isAt = (place: SharePlace, { topic, partition }: ShareRecord): boolean =>
  topic === place.topic && partition === place.partition;

const ofFetch =
  ({ responses }: ShareFetchResponse) =>
  (place: SharePlace): ErrorCode | undefined =>
    partOf(responses, place)?.acknowledgeErrorCode;

const ofAcknowledge =
  ({ responses }: ShareAcknowledgeResponse) =>
  (place: SharePlace): ErrorCode | undefined =>
    partOf(responses, place)?.errorCode;

function partOf<P extends { readonly partitionIndex: number }>(
  topics: readonly { readonly topicId: TopicId; readonly partitions: readonly P[] }[],
  { topicId, partition }: SharePlace,
): P | undefined {
  const topic = topics.find((each) => each.topicId === topicId);
  return topic?.partitions.find((each) => each.partitionIndex === partition);
}
