/**
 * The broker under attack: the real one, from its connections down to its log, over a memory network, a
 * memory disk and virtual time, so that a seed replays it. Beside the attackers sits an honest client, who
 * has a topic that they cannot name, and who must at any time be able to write and to read back all of it.
 */
import assert from "node:assert/strict";
import { setImmediate as immediately } from "node:timers/promises";
import {
  NO_TOPIC_ID,
  offset,
  partitionIndex,
  producerEpoch,
  type ProducerId,
  producerId,
  type TopicId,
} from "../../src/base/ids.ts";
import type { Meter } from "../../src/base/ports.ts";
import { Broker } from "../../src/broker/broker.ts";
import { BrokerConfig } from "../../src/broker/config.ts";
import { sha256 } from "../../src/io/sha256.ts";
import type { Api } from "../../src/protocol/api.ts";
import { decodeCorrelationId, decodeResponse, encodeRequest } from "../../src/protocol/frame.ts";
import { AlterConfigs } from "../../src/protocol/messages/alter-configs.ts";
import { CreateTopics } from "../../src/protocol/messages/create-topics.ts";
import { DeleteTopics } from "../../src/protocol/messages/delete-topics.ts";
import { Fetch } from "../../src/protocol/messages/fetch.ts";
import { InitProducerId } from "../../src/protocol/messages/init-producer-id.ts";
import { Produce } from "../../src/protocol/messages/produce.ts";
import { BatchView } from "../../src/record/batch.ts";
import { buildBatch } from "../../src/record/builder.ts";
import { recordsIn } from "../../src/record/record.ts";
import { SimClock } from "../../src/sim/clock.ts";
import { SimDisk } from "../../src/sim/disk.ts";
import { SimRandom } from "../../src/sim/random.ts";
import { Scheduler } from "../../src/sim/scheduler.ts";
import { silentLogger, silentMeter } from "../../src/sim/silence.ts";
import { MemoryNetwork, type MemoryPeer } from "./memory-network.ts";

const port = 9092;
const settings = {
  "holdfast.wal.file.bytes": "4194304",
  "holdfast.disk.reserve.bytes": "0",
  "holdfast.disk.floor.bytes": "0",
  "holdfast.partitions.max": "1000",
  "log.retention.bytes": "1048576",
  "log.retention.check.interval.ms": "10000",
  "log.segment.delete.delay.ms": "1000",
};

/** Topics that attackers know, with what makes each take another way through the broker. */
const knownTopics: { readonly [name: string]: { readonly [key: string]: string } } = {
  orders: {},
  stamped: { "message.timestamp.type": "LogAppendTime" },
  compacted: { "cleanup.policy": "compact" },
  plain: { "compression.type": "uncompressed" },
  gzipped: { "compression.type": "gzip" },
  snapped: { "compression.type": "snappy" },
  lz4ed: { "compression.type": "lz4" },
  zstded: { "compression.type": "zstd" },
};

export class Target {
  readonly broker: Broker;
  readonly #scheduler: Scheduler;
  readonly #network: MemoryNetwork;
  readonly #gauges: ReadonlyMap<string, () => number>;
  #failure: Error | null = null;

  private constructor(facts: {
    readonly broker: Broker;
    readonly scheduler: Scheduler;
    readonly network: MemoryNetwork;
    readonly gauges: ReadonlyMap<string, () => number>;
  }) {
    this.broker = facts.broker;
    this.#scheduler = facts.scheduler;
    this.#network = facts.network;
    this.#gauges = facts.gauges;
  }

  /** `more`: settings as they would be on the command line. */
  static async start(seed: number, more: { readonly [name: string]: string } = {}): Promise<Target> {
    const random = new SimRandom(seed).fork("broker");
    const scheduler = new Scheduler(random);
    const network = new MemoryNetwork();
    const gauges = new Map<string, () => number>();
    const meter: Meter = { ...silentMeter, gauge: (name, _help, read) => void gauges.set(name, read) };
    const failures: ((cause: Error) => void)[] = [];
    const broker = await scheduler.runUntil(
      Broker.start({
        env: { clock: new SimClock(scheduler), random, log: silentLogger, meter },
        storage: { kind: "files", disk: new SimDisk() },
        network,
        sha256,
        config: new BrokerConfig(new Map(Object.entries({ ...settings, ...more }))),
        listen: { host: "127.0.0.1", port },
        advertised: null,
        software: "tough",
        onFailure: (cause) => failures.forEach((tell) => tell(cause)),
      }),
    );
    const target = new Target({ broker, scheduler, network, gauges });
    failures.push((cause) => {
      target.#failure = cause;
    });
    return target;
  }

