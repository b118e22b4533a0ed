/**
 * @platformatic/kafka as writer, reader and member of a group. Its consumer streams belong to a group; `Consumer.fetch` asks for
 * given partitions and offsets without one, and the package decodes what comes back.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Copying } from "./copying.ts";
import type { Membership } from "./membership.ts";
import { packageNamed, runWireProgram, tourSetting, writeInLots } from "./wire.ts";

interface Address {
  readonly clientId: string;
  readonly bootstrapBrokers: readonly string[];
}

interface BaseOptions extends Address {
  readonly retries: number;
  readonly retryDelay: number;
  readonly timeout: number;
}

interface Message {
  readonly topic: string;
  readonly partition: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: ReadonlyMap<Buffer, Buffer>;
}

interface Producer {
  send(options: {
    readonly compression?: string;
    readonly messages: readonly (Message | { readonly topic: string; readonly value: Buffer })[];
  }): Promise<{ readonly offsets?: readonly { readonly partition: number; readonly offset: bigint }[] }>;
  beginTransaction(): Promise<Transaction>;
  close(force?: boolean): Promise<void>;
}

interface Transaction extends Pick<Producer, "send"> {
  addConsumer(consumer: Consumer): Promise<void>;
  addOffset(message: GroupMessage): Promise<void>;
  commit(): Promise<void>;
  abort(): Promise<void>;
}

interface FetchedBatch {
  readonly firstOffset: bigint;
  readonly records: readonly {
    readonly offsetDelta: number;
    readonly key: Buffer | null | undefined;
    readonly value: Buffer | null | undefined;
    readonly headers: readonly (readonly [Buffer, Buffer | null | undefined])[];
  }[];
}

interface GroupMessage {
  readonly partition: number;
  readonly offset: bigint;
  readonly key: Buffer;
  readonly value: Buffer;
  commit(): Promise<void>;
}

interface GroupStream extends AsyncIterable<GroupMessage> {
  /** Messages that can be taken at once. */
  readonly readableLength: number;
  close(): Promise<void>;
}

interface GroupOptions extends BaseOptions {
  readonly groupId: string;
  readonly groupProtocol?: "consumer";
  readonly sessionTimeout?: number;
  readonly heartbeatInterval?: number;
  readonly rebalanceTimeout?: number;
  readonly protocols?: readonly { readonly name: string; readonly version: number }[];
}

interface Refusal extends Error {
  readonly response?: { readonly errorCode?: number };
}

interface Consumer {
  readonly generationId: number;
  readonly assignments: readonly { readonly topic: string; readonly partitions: readonly number[] }[] | null;
  on(event: "consumer:group:join", listener: (joined: { readonly generationId?: number }) => void): void;
  on(event: "consumer:heartbeat:error", listener: (refused: { readonly error: Refusal }) => void): void;
  consume(options: {
    readonly topics: readonly string[];
    readonly mode: "committed";
    readonly fallbackMode: "earliest";
    readonly autocommit: false;
    readonly maxWaitTime: number;
    readonly maxBytesPerPartition: number;
    readonly highWaterMark: number;
  }): Promise<GroupStream>;
  readonly topics: { track(topic: string): void };
  metadata(options: { readonly topics: readonly string[]; readonly forceUpdate: true }): Promise<{
    readonly topics: ReadonlyMap<
      string,
      { readonly id: string; readonly partitions: readonly { readonly leader: number }[] }
    >;
  }>;
  listOffsets(options: {
    readonly topics: readonly string[];
  }): Promise<ReadonlyMap<string, readonly bigint[]>>;
  fetch(options: {
    readonly node: number;
    readonly maxWaitTime: number;
    readonly minBytes: number;
    readonly maxBytes: number;
    readonly topics: readonly {
      readonly topicId: string;
      readonly partitions: readonly {
        readonly partition: number;
        readonly currentLeaderEpoch: number;
        readonly fetchOffset: bigint;
        readonly lastFetchedEpoch: number;
        readonly partitionMaxBytes: number;
      }[];
    }[];
  }): Promise<{
    readonly responses: readonly {
      readonly partitions: readonly {
        readonly partitionIndex: number;
        readonly records?: readonly FetchedBatch[] | null;
      }[];
    }[];
  }>;
  close(force?: boolean): Promise<void>;
}

