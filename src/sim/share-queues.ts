/**
 * The queues of a world: two share groups that take from the same partitions, one of which keeps its dead records as
 * letters, while those of the other are dropped and said to be. Begins their states, hires their workers, hears what
 * brokers drop, and has the judge of each group look at the end.
 */
import { offset, partitionIndex, type TopicId } from "../base/ids.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { ConfigResource } from "../protocol/messages/describe-configs.ts";
import { ConfigOperation, IncrementalAlterConfigs } from "../protocol/messages/incremental-alter-configs.ts";
import { InitializeShareGroupState } from "../protocol/messages/initialize-share-group-state.ts";
import type { Actor } from "./actor.ts";
import { Disconnected } from "./client.ts";
import type { NewTopic } from "./create-topic.ts";
import type { LogEar } from "./env.ts";
import type { History } from "./history.ts";
import { insist } from "./insist.ts";
import { readLetters } from "./letter-reader.ts";
import type { SimRandom } from "./random.ts";
import { type DroppedRecords, ShareHistory } from "./share-history.ts";
import type { WorkPace } from "./share-pace.ts";
import { type SharePlace, ShareWorker } from "./share-worker.ts";

export interface ShareCounts {
  /** Answers that workers heard. */
  readonly answers: number;
  /** Records that workers were given, and how many of them not for the first time. */
  readonly given: number;
  readonly again: number;
  readonly accepted: number;
  readonly rejected: number;
  readonly released: number;
  readonly renewed: number;
  /** Words that were not taken: late, twice, or about others' records. */
  readonly refused: number;
  /** Records that were given as often as allowed, and that nobody accepted or rejected. */
  readonly expired: number;
  readonly deaths: number;
  /** Dead letters that could be read in the end. */
  readonly letters: number;
}

/** Of the second group; the dead of the first are dropped. */
export const letters: NewTopic = {
  name: "dlq.letters",
  partitions: 1,
  configs: [{ name: "errors.deadletterqueue.group.enable", value: "true" }],
};
const [dropping, keeping] = ["queue0", "queue1"] as const;
/** Of the records of one producer, one in so many ends each worker that has it. */
const poisonEach = 29;

export interface ShareQueuesOptions {
  readonly actor: (name: string) => Actor;
  readonly random: SimRandom;
  readonly pace: WorkPace;
  /** Undefined: nobody who could say so is there. */
  readonly idOf: (topic: string) => TopicId | undefined;
  readonly history: History;
}

interface Queue {
  readonly history: ShareHistory;
  readonly workers: readonly ShareWorker[];
  /** Takes what is left when the others are gone. */
  readonly cleaner: ShareWorker;
}

export class ShareQueues {
  readonly #options: ShareQueuesOptions;
  /** Of the brokers. */
  readonly settings: readonly (readonly [string, string])[];
  readonly #deliveryCountLimit: number;
  readonly #queues: Queue[] = [];
  #places: readonly SharePlace[] = [];
  /** What the log has in the end. */
  readonly #there = new Set<string>();
  #letters: readonly string[] = [];

