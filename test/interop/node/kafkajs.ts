/**
 * KafkaJS as writer and as a member of a group. By itself it has gzip only: the other codecs are added as its documentation shows, with
 * its snappy package, lz4-napi and Node's zstd. An idempotent KafkaJS producer is safe with one send per
 * partition at a time: it takes its sequence numbers back when a send fails.
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { zstdCompress, zstdDecompress } from "node:zlib";
import type { DataRecord } from "../data-set.ts";
import type { Copying } from "./copying.ts";
import { packageNamed, runWireProgram, tourSetting, writeInLots } from "./wire.ts";

interface Codec {
  compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>;
  decompress(buffer: Buffer): Promise<Buffer>;
}

interface Message {
  readonly partition: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, Buffer>>;
}

interface Producer {
  connect(): Promise<void>;
  send(options: {
    readonly topic: string;
    readonly acks?: -1;
    readonly compression?: number;
    readonly messages: readonly (Message | { readonly value: string })[];
  }): Promise<readonly { readonly partition: number; readonly baseOffset: string }[]>;
  transaction(): Promise<Transaction>;
  disconnect(): Promise<void>;
}

interface Transaction extends Pick<Producer, "send"> {
  sendOffsets(options: {
    readonly consumerGroupId: string;
    readonly topics: readonly {
      readonly topic: string;
      readonly partitions: readonly { readonly partition: number; readonly offset: string }[];
    }[];
  }): Promise<void>;
  commit(): Promise<void>;
  abort(): Promise<void>;
}

interface Consumer {
  on(event: "consumer.crash", listener: (crash: { readonly payload: Crash }) => void): void;
  on(event: "consumer.group_join", listener: () => void): void;
  connect(): Promise<void>;
  subscribe(options: { readonly topics: readonly string[]; readonly fromBeginning: boolean }): Promise<void>;
  run(options: {
    readonly autoCommit: boolean;
    readonly eachBatchAutoResolve: boolean;
    readonly eachBatch: (given: {
      readonly batch: Batch;
      readonly resolveOffset: (offset: string) => void;
      readonly heartbeat: () => Promise<void>;
      readonly isRunning: () => boolean;
      readonly isStale: () => boolean;
    }) => Promise<void>;
  }): Promise<void>;
  commitOffsets(
    offsets: readonly { readonly topic: string; readonly partition: number; readonly offset: string }[],
  ): Promise<void>;
  seek(to: { readonly topic: string; readonly partition: number; readonly offset: string }): void;
  disconnect(): Promise<void>;
}

interface Batch {
  readonly partition: number;
  readonly messages: readonly {
    readonly offset: string;
    readonly key: Buffer | null;
    readonly value: Buffer | null;
  }[];
}

interface Crash {
  readonly error: Error;
  readonly restart: boolean;
}

/** One of its log lines. */
interface LogEntry {
  readonly log: {
    readonly message: string;
    readonly generationId?: number;
    readonly memberAssignment?: Readonly<Record<string, readonly number[]>>;
  };
}

interface TopicSettings {
  readonly resources: readonly {
    readonly configEntries: readonly { configName: string; configValue: string }[];
  }[];
}

interface Admin {
  connect(): Promise<void>;
  createTopics(options: {
    readonly topics: readonly {
      readonly topic: string;
      readonly numPartitions: number;
      readonly configEntries: readonly { readonly name: string; readonly value: string }[];
    }[];
  }): Promise<boolean>;
  listTopics(): Promise<readonly string[]>;
  describeConfigs(options: {
    readonly includeSynonyms: boolean;
    readonly resources: readonly { readonly type: number; readonly name: string }[];
  }): Promise<TopicSettings>;
  fetchOffsets(options: {
    readonly groupId: string;
    readonly topics: readonly string[];
  }): Promise<
    readonly { readonly partitions: readonly { readonly partition: number; readonly offset: string }[] }[]
  >;
  fetchTopicOffsets(topic: string): Promise<readonly { readonly offset: string }[]>;
  deleteTopics(options: { readonly topics: readonly string[] }): Promise<void>;
  disconnect(): Promise<void>;
}

const kafkajs = packageNamed("kafkajs") as {
  readonly Kafka: new (options: {
    readonly clientId: string;
    readonly brokers: readonly string[];
    readonly logLevel: number;
    readonly logCreator?: () => (entry: LogEntry) => void;
    readonly retry?: { readonly retries: number; readonly maxRetryTime: number };
  }) => {
    producer(options?: {
      readonly idempotent: true;
      readonly maxInFlightRequests: number;
      readonly transactionalId?: string;
      readonly transactionTimeout?: number;
    }): Producer;
    admin(): Admin;
    consumer(options: {
      readonly groupId: string;
      readonly sessionTimeout: number;
      readonly heartbeatInterval: number;
      readonly maxWaitTimeInMs: number;
      readonly maxBytesPerPartition: number;
    }): Consumer;
  };
  readonly ConfigResourceTypes: Readonly<Record<"TOPIC", number>>;
  readonly CompressionTypes: Readonly<Record<"None" | "GZIP" | "Snappy" | "LZ4" | "ZSTD", number>>;
  readonly CompressionCodecs: Record<number, () => Codec>;
};
const lz4 = packageNamed("lz4-napi") as Readonly<
  Record<"compressFrame" | "decompressFrame", (bytes: Buffer) => Promise<Buffer>>
