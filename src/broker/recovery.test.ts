import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sha256 } from "../io/sha256.ts";
import { leaderEpoch, NO_TOPIC_ID, nodeId, offset, partitionIndex } from "../base/ids.ts";
import type { Api } from "../protocol/api.ts";
import { CreateTopics } from "../protocol/messages/create-topics.ts";
import { Fetch } from "../protocol/messages/fetch.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { wholeBatchesIn } from "../record/batch.ts";
import { buildBatch } from "../record/builder.ts";
import { recordsIn } from "../record/record.ts";
import { SimClient } from "../sim/client.ts";
import { SimClock } from "../sim/clock.ts";
import { SimDisk } from "../sim/disk.ts";
import { SimNetwork } from "../sim/network.ts";
import { SimRandom } from "../sim/random.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { silentLogger, silentMeter } from "../sim/silence.ts";
import { Broker } from "./broker.ts";
import { BrokerConfig } from "./config.ts";

/** A process on a machine of its own; `after` is the next one, on a copy of the disk as power loss left it. */
class Machine {
  readonly disk: SimDisk;
  readonly #scheduler: Scheduler;
  readonly #client: SimClient;

  private constructor(disk: SimDisk, scheduler: Scheduler, client: SimClient) {
    this.disk = disk;
    this.#scheduler = scheduler;
    this.#client = client;
  }

  static async start(left?: SimDisk): Promise<Machine> {
    const random = new SimRandom(1);
    const scheduler = new Scheduler(random);
    const disk = left?.clone({ scheduler, random }) ?? new SimDisk({ scheduler, random });
    const network = new SimNetwork(scheduler, random);
    const settings = new Map([
      ["holdfast.wal.file.bytes", "1048576"],
      ["holdfast.disk.reserve.bytes", "0"],
    ]);
    await scheduler.runUntil(
      Broker.start({
        env: { clock: new SimClock(scheduler), random, log: silentLogger, meter: silentMeter },
        storage: { kind: "files", disk },
        network,
        sha256,
        config: new BrokerConfig(settings),
        listen: { host: "127.0.0.1", port: 9092 },
        advertised: null,
        software: "test",
        onFailure: (cause) => {
          throw cause;
        },
      }),
    );
    const client = SimClient.connect(network, 9092, "test");
    assert.ok(client !== null);
    return new Machine(disk, scheduler, client);
  }

  /** The power fails; `damage` happens to the disk meanwhile. */
  after(damage: (disk: SimDisk) => void = () => undefined): Promise<Machine> {
    const left = this.disk.clone({});
    left.crash(() => false);
    damage(left);
    return Machine.start(left);
  }

  #ask<Req, Res>(api: Api<Req, Res>, version: number, request: Req): Promise<Res> {
    return this.#scheduler.runUntil(this.#client.call(api, version, request));
  }

  async createTopic(): Promise<void> {
    const topic = { name: "orders", numPartitions: 1, replicationFactor: -1, assignments: [], configs: [] };
    await this.#ask(CreateTopics, 5, { topics: [topic], timeoutMs: 1000, validateOnly: false });
  }

  /** Returns the offset that the value got. */
  async produce(value: string): Promise<number> {
    const records = [buildBatch([{ value }])];
    const topicData = [
      { name: "orders", topicId: NO_TOPIC_ID, partitionData: [{ index: partitionIndex(0), records }] },
    ];
    const answer = await this.#ask(Produce, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 1000,
      topicData,
    });
    const partition = answer.responses[0]?.partitionResponses[0];
    assert.equal(partition?.errorCode, 0);
    return partition.baseOffset;
  }

  async fetch(from: number): Promise<readonly string[]> {
    const partition = {
      partition: partitionIndex(0),
      currentLeaderEpoch: leaderEpoch(-1),
      fetchOffset: offset(from),
      lastFetchedEpoch: leaderEpoch(-1),
      logStartOffset: offset(-1),
      partitionMaxBytes: 1 << 20,
      replicaDirectoryId: NO_TOPIC_ID,
      highWatermark: 0x7fff_ffff_ffff_ffffn,
    };
    const answer = await this.#ask(Fetch, 12, {
      clusterId: null,
      replicaId: nodeId(-1),
      replicaState: { replicaId: nodeId(-1), replicaEpoch: -1 },
      maxWaitMs: 0,
      minBytes: 1,
      maxBytes: 1 << 24,
      isolationLevel: 0,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [{ topic: "orders", topicId: NO_TOPIC_ID, partitions: [partition] }],
      forgottenTopicsData: [],
      rackId: "",
    });
    return (answer.responses[0]?.partitions[0]?.records ?? []).flatMap((chunk) =>
      [...wholeBatchesIn(chunk)].flatMap((batch) =>
        [...recordsIn(batch, 1 << 20)].map((record) => Buffer.from(record.value ?? []).toString()),
      ),
    );
  }
}