interface Admin {
  createTopics(options: {
    readonly topics: readonly string[];
    readonly partitions: number;
    readonly replicas: number;
    readonly configs: readonly { readonly name: string; readonly value: string }[];
  }): Promise<unknown>;
  listTopics(): Promise<readonly string[]>;
  describeConfigs(options: {
    readonly resources: readonly {
      readonly resourceType: number;
      readonly resourceName: string;
      readonly configurationKeys: readonly string[];
    }[];
  }): Promise<
    readonly { readonly configs: readonly { readonly name: string; readonly value: string | null }[] }[]
  >;
  listOffsets(options: {
    readonly topics: readonly {
      readonly name: string;
      readonly partitions: readonly { readonly partitionIndex: number; readonly timestamp: bigint }[];
    }[];
  }): Promise<readonly { readonly partitions: readonly { readonly offset: bigint }[] }[]>;
  deleteTopics(options: { readonly topics: readonly string[] }): Promise<void>;
  close(): Promise<void>;
}

const { Producer, Consumer, Admin, ConfigResourceTypes } = packageNamed("@platformatic/kafka") as {
  readonly Producer: new (
    options: (BaseOptions & { readonly idempotent: true; readonly transactionalId?: string }) | Address,
  ) => Producer;
  readonly Consumer: new (options: GroupOptions) => Consumer;
  readonly Admin: new (options: Address) => Admin;
  readonly ConfigResourceTypes: Readonly<Record<"TOPIC", number>>;
};

const unknownMemberId = 25;

const baseOptions = (address: string): BaseOptions => ({
  clientId: "interop",
  bootstrapBrokers: address.split(","),
  retries: 100,
  retryDelay: 300,
  timeout: 30_000,
});