>;

const { CompressionTypes: types } = kafkajs;
const typeOf = { none: types.None, gzip: types.GZIP, snappy: types.Snappy, lz4: types.LZ4, zstd: types.ZSTD };
kafkajs.CompressionCodecs[types.Snappy] = packageNamed("kafkajs-snappy") as () => Codec;
kafkajs.CompressionCodecs[types.LZ4] = () => ({
  compress: ({ buffer }) => lz4.compressFrame(buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
});
kafkajs.CompressionCodecs[types.ZSTD] = () => ({
  compress: ({ buffer }) => promisify(zstdCompress)(buffer),
  decompress: (buffer) => promisify(zstdDecompress)(buffer),
});

/**
 * Transactions of a client that does not tell the group's generation in them. A partition has its transactional
 * id: whoever takes it ends what its former owner has begun, and asks only then where to go on.
 */
class Copiers {
  readonly #kafka: InstanceType<typeof kafkajs.Kafka>;
  readonly #told: Copying;
  #producers = new Map<number, Producer>();

  constructor(kafka: InstanceType<typeof kafkajs.Kafka>, told: Copying) {
    this.#kafka = kafka;
    this.#told = told;
  }

  forget(): void {
    for (const producer of this.#producers.values()) void producer.disconnect();
    this.#producers = new Map();
  }

  /** Answers the offset to go on at when these messages were not copied. */
  async copy(partition: number, messages: Batch["messages"]): Promise<string | undefined> {
    const { input, output, group, pauseMs } = this.#told;
    const first = messages[0]?.offset ?? "";
    const known = this.#producers.get(partition);
    const producer = known ?? this.#newProducer(partition);
    try {
      if (known === undefined) await producer.connect();
      const transaction = await producer.transaction();
      if (known === undefined) {
        const committed = await this.#committed(partition);
        this.#producers.set(partition, producer);
        if (committed !== first) {
          await transaction.abort();
          return committed;
        }
      }
      const copies = messages.map(({ key, value }) => ({ partition, key, value, headers: {} }));
      await transaction.send({ topic: output, messages: copies });
      const end = Number(messages.at(-1)?.offset) + 1;
      await transaction.sendOffsets({
        consumerGroupId: group,
        topics: [{ topic: input, partitions: [{ partition, offset: String(end) }] }],
      });
      await sleep(pauseMs);
      if (this.#told.aborts()) {
        await transaction.abort();
        this.#told.aborted(messages.length);
        return first;
      }
      await transaction.commit();
      this.#told.committed(messages.length, new Map([[partition, end]]));
      return undefined;
    } catch (refusal) {
      this.#told.refused(refusal);
      // The next one for this partition ends what is open, and asks what is committed.
      this.#producers.delete(partition);
      await producer.disconnect();
      return first;
    }
  }

  #newProducer(partition: number): Producer {
    return this.#kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      transactionalId: `${this.#told.group}-${partition}`,
      transactionTimeout: this.#told.timeoutMs,
    });
  }

  async #committed(partition: number): Promise<string> {
    const admin = this.#kafka.admin();
    await admin.connect();
    const { group: groupId, input } = this.#told;
    const [topic] = await admin.fetchOffsets({ groupId, topics: [input] });
    await admin.disconnect();
    const offset = topic?.partitions.find((each) => each.partition === partition)?.offset ?? "-1";
    return offset === "-1" ? "0" : offset;
  }
}