/** Changes bytes of the newest-but-`back` WAL of a disk: its first file. */
function damageWal(disk: SimDisk, which: number, change: (bytes: Uint8Array) => void): void {
  const files = disk.paths().filter((path) => /^wal\/\d+\/0\.log$/.test(path));
  files.sort((a, b) => Number(a.split("/")[1]) - Number(b.split("/")[1]));
  disk.damage(files[which] as string, (bytes) => {
    change(bytes);
    return bytes;
  });
}

const frame = (number: number): number => 8192 + number * 4096;

describe("Recovery of a start", () => {
  it("keeps what was acknowledged through several crashes in a row", async () => {
    let machine = await Machine.start();
    await machine.createTopic();
    for (let start = 0; start < 4; start++) {
      assert.equal(await machine.produce(`value ${start}`), start);
      machine = await machine.after();
    }
    assert.deepEqual(await machine.fetch(0), ["value 0", "value 1", "value 2", "value 3"]);
  });

  it("goes on where an entry was damaged after its WAL had been recovered: its offset is a gap, none is given twice", async () => {
    const first = await Machine.start();
    await first.createTopic();
    for (const value of ["a", "b", "c"]) await first.produce(value);
    const second = await first.after();
    assert.equal(await second.produce("d"), 3);
    const third = await second.after((disk) =>
      damageWal(disk, 0, (bytes) => bytes.fill(0xff, frame(1) + 240, frame(1) + 260)),
    );
    assert.equal(await third.produce("e"), 4);
    assert.deepEqual(await third.fetch(2), ["c", "d", "e"]);
    assert.deepEqual(await third.fetch(0), ["a"]);
  });

  it("goes on behind the last offset of a WAL whose newest entry was damaged after its recovery", async () => {
    const first = await Machine.start();
    await first.createTopic();
    for (const value of ["a", "b"]) await first.produce(value);
    const second = await first.after();
    const third = await second.after((disk) =>
      damageWal(disk, 0, (bytes) => bytes.fill(0xff, frame(1) + 240, frame(1) + 260)),
    );
    assert.ok((await third.produce("c")) >= 2);
  });

  it("leaves a gap where frames are gone that nothing names, and keeps what lies behind them", async () => {
    const first = await Machine.start();
    await first.createTopic();
    for (const value of ["a", "b", "c", "d", "e"]) await first.produce(value);
    for (const lateDamage of [false, true]) {
      const lose = (disk: SimDisk) => damageWal(disk, 0, (bytes) => bytes.fill(0xff, frame(1), frame(3)));
      const second = lateDamage ? await first.after() : await first.after(lose);
      if (lateDamage) assert.equal(await second.produce("f"), 5);
      const third = lateDamage ? await second.after(lose) : second;
      assert.ok((await third.produce("g")) > 2 ** 40);
      assert.deepEqual((await third.fetch(3)).slice(0, 2), ["d", "e"]);
      const fourth = await third.after();
      assert.ok((await fourth.produce("h")) > 2 ** 40);
    }
  });
});