await runWireProgram({
  produce: async (address, topic, path, acknowledged) => {
    const producer = new Producer({ ...baseOptions(address), idempotent: true });
    await writeInLots(path, acknowledged, async (partition, compression, records) => {
      const messages = records.map(({ key, value, headers }) => ({
        topic,
        partition,
        key,
        value,
        headers: new Map(headers.map((header) => [header.name, header.value ?? Buffer.alloc(0)])),
      }));
      const { offsets } = await producer.send({ compression, messages });
      return Number(offsets?.[0]?.offset ?? -1);
    });
    await producer.close();
  },

  consume: async (address, topic, gathered) => {
    // A fetch goes to one broker; whoever is refused there asks who has the partition now.
    const consumer = new Consumer({ ...baseOptions(address), retries: 1, groupId: "never-joined" });
    consumer.topics.track(topic);
    const ends = (await consumer.listOffsets({ topics: [topic] })).get(topic) ?? [];
    const partitions = Array.from({ length: gathered.partitionCount }, (_, partition) => partition);
    const isOpen = (partition: number): boolean => gathered.nextOffset(partition) < Number(ends[partition]);
    while (partitions.some(isOpen)) {
      try {
        await readOn();
      } catch (refusal) {
        if (!String((refusal as { readonly code?: string }).code).startsWith("PLT_KFK_")) throw refusal;
        await sleep(200);
      }
    }
    await consumer.close();

    /** Until a leader refuses. */
    async function readOn(): Promise<void> {
      const { topics } = await consumer.metadata({ topics: [topic], forceUpdate: true });
      const { id: topicId = "", partitions: known = [] } = topics.get(topic) ?? {};
      while (partitions.some(isOpen)) {
        const leaders = new Map<number, number[]>();
        for (const partition of partitions.filter(isOpen)) {
          const leader = known[partition]?.leader ?? -1;
          leaders.set(leader, [...(leaders.get(leader) ?? []), partition]);
        }
        for (const [leader, open] of leaders) await readFrom(leader, topicId, open);
      }
    }

    async function readFrom(node: number, topicId: string, open: readonly number[]): Promise<void> {
      const { responses } = await consumer.fetch({
        node,
        maxWaitTime: 500,
        minBytes: 1,
        maxBytes: 16 << 20,
        topics: [
          {
            topicId,
            partitions: open.map((partition) => ({
              partition,
              currentLeaderEpoch: -1,
              fetchOffset: BigInt(gathered.nextOffset(partition)),
              lastFetchedEpoch: -1,
              partitionMaxBytes: 4 << 20,
            })),
          },
        ],
      });
      for (const { partitions: fetched } of responses) {
        for (const { partitionIndex, records } of fetched) {
          for (const batch of records ?? []) add(partitionIndex, batch);
        }
      }
    }

    function add(partition: number, { firstOffset, records }: FetchedBatch): void {
      for (const { offsetDelta, key, value, headers } of records) {
        const offset = Number(firstOffset) + offsetDelta;
        // A batch is given whole, also when it begins before the offset that was asked for.
        if (offset < gathered.nextOffset(partition)) continue;
        gathered.add(partition, offset, {
          key: key ?? null,
          value: value ?? null,
          headers: headers.map(([name, headerValue]) => ({ name, value: headerValue ?? null })),
        });
      }
    }
  },

  tour: async (address, topic) => {
    const options = { clientId: "tour", bootstrapBrokers: address.split(",") };
    const admin = new Admin(options);
    await admin.createTopics({ topics: [topic], partitions: 3, replicas: 1, configs: [tourSetting] });
    assert.ok((await admin.listTopics()).includes(topic));
    const [described] = await admin.describeConfigs({
      resources: [
        {
          resourceType: ConfigResourceTypes.TOPIC,
          resourceName: topic,
          configurationKeys: [tourSetting.name],
        },
      ],
    });
    assert.equal(described?.configs[0]?.value, tourSetting.value);
    const producer = new Producer(options);
    const values = ["one", "two", "three"];
    await producer.send({ messages: values.map((value) => ({ topic, value: Buffer.from(value) })) });
    await producer.close();
    const latest = -1n;
    const partitions = [0, 1, 2].map((partitionIndex) => ({ partitionIndex, timestamp: latest }));
    const [ends] = await admin.listOffsets({ topics: [{ name: topic, partitions }] });
    assert.equal(
      ends?.partitions.reduce((sum, { offset }) => sum + Number(offset), 0),
      3,
    );
    await admin.deleteTopics({ topics: [topic] });
    assert.ok(!(await admin.listTopics()).includes(topic));
    await admin.close();
  },

  member: async (told) => {
    while (!told.isEnding) await stay(told);
  },

  copy: async (told) => {
    const { address, group, sessionMs } = told;
    const consumer = new Consumer({
      ...baseOptions(address),
      groupId: group,
      sessionTimeout: sessionMs,
      heartbeatInterval: sessionMs / 5,
      rebalanceTimeout: 10 * sessionMs,
      protocols: [{ name: "roundrobin", version: 1 }],
    });
    while (!told.isEnding) {
      // Its InitProducerId names a producer id of its own making, which a broker takes of the first producer of a
      // transactional id only. Its time-out is that of its transactions.
      const producer = new Producer({
        ...baseOptions(address),
        timeout: told.timeoutMs,
        idempotent: true,
        transactionalId: `${told.transactionalId}-${randomUUID()}`,
      });
      try {
        await copyStream(consumer, producer, told);
      } catch (refusal) {
        told.refused(refusal);
        await sleep(200);
      }
      await producer.close(true).catch((refusal: unknown) => told.refused(refusal));
    }
    await consumer.close(true).catch((refusal: unknown) => told.refused(refusal));
  },
});