await runWireProgram({
  produce: async (address, topic, path, acknowledged) => {
    const kafka = new kafkajs.Kafka({
      clientId: "interop",
      brokers: address.split(","),
      logLevel: 0,
      retry: { retries: 100, maxRetryTime: 1_000 },
    });
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    await writeInLots(path, acknowledged, async (partition, codec, records) => {
      const messages = records.map((record) => messageOf(partition, record));
      const sent = await producer.send({ topic, acks: -1, compression: typeOf[codec], messages });
      return Number(sent[0]?.baseOffset ?? -1);
    });
    await producer.disconnect();
  },

  tour: async (address, topic) => {
    const kafka = new kafkajs.Kafka({ clientId: "tour", brokers: address.split(","), logLevel: 0 });
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic, numPartitions: 3, configEntries: [tourSetting] }] });
    assert.ok((await admin.listTopics()).includes(topic));
    const { resources } = await admin.describeConfigs({
      includeSynonyms: true,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }],
    });
    const found = resources[0]?.configEntries.find(({ configName }) => configName === tourSetting.name);
    assert.equal(found?.configValue, tourSetting.value);
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic, messages: [{ value: "one" }, { value: "two" }, { value: "three" }] });
    await producer.disconnect();
    const ends = await admin.fetchTopicOffsets(topic);
    assert.equal(
      ends.reduce((sum, { offset }) => sum + Number(offset), 0),
      3,
    );
    await admin.deleteTopics({ topics: [topic] });
    assert.ok(!(await admin.listTopics()).includes(topic));
    await admin.disconnect();
  },

  member: async (told) => {
    const { address, topic, group, commitsAsync, sessionMs } = told;
    const debug = 5;
    const kafka = new kafkajs.Kafka({
      clientId: "interop",
      brokers: address.split(","),
      logLevel: debug,
      // Only its log has the generation beside the assignment.
      logCreator:
        () =>
        ({ log }) => {
          if (log.message === "Received assignment")
            told.owns(log.generationId, log.memberAssignment?.[topic] ?? []);
        },
      retry: { retries: 100, maxRetryTime: 1_000 },
    });
    // Nothing else keeps the process alive while it waits between two connections.
    const alive = setInterval(() => undefined, 1_000);
    while (!told.isEnding) {
      const consumer = kafka.consumer({
        groupId: group,
        sessionTimeout: sessionMs,
        heartbeatInterval: sessionMs / 5,
        maxWaitTimeInMs: 500,
        maxBytesPerPartition: 16_384,
      });
      const crashed = new Promise<void>((resolve) => {
        consumer.on("consumer.crash", ({ payload }) => {
          told.refused(payload.error);
          // It gives up for good after some errors; then another one goes on.
          if (!payload.restart) resolve();
        });
      });
      await consumer.connect();
      await consumer.subscribe({ topics: [topic], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: async ({ batch, resolveOffset, heartbeat, isRunning, isStale }) => {
          const last = batch.messages.at(-1);
          if (last === undefined || !isRunning() || isStale()) return;
          const { partition, messages } = batch;
          told.did(
            partition,
            messages.map(({ offset, value }) => ({ offset: Number(offset), value })),
          );
          resolveOffset(last.offset);
          const end = Number(last.offset) + 1;
          const committed = consumer
            .commitOffsets([{ topic, partition, offset: String(end) }])
            .then(() => told.committed(partition, end));
          if (commitsAsync) committed.catch((refusal: unknown) => told.refused(refusal));
          // A refusal is for KafkaJS, which joins again.
          else await committed;
          await heartbeat();
        },
      });
      await Promise.race([told.ending, crashed]);
      await consumer.disconnect();
    }
    clearInterval(alive);
  },

  copy: async (told) => {
    const { address, input, group, sessionMs } = told;
    const kafka = new kafkajs.Kafka({
      clientId: "interop",
      brokers: address.split(","),
      logLevel: 0,
      retry: { retries: 100, maxRetryTime: 1_000 },
    });
    const alive = setInterval(() => undefined, 1_000);
    const partitions = new Copiers(kafka, told);
    while (!told.isEnding) {
      const consumer = kafka.consumer({
        groupId: group,
        sessionTimeout: sessionMs,
        heartbeatInterval: sessionMs / 5,
        maxWaitTimeInMs: 500,
        maxBytesPerPartition: 16_384,
      });
      const crashed = new Promise<void>((resolve) => {
        consumer.on("consumer.crash", ({ payload }) => {
          told.refused(payload.error);
          if (!payload.restart) resolve();
        });
      });
      // Somebody else may have had a partition in between.
      consumer.on("consumer.group_join", () => partitions.forget());
      await consumer.connect();
      await consumer.subscribe({ topics: [input], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: async ({ batch, resolveOffset, heartbeat, isRunning, isStale }) => {
          const { partition, messages } = batch;
          for (let at = 0; at < messages.length && isRunning() && !isStale(); at += told.lot) {
            const lot = messages.slice(at, at + told.lot);
            const goOnAt = await partitions.copy(partition, lot);
            if (goOnAt !== undefined) {
              consumer.seek({ topic: input, partition, offset: goOnAt });
              return;
            }
            resolveOffset(lot.at(-1)?.offset ?? "");
            await heartbeat();
          }
        },
      });
      await Promise.race([told.ending, crashed]);
      await consumer.disconnect();
    }
    clearInterval(alive);
  },
});

function messageOf(partition: number, { key, value, headers }: DataRecord): Message {
  const byName = headers.map((header) => [header.name.toString(), header.value ?? Buffer.alloc(0)] as const);
  return { partition, key, value, headers: Object.fromEntries(byName) };
}
