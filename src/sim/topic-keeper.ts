/**
 * Makes, changes and deletes one topic, whose name comes again and again, and writes a little into it. What was
 * answered must be so whenever it looks, and of a deleted topic nothing may be found in the next one of its name.
 */
import {
  leaderEpoch,
  NO_TOPIC_ID,
  nodeId,
  offset,
  partitionIndex,
  producerEpoch,
  producerId,
} from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { AlterConfigs } from "../protocol/messages/alter-configs.ts";
import { CreatePartitions } from "../protocol/messages/create-partitions.ts";
import { CreateTopics } from "../protocol/messages/create-topics.ts";
import { DeleteTopics } from "../protocol/messages/delete-topics.ts";
import { ConfigResource, DescribeConfigs } from "../protocol/messages/describe-configs.ts";
import { DescribeTopicPartitions } from "../protocol/messages/describe-topic-partitions.ts";
import { Fetch } from "../protocol/messages/fetch.ts";
import { ConfigOperation, IncrementalAlterConfigs } from "../protocol/messages/incremental-alter-configs.ts";
import { Metadata } from "../protocol/messages/metadata.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { wholeBatchesIn } from "../record/batch.ts";
import { buildBatch } from "../record/builder.ts";
import { recordsIn } from "../record/record.ts";
import type { Actor } from "./actor.ts";
import { Belief, type Change } from "./belief.ts";
import { type Caller, Disconnected } from "./client.ts";
import { Visitor } from "./visitor.ts";

interface Topic {
  readonly partitions: number;
  /** Its own value of `setting`; null: it has none. */
  readonly value: string | null;
}

/** Any setting without an effect on a short life. */
const setting = "retention.ms";
const partitionsMax = 4;
/** In a row, with at least a quarter of a minute between two; more of them are no moment any more. */
const oldViewsMax = 3;
const inflatedBytesMax = 1 << 20;
const timeoutMs = 10_000;
const notThere = [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION];
const fine = [ErrorCode.NONE];

/** Applies where there is a topic. */
const ofTopic =
  (change: (topic: Topic) => ReturnType<Change<Topic | null>>): Change<Topic | null> =>
  (topic) =>
    topic === null ? { codes: notThere, next: null } : change(topic);

export class TopicKeeper extends Visitor {
  readonly #name: string;
  /** Looks in a row that told what cannot be. */
  #oldViews = 0;
  readonly #topic = new Belief<Topic | null>(null);
  /** By topic id: what was acknowledged in its first partition, by offset. */
  readonly #written = new Map<string, Map<number, string>>();
  #values = 0;