  connect(): MemoryPeer {
    return this.#network.connect(port);
  }

  /** Runs what time brings within `ms`. */
  async advance(ms: number): Promise<void> {
    await this.#scheduler.run({ untilMs: this.#scheduler.nowMs + ms });
  }

  /** Moves everything durable into segments; some of it may have to wait for its time. */
  async flush(): Promise<void> {
    let isDone = false;
    const flushed = this.broker.flush().then(() => {
      isDone = true;
    });
    await immediately();
    for (let waited = 0; !isDone; waited += 100) {
      assert.ok(waited < 60_000, "a flush comes to its end");
      await this.advance(100);
    }
    await flushed;
  }

  gauge(name: string): number {
    const read = this.#gauges.get(name);
    assert.ok(read !== undefined, `the broker measures ${name}`);
    return read();
  }

  assertSound(): void {
    if (this.#failure !== null) throw this.#failure;
    assert.equal(this.broker.health().reason, null);
  }

  async stop(): Promise<void> {
    await this.#scheduler.runUntil(this.broker.stop());
  }

  get knownTopicIds(): readonly TopicId[] {
    const ids = Object.keys(knownTopics).map((name) => this.broker.services.topics.idOf(name));
    return ids.map((id) => id ?? NO_TOPIC_ID);
  }
  get knownTopicNames(): readonly string[] {
    return Object.keys(knownTopics);
  }
}

const produceVersion = 9;
const partition = partitionIndex(0);

export class HonestClient {
  readonly #target: Target;
  readonly #topic: string;
  #peer: MemoryPeer;
  #nextCorrelationId = 1;
  #received: Uint8Array = new Uint8Array(0);
  #answers: Uint8Array[] = [];
  #producer: ProducerId = producerId(-1);
  #sent = 0;
  #readEnd = 0;

  private constructor(target: Target, topic: string) {
    this.#target = target;
    this.#topic = topic;
    this.#peer = this.#connect();
  }

