/**
 * A simulated world of queues: workers of several share groups take records from topics into which producers and
 * transactions write and from which old records are deleted, while the broker dies every few seconds, at any step,
 * and may lose what it had not synced. First trouble, then peace, in which careful workers take what is left; then
 * each record must be done with, in each group, as the judge of the group has it.
 */
import { sleep } from "../base/ports.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { ShareAcknowledge } from "../protocol/messages/share-acknowledge.ts";
import { ShareFetch } from "../protocol/messages/share-fetch.ts";
import { Actor } from "./actor.ts";
import { AimedFaults } from "./aimed-faults.ts";
import { BrokerLives } from "./broker-lives.ts";
import { SimClock } from "./clock.ts";
import { SimConsumer } from "./consumer.ts";
import { createTopic, type NewTopic } from "./create-topic.ts";
import { SimDisk } from "./disk.ts";
import { History } from "./history.ts";
import { insist } from "./insist.ts";
import { SimNetwork } from "./network.ts";
import { SimProducer } from "./producer.ts";
import { SimRandom } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { drawSharePace, type SharePace } from "./share-pace.ts";
import { letters, type ShareCounts, ShareQueues } from "./share-queues.ts";
import { startTransactions } from "./start-transactions.ts";
import { Trace } from "./trace.ts";
import { Traffic } from "./traffic.ts";
import { Trimmer } from "./trimmer.ts";

export interface ShareReport {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly traceHash: string;
  readonly trace: readonly string[];
  readonly counts: {
    readonly simulatedMs: number;
    readonly events: number;
    /** Answers that workers heard, and operations of all other clients. */
    readonly operations: number;
    readonly requests: number;
    /** Ends of the broker's process, or of the power. */
    readonly crashes: number;
    readonly faults: number;
    readonly starts: number;
    readonly written: number;
  } & Omit<ShareCounts, "answers">;
}

const port = 9092;
const outageMsMax = 300_000;

const work: NewTopic = { name: "work", partitions: 2 };
const trimmed: NewTopic = {
  name: "trimmed",
  partitions: 1,
  configs: [{ name: "retention.bytes", value: "-1" }],
};
const topics = [work, trimmed];
const faultedApis = [ShareFetch, ShareAcknowledge, ShareAcknowledge, Produce].map(({ key }) => key as number);
const faults = [
  "kill",
  "kill",
  "kill",
  "power cut",
  "power cut",
  "power cut",
  "disk error",
  "disk error",
  "death",
  "sleep",
  "request lost",
  "answer lost",
] as const;