  constructor(actor: Actor, name: string) {
    super(actor);
    this.#name = name;
    this.comesFor(CreateTopics, (client) => this.#create(client));
    this.comesFor(CreateTopics, (client) => this.#create(client));
    this.comesFor(DeleteTopics, (client) => this.#delete(client));
    this.comesFor(CreatePartitions, (client) => this.#extend(client));
    this.comesFor(AlterConfigs, (client) => this.#alter(client));
    this.comesFor(IncrementalAlterConfigs, (client) => this.#alterOne(client));
    this.comesFor(DescribeConfigs, (client) => this.#readConfigs(client));
    this.comesFor(DescribeTopicPartitions, (client) => this.#describe(client));
    this.comesFor(Metadata, async (client) => void (await this.#look(client)));
    this.comesFor(Produce, (client) => this.#write(client));
    this.comesFor(Produce, (client) => this.#write(client));
    this.comesFor(Fetch, (client) => this.#read(client));
  }

  // ── Changes ──

  #create(client: Caller): Promise<void> {
    const { random } = this.actor;
    const partitions = random.between(1, 2);
    const value = random.pick([null, "3600000000"]);
    const configs = value === null ? [] : [{ name: setting, value }];
    return this.change(client, {
      api: CreateTopics,
      version: 7,
      request: {
        topics: [
          { name: this.#name, numPartitions: partitions, replicationFactor: 1, assignments: [], configs },
        ],
        timeoutMs,
        validateOnly: false,
      },
      belief: this.#topic,
      change: (topic) =>
        topic === null
          ? { codes: fine, next: { partitions, value } }
          : { codes: [ErrorCode.TOPIC_ALREADY_EXISTS], next: topic },
      codeOf: ({ topics }) => topics[0]?.errorCode,
    });
  }

  #delete(client: Caller): Promise<void> {
    return this.change(client, {
      api: DeleteTopics,
      version: 6,
      request: { topics: [{ name: this.#name, topicId: NO_TOPIC_ID }], topicNames: [], timeoutMs },
      belief: this.#topic,
      change: ofTopic(() => ({ codes: fine, next: null })),
      codeOf: ({ responses }) => responses[0]?.errorCode,
    });
  }

  #extend(client: Caller): Promise<void> {
    const most = Math.max(...this.#topic.states.map((topic) => topic?.partitions ?? 0));
    const count = Math.min(partitionsMax, most + 1);
    return this.change(client, {
      api: CreatePartitions,
      version: 3,
      request: { topics: [{ name: this.#name, count, assignments: null }], timeoutMs, validateOnly: false },
      belief: this.#topic,
      change: ofTopic((topic) =>
        topic.partitions < count
          ? { codes: fine, next: { ...topic, partitions: count } }
          : { codes: [ErrorCode.INVALID_PARTITIONS], next: topic },
      ),
      codeOf: ({ results }) => results[0]?.errorCode,
    });
  }

  /** All settings at once: what is not named has no value of its own any more. */
  #alter(client: Caller): Promise<void> {
    const value = this.#drawValue();
    const configs = value === null ? [] : [{ name: setting, value }];
    return this.change(client, {
      api: AlterConfigs,
      version: 2,
      request: { resources: [{ ...this.#resource, configs }], validateOnly: false },
      belief: this.#topic,
      change: ofTopic((topic) => ({ codes: fine, next: { ...topic, value } })),
      codeOf: ({ responses }) => responses[0]?.errorCode,
    });
  }

  #alterOne(client: Caller): Promise<void> {
    const value = this.#drawValue();
    const configOperation = value === null ? ConfigOperation.delete : ConfigOperation.set;
    const configs = [{ name: setting, configOperation, value }];
    return this.change(client, {
      api: IncrementalAlterConfigs,
      version: 1,
      request: { resources: [{ ...this.#resource, configs }], validateOnly: false },
      belief: this.#topic,
      change: ofTopic((topic) => ({ codes: fine, next: { ...topic, value } })),
      codeOf: ({ responses }) => responses[0]?.errorCode,
    });
  }

  #drawValue(): string | null {
    const { random } = this.actor;
    return random.below(4) === 0 ? null : String(3_600_000_000 + random.below(1_000));
  }

  get #resource() {
    return { resourceType: ConfigResource.topic, resourceName: this.#name };
  }

  // ── Looks ──

  async #readConfigs(client: Caller): Promise<void> {
    const { results } = await this.ask(client, DescribeConfigs, 4, {
      resources: [{ ...this.#resource, configurationKeys: [setting] }],
      includeSynonyms: false,
      includeDocumentation: false,
    });
    const result = results[0];
    if (result?.errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) return this.#seeNone("DescribeConfigs");
    if (!this.isFine(result?.errorCode, "DescribeConfigs")) return;
    const found = result?.configs.find(({ name }) => name === setting);
    const own = 1; // of the topic itself
    const value = found?.configSource === own ? found.value : null;
    this.see(this.#topic, (topic) => topic !== null && topic.value === value, `${setting} is ${value}`);
  }

  async #describe(client: Caller): Promise<void> {
    const { topics } = await this.ask(client, DescribeTopicPartitions, 0, {
      topics: [{ name: this.#name }],
      responsePartitionLimit: 100,
      cursor: null,
    });
    this.#seePartitions(topics[0], "DescribeTopicPartitions");
  }

  /** The id of the topic; null: there is none. */
  async #look(client: Caller): Promise<string | null> {
    const { topics } = await this.ask(client, Metadata, 12, {
      topics: [{ topicId: NO_TOPIC_ID, name: this.#name }],
      allowAutoTopicCreation: false,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    });
    return this.#seePartitions(topics[0], "Metadata") ? (topics[0]?.topicId ?? null) : null;
  }

  #seePartitions(
    found: { readonly errorCode: ErrorCode; readonly partitions: readonly unknown[] } | undefined,
    what: string,
  ): boolean {
    if (found?.errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) {
      this.#seeNone(what);
      return false;
    }
    if (found === undefined || !this.isFine(found.errorCode, what)) return false;
    const { length } = found.partitions;
    if (this.#isOldView(length)) throw new Disconnected("a broker that slept tells what it knew");
    this.see(this.#topic, (topic) => topic?.partitions === length, `${what}: ${length} partitions`);
    return true;
  }

  /** One broker of several may tell of what is gone, for a moment, when it wakes: whoever hears it asks again later. */
  #isOldView(length: number): boolean {
    const isRight = this.#topic.states.some((topic) => topic?.partitions === length);
    this.#oldViews = isRight || !this.actor.hasSeveralBrokers ? 0 : this.#oldViews + 1;
    return this.#oldViews > 0 && this.#oldViews <= oldViewsMax;
  }

  #seeNone(what: string): void {
    this.see(this.#topic, (topic) => topic === null, `${what}: there is no topic`);
  }

  // ── Records ──

  async #write(client: Caller): Promise<void> {
    const id = await this.#look(client);
    if (id === null) return;
    const value = `${id} ${this.#values++}`;
    const timestamp = this.actor.clock.wallMs();
    const fields = { producerId: producerId(-1), producerEpoch: producerEpoch(-1), baseSequence: -1 };
    const { responses } = await this.ask(client, Produce, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs,
      topicData: [
        {
          name: this.#name,
          topicId: NO_TOPIC_ID,
          partitionData: [
            { index: partitionIndex(0), records: [buildBatch([{ value, timestamp }], fields)] },
          ],
        },
      ],
    });
    const result = responses[0]?.partitionResponses[0];
    if (!this.isFine(result?.errorCode, "Produce") || result === undefined) return;
    let written = this.#written.get(id);
    if (written === undefined) this.#written.set(id, (written = new Map()));
    written.set(result.baseOffset, value);
  }

  async #read(client: Caller): Promise<void> {
    const id = await this.#look(client);
    if (id === null) return;
    const { responses } = await this.ask(client, Fetch, 11, {
      clusterId: null,
      replicaId: nodeId(-1),
      replicaState: { replicaId: nodeId(-1), replicaEpoch: -1 },
      maxWaitMs: 0,
      minBytes: 1,
      maxBytes: 1 << 20,
      isolationLevel: 0,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [
        {
          topic: this.#name,
          topicId: NO_TOPIC_ID,
          partitions: [
            {
              partition: partitionIndex(0),
              currentLeaderEpoch: leaderEpoch(-1),
              fetchOffset: offset(0),
              lastFetchedEpoch: leaderEpoch(-1),
              logStartOffset: offset(-1),
              partitionMaxBytes: 1 << 20,
              replicaDirectoryId: NO_TOPIC_ID,
              highWatermark: 0x7fff_ffff_ffff_ffffn,
            },
          ],
        },
      ],
      forgottenTopicsData: [],
      rackId: "",
    });
    const result = responses[0]?.partitions[0];
    if (!this.isFine(result?.errorCode, "Fetch")) return;
    const found = new Map<number, string>();
    for (const batch of (result?.records ?? []).flatMap((chunk) => [...wholeBatchesIn(chunk)])) {
      for (const record of recordsIn(batch, inflatedBytesMax)) {
        const value = Buffer.from(record.value ?? []).toString();
        if (!value.startsWith(id))
          this.violate(`${this.#name} of id ${id} holds "${value}" of another topic`);
        found.set(record.offset, value);
      }
    }
    // The answer may end before the log does.
    const end = Math.max(-1, ...found.keys());
    const isAll = (result?.highWatermark ?? 0) <= end + 1;
    for (const [at, value] of this.#written.get(id) ?? []) {
      if ((isAll || at <= end) && found.get(at) !== value)
        this.violate(
          `${this.#name}@${at} was acknowledged as "${value}" and is "${found.get(at) ?? "nothing"}"`,
        );
    }
  }
}