  /** `random` draws a name that attackers cannot guess. */
  static async start(target: Target, random: SimRandom): Promise<HonestClient> {
    const name = `honest-${random.u32().toString(36)}${random.u32().toString(36)}`;
    const client = new HonestClient(target, name);
    await client.#create(name, 1, {
      "retention.ms": "-1",
      "retention.bytes": "-1",
      "max.message.bytes": "1048588",
      "compression.type": "producer",
      "cleanup.policy": "delete",
      "message.timestamp.type": "CreateTime",
      "message.timestamp.before.max.ms": "9223372036854775807",
      "message.timestamp.after.max.ms": "9223372036854775807",
    });
    await client.restore();
    const { errorCode, producerId: id } = await client.ask(InitProducerId, 4, {
      transactionalId: null,
      transactionTimeoutMs: 60_000,
      producerId: producerId(-1),
      producerEpoch: producerEpoch(-1),
    });
    assert.equal(errorCode, 0);
    client.#producer = id;
    return client;
  }

  #connect(): MemoryPeer {
    const peer = this.#target.connect();
    this.#received = new Uint8Array(0);
    peer.onBytes = (chunk) => this.#take(chunk);
    return peer;
  }

  #take(chunk: Uint8Array): void {
    this.#received =
      this.#received.byteLength === 0 ? chunk : new Uint8Array(Buffer.concat([this.#received, chunk]));
    while (this.#received.byteLength >= 4) {
      const length = Buffer.from(this.#received.buffer, this.#received.byteOffset, 4).readInt32BE();
      if (this.#received.byteLength < 4 + length) return;
      this.#answers.push(this.#received.subarray(4, 4 + length));
      this.#received = this.#received.subarray(4 + length);
    }
  }

  async ask<Req, Res>(api: Api<Req, Res>, version: number, request: Req): Promise<Res> {
    if (this.#peer.closed) this.#peer = this.#connect();
    const correlationId = this.#nextCorrelationId++;
    const chunks = encodeRequest(api, { apiVersion: version, correlationId, clientId: "honest" }, request);
    this.#peer.deliver(new Uint8Array(Buffer.concat(chunks)));
    await immediately();
    for (let waited = 0; this.#answers.length === 0; waited += 50) {
      assert.ok(waited < 60_000 && !this.#peer.closed, `${api.name} of an honest client is answered`);
      await this.#target.advance(50);
    }
    const answer = this.#answers.shift() as Uint8Array;
    assert.equal(decodeCorrelationId(answer), correlationId);
    return decodeResponse(api, version, answer);
  }

  async #create(
    name: string,
    partitions: number,
    configs: { readonly [key: string]: string },
  ): Promise<void> {
    const { topics } = await this.ask(CreateTopics, 5, {
      topics: [
        {
          name,
          numPartitions: partitions,
          replicationFactor: -1,
          assignments: [],
          configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
        },
      ],
      timeoutMs: 1000,
      validateOnly: false,
    });
    assert.ok(
      topics[0]?.errorCode === 0 || topics[0]?.errorCode === 36,
      `${name}: ${topics[0]?.errorMessage}`,
    );
  }

  /** What attackers were allowed to change goes back: settings of the broker, topics that they made or took. */
  async restore(): Promise<void> {
    await this.ask(AlterConfigs, 1, {
      resources: ["", "1"].map((resourceName) => ({ resourceType: 4, resourceName, configs: [] })),
      validateOnly: false,
    });
    const { topics } = this.#target.broker.services;
    const foreign = Array.from(topics.all(), ({ name }) => name).filter(
      (name) => name !== this.#topic && !Object.hasOwn(knownTopics, name),
    );
    if (foreign.length > 0)
      await this.ask(DeleteTopics, 5, { topics: [], topicNames: foreign, timeoutMs: 1000 });
    for (const [name, configs] of Object.entries(knownTopics)) {
      if (topics.idOf(name) === undefined) await this.#create(name, 3, configs);
    }
    await this.ask(AlterConfigs, 1, {
      resources: Object.entries(knownTopics).map(([resourceName, configs]) => ({
        resourceType: 2,
        resourceName,
        configs: Object.entries(configs).map(([name, value]) => ({ name, value })),
      })),
      validateOnly: false,
    });
  }

  /** Writes one record and reads everything since the last check. */
  async check(): Promise<void> {
    const records = [
      buildBatch([{ value: `record ${this.#sent}` }], {
        producerId: this.#producer,
        producerEpoch: producerEpoch(0),
        baseSequence: this.#sent,
      }),
    ];
    const { responses } = await this.ask(Produce, produceVersion, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 10_000,
      topicData: [
        { name: this.#topic, topicId: NO_TOPIC_ID, partitionData: [{ index: partition, records }] },
      ],
    });
    const { errorCode, baseOffset } = responses[0]?.partitionResponses[0] ?? {};
    assert.deepEqual(
      { errorCode, baseOffset },
      { errorCode: 0, baseOffset: this.#sent },
      "an honest record is acknowledged",
    );
    this.#sent++;
    await this.#readFrom(this.#readEnd);
    this.#readEnd = this.#sent;
  }

  /** Reads every record that was acknowledged. */
  checkAll(): Promise<void> {
    return this.#readFrom(0);
  }

  get recordCount(): number {
    return this.#sent;
  }

  async #readFrom(begin: number): Promise<void> {
    for (let next = begin; next < this.#sent; ) {
      const answer = await this.ask(Fetch, 11, {
        clusterId: null,
        replicaId: -1 as never,
        replicaState: { replicaId: -1 as never, replicaEpoch: -1 },
        maxWaitMs: 100,
        minBytes: 1,
        maxBytes: 1 << 20,
        isolationLevel: 0,
        sessionId: 0,
        sessionEpoch: -1,
        topics: [
          {
            topic: this.#topic,
            topicId: NO_TOPIC_ID,
            partitions: [
              {
                partition,
                currentLeaderEpoch: -1 as never,
                fetchOffset: offset(next),
                lastFetchedEpoch: -1 as never,
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
      const read = answer.responses[0]?.partitions[0];
      assert.equal(read?.errorCode, 0, "an honest client may read");
      const whole = new Uint8Array(Buffer.concat(read.records ?? []));
      const before = next;
      for (let at = 0; at < whole.byteLength; ) {
        const batch = BatchView.at(whole.subarray(at));
        for (const record of recordsIn(batch, 1 << 20)) {
          if (record.offset < next) continue;
          assert.equal(Buffer.from(record.value ?? []).toString(), `record ${next}`);
          assert.equal(record.offset, next);
          next++;
        }
        at += batch.sizeInBytes;
      }
      assert.ok(next > before, `record ${next} of an honest client can be read`);
    }
  }
}
