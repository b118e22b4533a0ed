/**
 * A simulated world of queues: workers of several share groups take records from topics into which producers and
 * transactions write and from which old records are deleted, while the broker dies every few seconds, at any step,
 * and may lose what it had not synced. First trouble, then peace, in which careful workers take what is left; then
 * each record must be done with, in each group, as the judge of the group has it.
 */
import { sleep } from "../base/ports.ts";
import { offset, partitionIndex, type TopicId } from "../base/ids.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { ConfigResource } from "../protocol/messages/describe-configs.ts";
import { ConfigOperation, IncrementalAlterConfigs } from "../protocol/messages/incremental-alter-configs.ts";
import { InitializeShareGroupState } from "../protocol/messages/initialize-share-group-state.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { ShareAcknowledge } from "../protocol/messages/share-acknowledge.ts";
import { ShareFetch } from "../protocol/messages/share-fetch.ts";
import { Actor } from "./actor.ts";
import { AimedFaults } from "./aimed-faults.ts";
import { BrokerLives } from "./broker-lives.ts";
import { Disconnected } from "./client.ts";
import { SimClock } from "./clock.ts";
import { SimConsumer } from "./consumer.ts";
import { createTopic, type NewTopic } from "./create-topic.ts";
import { SimDisk } from "./disk.ts";
import { History } from "./history.ts";
import { readLetters } from "./letter-reader.ts";
import { SimNetwork } from "./network.ts";
import { SimProducer } from "./producer.ts";
import { SimRandom } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { ShareHistory } from "./share-history.ts";
import { drawSharePace, type SharePace } from "./share-pace.ts";
import { type SharePlace, ShareWorker } from "./share-worker.ts";
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
  };
}

const port = 9092;
const outageMsMax = 300_000;
const judgeRetryMs = 1_000;
/** Of the records of one producer, one in so many ends each worker that has it. */
const poisonEach = 29;

const work: NewTopic = { name: "work", partitions: 2 };
const trimmed: NewTopic = {
  name: "trimmed",
  partitions: 1,
  configs: [{ name: "retention.bytes", value: "-1" }],
};
const topics = [work, trimmed];
/** Of the second group; the dead of the first are dropped. */
const letters: NewTopic = {
  name: "dlq.letters",
  partitions: 1,
  configs: [{ name: "errors.deadletterqueue.group.enable", value: "true" }],
};
const [dropping, keeping] = ["queue0", "queue1"] as const;

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