  constructor(options: ShareQueuesOptions) {
    this.#options = options;
    const { random, pace } = options;
    this.#deliveryCountLimit = random.pick([2, 3, 5]);
    this.settings = [
      ["group.share.record.lock.duration.ms", String(pace.lockMs)],
      ["group.share.delivery.count.limit", String(this.#deliveryCountLimit)],
      ["group.share.partition.max.record.locks", random.pick(["100", "2000"])],
      ["share.coordinator.snapshot.update.records.per.snapshot", random.pick(["2", "20", "500"])],
    ];
  }

  /** Of brokers. */
  readonly onLog: LogEar = (event, facts) => {
    if (event !== "share-partition.records-dropped") return;
    const { groupId, topicId, ...dropped } = facts as unknown as DroppedRecords & {
      readonly groupId: string;
      readonly topicId: TopicId;
    };
    const topic = this.#places.find((place) => place.topicId === topicId)?.topic;
    const queue = this.#queues.find(({ history }) => history.group === groupId);
    if (topic !== undefined) queue?.history.dropped({ ...dropped, topic });
  };

  /** The topics are there, and that of the letters. */
  async open(topics: readonly NewTopic[]): Promise<void> {
    const { actor, random } = this.#options;
    const keeper = actor("keeper");
    const named = topics.map(async ({ name, partitions }) => {
      const topicId = await insist(keeper.clock, () => this.#idOf(name));
      return Array.from({ length: partitions }, (_, partition) => ({ topic: name, topicId, partition }));
    });
    this.#places = (await Promise.all(named)).flat();
    await insist(keeper.clock, () => configure(keeper));
    for (const group of [dropping, keeping]) {
      for (const place of this.#places) await insist(keeper.clock, () => begin(keeper, group, place));
      this.#queues.push(this.#hire(group, random.between(2, 4)));
    }
  }

  #idOf(topic: string): Promise<TopicId> {
    const id = this.#options.idOf(topic);
    return id === undefined ? Promise.reject(new Disconnected(`nobody knows ${topic}`)) : Promise.resolve(id);
  }

  #hire(group: string, count: number): Queue {
    const { actor, pace, history: written } = this.#options;
    const { clock, hasSeveralBrokers } = actor(group);
    const history = new ShareHistory({
      group,
      deliveryCountLimit: this.#deliveryCountLimit,
      lockMs: pace.lockMs,
      hasSeveralBrokers,
      nowMs: () => clock.monotonicMs(),
      violate: (sentence) => void written.violations.push(sentence),
    });
    const worker = (name: string): ShareWorker =>
      new ShareWorker(actor(name), { name, history, places: this.#places, pace, isPoison });
    const workers = Array.from({ length: count }, (_, at) => worker(`${group}-worker-${at}`));
    return { history, workers, cleaner: worker(`${group}-cleaner`) };
  }

  work(isOver: () => boolean): Promise<unknown> {
    return Promise.all(this.#queues.flatMap(({ workers }) => workers.map((worker) => worker.run(isOver))));
  }

  /** Once nobody works any more: careful workers take what is left, until nothing is. */
  async clean(): Promise<void> {
    const { pace, actor } = this.#options;
    await Promise.all(this.#queues.map(({ cleaner }) => cleaner.clean(pace.lockMs * 3)));
    const reader = actor("letters");
    this.#letters = await insist(reader.clock, () => readLetters(reader, letters.name));
  }

  /** `final`: what a partition holds in the end. */
  judge(topic: string, partition: number, final: ReadonlyMap<number, string>): void {
    if (!this.#places.some((place) => place.topic === topic && place.partition === partition)) return;
    for (const value of final.values()) this.#there.add(value);
    for (const { history } of this.#queues)
      history.judge(topic, partition, final, history.group === keeping ? this.#letters : []);
  }

  /** All partitions were judged. */
  judgeLetters(): void {
    for (const { history } of this.#queues)
      if (history.group === keeping)
        history.judgeLetters(this.#letters, {
          isThere: (value) => this.#there.has(value),
          wasWritten: (value) => this.#options.history.wasAttempted(value),
        });
  }

  get counts(): ShareCounts {
    const total = (of: (history: ShareHistory) => number): number =>
      this.#queues.reduce((sum, { history }) => sum + of(history), 0);
    const workers = this.#queues.flatMap(({ workers: all, cleaner }) => [...all, cleaner]);
    return {
      answers: workers.reduce((sum, { operations }) => sum + operations, 0),
      deaths: workers.reduce((sum, { deaths }) => sum + deaths, 0),
      given: total(({ counts }) => counts.given),
      again: total(({ counts }) => counts.again),
      accepted: total(({ counts }) => counts.accepted),
      rejected: total(({ counts }) => counts.rejected),
      released: total(({ counts }) => counts.released),
      renewed: total(({ counts }) => counts.renewed),
      refused: total(({ counts }) => counts.refused),
      expired: total(({ counts }) => counts.expired),
      letters: total(({ counts }) => counts.letters),
    };
  }
}

/** As the coordinator of the group would: its state begins at the beginning of each partition. */
async function begin(keeper: Actor, groupId: string, { topicId, partition }: SharePlace): Promise<void> {
  const client = await keeper.connect("keeper");
  try {
    const begun = { partition: partitionIndex(partition), stateEpoch: 0, startOffset: offset(0) };
    const { results } = await client.call(InitializeShareGroupState, 0, {
      groupId,
      topics: [{ topicId, partitions: [begun] }],
    });
    const code = results[0]?.partitions[0]?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
    if (code !== ErrorCode.NONE) throw new Disconnected(errorFacts(code).name);
  } finally {
    client.close();
  }
}

/** Of the group that keeps its dead. */
async function configure(keeper: Actor): Promise<void> {
  const client = await keeper.connect("keeper");
  try {
    const settings = [
      ["errors.deadletterqueue.topic.name", letters.name],
      ["errors.deadletterqueue.copy.record.enable", "true"],
      ["share.isolation.level", "read_committed"],
    ] as const;
    const configs = settings.map(([name, value]) => ({ name, configOperation: ConfigOperation.set, value }));
    const resource = { resourceType: ConfigResource.group, resourceName: keeping, configs };
    const { responses } = await client.call(IncrementalAlterConfigs, 1, {
      resources: [resource],
      validateOnly: false,
    });
    const [answer] = responses;
    if (answer?.errorCode === ErrorCode.NONE) return;
    const { name, retriable } = errorFacts(answer?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR);
    if (retriable) throw new Disconnected(name);
    throw new Error(answer?.errorMessage ?? name);
  } finally {
    client.close();
  }
}

/** Told by its name: topic, partition, producer, order. */
function isPoison(value: string): boolean {
  const [, , , order] = value.split("-");
  return Number(order) % poisonEach === poisonEach - 1;
}