/** Until a transaction is not committed: what the group has committed is known to another stream only. */
async function copyStream(consumer: Consumer, producer: Producer, told: Copying): Promise<void> {
  const messages = await consumer.consume({
    topics: [told.input],
    mode: "committed",
    fallbackMode: "earliest",
    autocommit: false,
    maxWaitTime: 500,
    maxBytesPerPartition: 16_384,
    highWaterMark: 200,
  });
  void told.ending.then(() => messages.close()).catch((refusal: unknown) => told.refused(refusal));
  try {
    let gathered: GroupMessage[] = [];
    for await (const message of messages) {
      gathered.push(message);
      if (gathered.length < told.lot && messages.readableLength > 0) continue;
      const lot = gathered;
      gathered = [];
      const last = new Map(lot.map((each) => [each.partition, each]));
      const transaction = await producer.beginTransaction();
      await transaction.addConsumer(consumer);
      const headers = new Map<Buffer, Buffer>();
      await transaction.send({
        messages: lot.map(({ partition, key, value }) => ({
          topic: told.output,
          partition,
          key,
          value,
          headers,
        })),
      });
      for (const each of last.values()) await transaction.addOffset(each);
      await sleep(told.pauseMs);
      if (told.aborts()) {
        await transaction.abort();
        told.aborted(lot.length);
        return;
      }
      await transaction.commit();
      told.committed(
        lot.length,
        new Map([...last].map(([partition, each]) => [partition, Number(each.offset) + 1])),
      );
    }
  } finally {
    await messages.close().catch((refusal: unknown) => told.refused(refusal));
  }
}

/** Until it is asked to end, or a group of KIP-848 does not know it any more. */
async function stay(told: Membership): Promise<void> {
  const { address, topic, group, protocol, sessionMs } = told;
  const classic = {
    sessionTimeout: sessionMs,
    heartbeatInterval: sessionMs / 5,
    rebalanceTimeout: 10 * sessionMs,
    protocols: [{ name: protocol === "cooperative" ? "cooperative-sticky" : "roundrobin", version: 1 }],
  };
  const consumer = new Consumer({
    ...baseOptions(address),
    groupId: group,
    ...(protocol === "consumer" ? { groupProtocol: "consumer" as const } : classic),
  });
  // Of the newer protocol it tells no epoch.
  consumer.on("consumer:group:join", ({ generationId }) => {
    const owned = consumer.assignments?.find((assigned) => assigned.topic === topic);
    if (generationId !== undefined) told.owns(generationId, owned?.partitions ?? []);
  });
  let isRemoved = false;
  // Removed, after a pause for example, it does not join again by itself: its heartbeats tell a new member id each
  // and the old epoch for ever, and one commit is tried for more than a minute, with Apache Kafka as well.
  const removal = new Promise<never>((_, reject) => {
    consumer.on("consumer:heartbeat:error", ({ error }) => {
      if (protocol !== "consumer" || error.response?.errorCode !== unknownMemberId) return;
      isRemoved = true;
      reject(error);
    });
  });
  removal.catch(() => undefined);
  while (!told.isEnding && !isRemoved) {
    try {
      await Promise.race([stream(consumer, told), removal]);
    } catch (refusal) {
      // A stream ends with a generation that is over: another one goes on.
      told.refused(refusal);
      await sleep(200);
    }
  }
  // It commits once more, which fails while the broker is away.
  await consumer.close(true).catch((refusal: unknown) => told.refused(refusal));
}

async function stream(consumer: Consumer, told: Membership): Promise<void> {
  const messages = await consumer.consume({
    topics: [told.topic],
    mode: "committed",
    fallbackMode: "earliest",
    autocommit: false,
    maxWaitTime: 500,
    maxBytesPerPartition: 16_384,
    highWaterMark: 200,
  });
  // Closing commits what is left, which may fail as well.
  void told.ending.then(() => messages.close()).catch((refusal: unknown) => told.refused(refusal));
  let gathered: GroupMessage[] = [];
  for await (const message of messages) {
    gathered.push(message);
    if (gathered.length < 100 && messages.readableLength > 0) continue;
    const last = new Map(gathered.map((each) => [each.partition, each]));
    for (const { partition, offset, value } of gathered)
      told.did(partition, [{ offset: Number(offset), value }]);
    gathered = [];
    const commits = [...last.values()].map(async (each) => {
      await each.commit();
      told.committed(each.partition, Number(each.offset) + 1);
    });
    if (!told.commitsAsync) await Promise.all(commits);
    else for (const commit of commits) commit.catch((refusal: unknown) => told.refused(refusal));
  }
}