interface Queue {
  readonly history: ShareHistory;
  readonly workers: readonly ShareWorker[];
  /** Takes what is left when the others are gone. */
  readonly cleaner: ShareWorker;
}

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
  readonly #queues: Queue[] = [];
  readonly #pace: SharePace;
  readonly #deliveryCountLimit: number;
  #operations = 0;
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
    this.#deliveryCountLimit = draw.pick([2, 3, 5]);
    this.#lives = new BrokerLives({
      scheduler: this.#scheduler,
      random: this.#random,
      disk: this.#disk,
      network: this.#network,
      trace: this.#trace,
      port,
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
        ["group.share.record.lock.duration.ms", String(this.#pace.lockMs)],
        ["group.share.delivery.count.limit", String(this.#deliveryCountLimit)],
        ["group.share.partition.max.record.locks", draw.pick(["100", "2000"])],
        ["share.coordinator.snapshot.update.records.per.snapshot", draw.pick(["2", "20", "500"])],
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
    const total = (of: (history: ShareHistory) => number): number =>
      this.#queues.reduce((sum, { history }) => sum + of(history), 0);
    const workers = this.#queues.flatMap(({ workers: all, cleaner }) => [...all, cleaner]);
    const { kills, powerCuts, starts } = this.#lives;
    return {
      seed: this.#seed,
      violations: this.#history.violations,
      traceHash: this.#trace.hash,
      trace: this.#trace.recent(),
      counts: {
        simulatedMs: this.#scheduler.nowMs,
        events: this.#scheduler.events,
        operations:
          this.#operations +
          this.#history.audit.operations.kind.length +
          sum(workers, (each) => each.operations),
        requests: this.#traffic.requests,
        crashes: kills + powerCuts,
        faults: this.#faults.matrix.count,
        starts,
        written: this.#history.acked,
        given: total(({ counts }) => counts.given),
        again: total(({ counts }) => counts.again),
        accepted: total(({ counts }) => counts.accepted),
        rejected: total(({ counts }) => counts.rejected),
        released: total(({ counts }) => counts.released),
        renewed: total(({ counts }) => counts.renewed),
        refused: total(({ counts }) => counts.refused),
        expired: total(({ counts }) => counts.expired),
        letters: total(({ counts }) => counts.letters),
        deaths: sum(workers, (each) => each.deaths),
      },
    };
  }

  async #story(): Promise<void> {
    const draw = this.#random.fork("story");
    await this.#lives.boot();
    for (const topic of [...topics, letters]) await createTopic(this.#actor(`create-${topic.name}`), topic);
    const places = topics.flatMap((topic) =>
      Array.from({ length: topic.partitions }, (_, partition) => ({
        topic: topic.name,
        topicId: this.#idOf(topic.name),
        partition,
      })),
    );
    await this.#configure(keeping, [
      ["errors.deadletterqueue.topic.name", letters.name],
      ["errors.deadletterqueue.copy.record.enable", "true"],
      ["share.isolation.level", "read_committed"],
    ]);
    for (const group of [dropping, keeping]) {
      await this.#begin(group, places);
      this.#queues.push(this.#hire(group, places, draw.between(2, 4)));
    }
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
    const working = this.#queues.flatMap(({ workers }) => workers.map((worker) => worker.run(isOver)));
    const supervisor = this.#supervise(draw.fork("supervisor"));
    const trimming = trimmer.run(isOver);
    await this.#trouble(draw.fork("trouble"));
    this.#disk.fault = null;
    this.#isOver = true;
    for (const each of transactions.actors) each.wake();
    const clients = Promise.all([...producers, transactions.done, ...working, trimming]);
    await this.#inPeace(Promise.race([clients, supervisor]), "some client did not come to its end");
    const cleaned = Promise.all(this.#queues.map(({ cleaner }) => cleaner.clean(this.#pace.lockMs * 3)));
    await this.#inPeace(Promise.race([cleaned, supervisor]), "the workers always found something");
    this.#operations += trimmer.answers;
    const there = new Set<string>();
    for (const { topic, partition } of places) {
      const judge = new SimConsumer(this.#actor(`judge-${topic}-${partition}`), topic, partition);
      const final = await this.#insist(() => judge.readAll());
      this.#history.judge(topic, partition, final);
      for (const value of final.values()) there.add(value);
      for (const { history } of this.#queues) history.judge(topic, partition, final);
    }
    const written = await this.#insist(() => readLetters(this.#actor("letters"), letters.name));
    for (const { history } of this.#queues)
      if (history.group === keeping) history.judgeLetters(written, (value) => there.has(value));
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

  #idOf(topic: string): TopicId {
    const id = this.#lives.broker?.services.topics.idOf(topic);
    if (id === undefined) throw new Error(`there is no topic ${topic}`);
    return id;
  }

  /** As the coordinator of the group would: its state begins at the beginning of each partition. */
  async #begin(groupId: string, places: readonly SharePlace[]): Promise<void> {
    for (const { topicId, partition } of places) {
      await this.#insist(async () => {
        const client = await this.#actor("keeper").connect("keeper");
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
      });
    }
  }

  async #configure(group: string, settings: readonly (readonly [string, string])[]): Promise<void> {
    await this.#insist(async () => {
      const client = await this.#actor("keeper").connect("keeper");
      try {
        const configs = settings.map(([name, value]) => ({
          name,
          configOperation: ConfigOperation.set,
          value,
        }));
        const resource = { resourceType: ConfigResource.group, resourceName: group, configs };
        const { responses } = await client.call(IncrementalAlterConfigs, 1, {
          resources: [resource],
          validateOnly: false,
        });
        const [answer] = responses;
        if (answer?.errorCode !== ErrorCode.NONE)
          throw new Error(answer?.errorMessage ?? "nothing was answered");
      } finally {
        client.close();
      }
    });
  }

  #hire(group: string, places: readonly SharePlace[], count: number): Queue {
    const history = new ShareHistory({
      group,
      deliveryCountLimit: this.#deliveryCountLimit,
      lockMs: this.#pace.lockMs,
      nowMs: () => this.#scheduler.nowMs,
      violate: (sentence) => void this.#history.violations.push(sentence),
    });
    const worker = (name: string): ShareWorker =>
      new ShareWorker(this.#actor(name), { name, history, places, pace: this.#pace, isPoison });
    const workers = Array.from({ length: count }, (_, at) => worker(`${group}-worker-${at}`));
    return { history, workers, cleaner: worker(`${group}-cleaner`) };
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

  /** The broker may hear only now of a fault from before, and start again under whoever asks. */
  async #insist<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
        await sleep(this.#clock, judgeRetryMs);
      }
    }
  }
}

/** Told by its name: topic, partition, producer, order. */
function isPoison(value: string): boolean {
  const [, , , order] = value.split("-");
  return Number(order) % poisonEach === poisonEach - 1;
}

function sum<T>(parts: readonly T[], of: (part: T) => number): number {
  return parts.reduce((total, part) => total + of(part), 0);
}