export class ShareWorld {
  readonly #seed: number;
  readonly #random: SimRandom;
  readonly #scheduler: Scheduler;
  readonly #disk: SimDisk;
  readonly #network: SimNetwork;
  readonly #traffic: Traffic;
  readonly #trace = new Trace();
  readonly #history: History;
  readonly #clock: SimClock;
  readonly #lives: BrokerLives;
  readonly #faults: AimedFaults;
  readonly #queues: ShareQueues;
  readonly #pace: SharePace;
  /** Answers that the trimmer judged. */
  #trimmed = 0;
  #isOver = false;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = new SimRandom(seed).fork("share");
    this.#scheduler = new Scheduler(this.#random);
    this.#clock = new SimClock(this.#scheduler);
    const random = this.#random.fork("disk");
    this.#disk = new SimDisk({
      scheduler: this.#scheduler,
      random,
      blockBytes: random.pick([512, 4096]),
      latencyMs: (operation) =>
        operation === "open" || operation === "size" ? 0 : 0.01 + random.fraction() * 0.99,
    });
    this.#network = new SimNetwork(this.#scheduler, this.#random);
    this.#traffic = new Traffic(this.#network);
    this.#pace = drawSharePace(this.#random.fork("pace"));
    const draw = this.#random.fork("settings");
    this.#history = new History(
      (topic) => (topic === trimmed.name ? "delete" : "none"),
      this.#pace.transactionMs + outageMsMax,
    );
    this.#queues = new ShareQueues({
      actor: (name) => this.#actor(name),
      random: this.#random.fork("queues"),
      pace: this.#pace,
      idOf: (topic) => this.#lives.broker?.services.topics.idOf(topic),
      history: this.#history,
    });
    this.#lives = new BrokerLives({
      scheduler: this.#scheduler,
      random: this.#random,
      disk: this.#disk,
      network: this.#network,
      trace: this.#trace,
      port,
      onLog: this.#queues.onLog,
      bounds: {
        walFileBytes: draw.pick([64, 256]) * 1024,
        unflushedBytesMax: draw.pick([64, 256, 1024]) * 1024,
        tailBytes: draw.pick([16, 64, 512]) * 1024,
        cacheBytes: draw.pick([256, 1024]) * 1024,
        flushAgeMs: draw.pick([10_000, 30_000, 120_000]),
      },
      settings: new Map([
        ["auto.create.topics.enable", "false"],
        ["holdfast.disk.floor.bytes", "0"],
        ["holdfast.disk.reserve.bytes", "0"],
        ["log.segment.delete.delay.ms", "30000"],
        ["offsets.topic.num.partitions", "1"],
        ["transaction.state.log.num.partitions", "1"],
        ["share.coordinator.state.topic.num.partitions", "2"],
        ...this.#queues.settings,
      ]),
    });
    this.#faults = new AimedFaults({
      clock: this.#clock,
      random: this.#random.fork("faults"),
      traffic: this.#traffic,
      disk: this.#disk,
      lives: this.#lives,
      trace: this.#trace,
      sleepMs: this.#pace.lockMs * 3,
    });
  }

  async run(): Promise<ShareReport> {
    await this.#scheduler.runUntil(this.#story());
    const { answers, ...shared } = this.#queues.counts;
    const { kills, powerCuts, starts } = this.#lives;
    return {
      seed: this.#seed,
      violations: this.#history.violations,
      traceHash: this.#trace.hash,
      trace: this.#trace.recent(),
      counts: {
        simulatedMs: this.#scheduler.nowMs,
        events: this.#scheduler.events,
        operations: answers + this.#trimmed + this.#history.audit.operations.kind.length,
        requests: this.#traffic.requests,
        crashes: kills + powerCuts,
        faults: this.#faults.matrix.count,
        starts,
        written: this.#history.acked,
        ...shared,
      },
    };
  }

  async #story(): Promise<void> {
    const draw = this.#random.fork("story");
    await this.#lives.boot();
    for (const topic of [...topics, letters]) await createTopic(this.#actor(`create-${topic.name}`), topic);
    await this.#queues.open(topics);
    const places = topics.flatMap(({ name, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => ({ topic: name, partition })),
    );
    const isOver = (): boolean => this.#isOver;
    const producers = places.map((place, number) =>
      new SimProducer(this.#actor(`producer-${number}`), { number, ...place }).run(isOver),
    );
    const transactions = startTransactions(this.#random.fork("transactions"), {
      history: this.#history,
      places: places.filter(({ topic }) => topic === work.name),
      targets: [],
      writers: 1,
      transformers: 0,
      actor: (name) => this.#actor(name),
      isOver,
    });
    const trimmer = new Trimmer(this.#actor("trimmer"), trimmed.name);
    const working = this.#queues.work(isOver);
    const supervisor = this.#supervise(draw.fork("supervisor"));
    const trimming = trimmer.run(isOver);
    await this.#trouble(draw.fork("trouble"));
    this.#disk.fault = null;
    this.#isOver = true;
    for (const each of transactions.actors) each.wake();
    const clients = Promise.all([...producers, transactions.done, working, trimming]);
    await this.#inPeace(Promise.race([clients, supervisor]), "some client did not come to its end");
    await this.#inPeace(
      Promise.race([this.#queues.clean(), supervisor]),
      "the workers always found something",
    );
    this.#trimmed = trimmer.answers;
    for (const { topic, partition } of places) {
      const judge = new SimConsumer(this.#actor(`judge-${topic}-${partition}`), topic, partition);
      const final = await insist(this.#clock, () => judge.readAll());
      this.#history.judge(topic, partition, final);
      this.#queues.judge(topic, partition, final);
    }
    this.#queues.judgeLetters();
    this.#history.judgeAll();
    await this.#lives.stop();
  }

  // ── Clients ──

  #actor(name: string): Actor {
    return new Actor({
      name,
      clock: this.#clock,
      random: this.#random.fork(name),
      network: this.#network,
      port,
      history: this.#history,
      trace: this.#trace,
      pace: this.#pace,
    });
  }

  // ── The broker's lives, and the two phases ──

  /** Starts the broker again whenever it died. */
  async #supervise(draw: SimRandom): Promise<never> {
    for (;;) {
      if (this.#lives.isAlive) await this.#lives.whenDead();
      await sleep(this.#clock, draw.pick(this.#pace.downtimesMs) * draw.fraction());
      const booting = this.#lives.boot();
      if (!this.#isOver && draw.chance(0.2)) {
        await Promise.race([booting, sleep(this.#clock, draw.fraction() * 20)]);
        this.#faults.crash(draw.pick(["kill", "power cut"]));
      }
      await booting;
    }
  }

  async #trouble(draw: SimRandom): Promise<void> {
    const { troubleMs, gapMs } = this.#pace;
    const endMs = this.#scheduler.nowMs + troubleMs;
    while (this.#scheduler.nowMs < endMs) {
      await sleep(this.#clock, draw.fraction() * 2 * gapMs);
      await this.#faults.strike(draw.pick(faults), draw.pick(faultedApis));
    }
  }

  async #inPeace(done: Promise<unknown>, sentence: string): Promise<void> {
    const late = sleep(this.#clock, this.#pace.peaceMs).then(() => "late");
    if ((await Promise.race([done, late])) === "late") this.#history.violations.push(`in peace, ${sentence}`);
  }
}
