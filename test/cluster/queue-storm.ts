/**
 * A share group in a storm: workers of our client and of Java's take records from one topic while workers are killed,
 * stopped for longer than their locks and asked to leave, and brokers are killed and stopped; of three brokers others
 * take over. Some records are poison: a worker rejects them, or dies of each. At the end every sound record must have
 * been accepted, none given out after that was answered, none more often than allowed; each poison one must be a dead
 * letter once, and nothing else one.
 *
 *   node test/cluster/queue-storm.ts [--records 1000000] [--workers 20] [--brokers 1|3] [--rate 2500] [--seed 1]
 *     [--every 4] [--broker-every 20]   seconds between two events of workers, and of brokers
 *     [--rejected 1000] [--deadly 125000]   of so many records one is poison of that kind
 *     [--minutes 10]   after so long nothing more is written, and the storm ends with what there is
 */
import { closeSync, mkdirSync, mkdtempSync, openSync, realpathSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Client, createClient } from "../../src/entry/client.ts";
import { type Broker, startBroker } from "../../tools/brokers.ts";
import { type BrokerCluster, startCluster } from "../../tools/clusters.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { seeded } from "../crash/run.ts";
import { jobValue, type Poison } from "../interop/share-jobs.ts";
import { type ShareCounts, ShareJudge } from "../interop/share-judge.ts";
import type { Program } from "../interop/programs.ts";
import { javaShareMember, ourShareMember } from "../interop/share-members.ts";
import { deliveriesMax, shareSettings } from "../interop/share-play.ts";
import { QueueBrokers } from "./queue-brokers.ts";
import { type CrewCounts, QueueCrew } from "./queue-crew.ts";

export interface QueueStormOptions {
  readonly records: number;
  readonly workers: number;
  readonly brokers: 1 | 3;
  /** Records per second that are written. */
  readonly rate: number;
  /** From one event of workers to the next, and of brokers, in ms. */
  readonly everyMs: number;
  readonly brokerEveryMs: number;
  readonly poison: Poison;
  /** After so long nothing more is written. */
  readonly writingMsMax: number;
  readonly seed: number;
  readonly onEvent?: (line: string) => void;
}

export interface QueueStormReport extends ShareCounts {
  readonly written: number;
  readonly poison: number;
  readonly workers: CrewCounts;
  readonly brokers: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly violationCount: number;
  readonly violations: readonly string[];
  readonly passed: boolean;
  /** Of a storm that failed: the brokers' data, and each line of each worker. */
  readonly directory: string;
}

const topic = "jobs";
const lettersTopic = "dlq.jobs";
const group = "workers";
const partitionCount = 8;
const lockMs = 10_000;
/** A worker that stands still so long has lost its locks. */
const pauseMs = lockMs + 2_000;
/** What is given to a worker that runs is printed within this; a broker that is killed stays away longer. */
const slackMs = 2_500;
const underWayMax = 20_000;
/** Everything that was written is done within this when the storm is over. */
const drainMs = 300_000;
const quietMs = 4_000;

export async function queueStorm(options: QueueStormOptions): Promise<QueueStormReport> {
  const storm = await QueueStorm.start(options);
  try {
    return await storm.rage();
  } finally {
    await storm.dismiss();
  }
}

class QueueStorm {
  readonly #options: QueueStormOptions;
  readonly #directory: string;
  readonly #target: Broker;
  readonly #brokers: QueueBrokers;
  readonly #client: Client;
  readonly #judge: ShareJudge;
  readonly #crew: QueueCrew;
  readonly #lines: LineFile;
  readonly #faults: string[] = [];
  readonly #random: () => number;
  readonly #pauses = new Set<Promise<void>>();
  readonly #ends = Array.from({ length: partitionCount }, () => 0);
  readonly #begun = performance.now();
  #isWritten = false;
  #isOver = false;

  private constructor(
    options: QueueStormOptions,
    directory: string,
    target: Broker,
    brokers: readonly Broker[],
  ) {
    this.#options = options;
    this.#directory = directory;
    this.#target = target;
    this.#random = seeded(options.seed);
    this.#brokers = new QueueBrokers({
      brokers,
      directory,
      everyMs: options.brokerEveryMs,
      awayMs: slackMs + 500,
      random: this.#random,
      isOver: () => this.#isOver,
      tell: (line) => this.#tell(line),
      fail: (fault) => this.#fail(fault),
    });
    this.#client = createClient({ bootstrap: target.address });
    this.#judge = new ShareJudge({ partitionCount, deliveriesMax, slackMs, poison: options.poison });
    this.#lines = new LineFile(join(directory, "workers.log"));
    const kinds = castOf(target.address);
    this.#crew = new QueueCrew({
      size: options.workers,
      command: (place) => kinds[place % kinds.length] as Promise<Program>,
      hear: (member, line) => {
        this.#lines.write(`${member} ${line}`);
        this.#judge.line(member, line);
      },
      paused: (member) => this.#judge.paused(member, Date.now()),
      resumed: (member) => this.#judge.resumed(member, Date.now()),
      fault: (fault) => {
        this.#faults.push(fault);
        this.#tell(`FAULT ${fault}`);
      },
    });
  }

  static async start(options: QueueStormOptions): Promise<QueueStorm> {
    mkdirSync(join(cacheDirectory, "crash"), { recursive: true });
    const directory = realpathSync(mkdtempSync(join(cacheDirectory, "crash", "queue-")));
    const settings = settingsOfStorm();
    if (options.brokers === 1) {
      const broker = await startBroker("holdfast", { directory, settings });
      return new QueueStorm(options, directory, broker, [broker]);
    }
    const cluster: BrokerCluster = await startCluster({ directory, settings });
    return new QueueStorm(options, directory, cluster, cluster.brokers);
  }

  async rage(): Promise<QueueStormReport> {
    const { records } = this.#options;
    await this.#prepare();
    await this.#crew.start();
    const writing = this.#write(records).then(
      () => {
        this.#isWritten = true;
      },
      (cause: unknown) => {
        this.#fail(`not all was written: ${String(cause)}`);
      },
    );
    await Promise.all([this.#stormOfWorkers(), this.#brokers.rage(), this.#watch()]);
    await Promise.all([...this.#pauses, writing]);
    await this.#drain();
    await sleep(quietMs);
    await this.#crew.end();
    await this.#readLetters();
    this.#judge.finish(this.#ends);
    await this.#client.close();
    await this.#brokers.end();
    return this.#report();
  }

  async dismiss(): Promise<void> {
    this.#isOver = true;
    this.#crew.dismiss();
    await this.#client.close();
    await this.#target.dismiss();
    this.#lines.close();
  }

  async #prepare(): Promise<void> {
    const admin = this.#client.admin();
    await admin.createTopic({ topic, partitions: partitionCount });
    await admin.createTopic({
      topic: lettersTopic,
      partitions: 4,
      configs: { "errors.deadletterqueue.group.enable": "true" },
    });
    const set = { "share.auto.offset.reset": "earliest", "errors.deadletterqueue.topic.name": lettersTopic };
    await admin.alterConfigs([{ group, set }]);
  }

  async #write(records: number): Promise<void> {
    const producer = this.#client.producer({ lingerMs: 5, deliveryTimeoutMs: 120_000 });
    const { rate, poison, writingMsMax } = this.#options;
    const begun = performance.now();
    let underWay = 0;
    let failure: unknown;
    for (let sent = 0; sent < records && failure === undefined; ) {
      if (performance.now() - begun > writingMsMax) break;
      const due = Math.min(records, Math.ceil(((performance.now() - begun) / 1000) * rate));
      for (; sent < due && underWay < underWayMax; sent++) {
        const partition = sent % partitionCount;
        const at = this.#ends[partition] ?? 0;
        this.#ends[partition] = at + 1;
        underWay += 1;
        producer.send({ topic, partition, value: jobValue(partition, at, poison) }).then(
          ({ offset }) => {
            underWay -= 1;
            if (offset !== at)
              failure ??= new Error(`Record ${at} of partition ${partition} is at ${offset}`);
          },
          (cause: unknown) => {
            failure ??= cause;
          },
        );
      }
      await sleep(20);
    }
    await producer.close();
    if (failure !== undefined) throw failure;
  }

  /** The storm lasts as long as there is work: until everything is written and nearly everything done. */
  async #watch(): Promise<void> {
    let before = 0;
    let silentMs = 0;
    for (let round = 1; !this.#isOver; round++) {
      await sleep(1_000);
      const left = this.#judge.missing(this.#ends);
      const { deliveries, accepted } = this.#judge.counts;
      silentMs = deliveries === before ? silentMs + 1_000 : 0;
      before = deliveries;
      if (silentMs >= drainMs / 2) this.#fail(`nothing was given out for ${silentMs} ms`);
      if (round % 10 === 0) {
        this.#tell(
          `${sum(this.#ends)} written, ${accepted} accepted, ${left} left, ${deliveries} deliveries`,
        );
      }
      if (this.#isWritten && left < this.#options.records / 100) this.#isOver = true;
    }
  }

  async #stormOfWorkers(): Promise<void> {
    const { workers, everyMs } = this.#options;
    while (!this.#isOver) {
      await sleep(everyMs * (0.5 + this.#random()));
      const place = Math.floor(this.#random() * workers);
      const what = this.#random();
      if (what < 0.5) this.#crew.kill(place);
      else if (what < 0.75) this.#crew.leave(place);
      else {
        const pause = this.#crew.pause(place, pauseMs).finally(() => this.#pauses.delete(pause));
        this.#pauses.add(pause);
      }
    }
  }

  /** Until the group has nothing more to do by its own account; what nobody asked for then is judged. */
  async #drain(): Promise<void> {
    const deadline = performance.now() + drainMs;
    let lag = Number.POSITIVE_INFINITY;
    while (performance.now() < deadline) {
      const offsets = await this.#client.admin().listShareGroupOffsets(group);
      lag = sum(offsets.map((each) => each.lag));
      if (lag === 0 && offsets.length === partitionCount) return;
      await sleep(500);
    }
    this.#fail(`${lag} records are not done after the storm`);
  }

  async #readLetters(): Promise<void> {
    const letters = this.#client.consumer({ topic: lettersTopic, from: "start", until: "end" });
    for await (const { value, headers } of letters) {
      const told = new Map(headers.map((header) => [header.key, String(header.value)]));
      const header = (name: string): string => told.get(`__dlq.errors.${name}`) ?? "";
      if (header("topic") !== topic || header("group") !== group) {
        this.#fail(`a dead letter is of ${header("topic")} and ${header("group")}`);
      }
      this.#judge.letter(Number(header("partition")), Number(header("offset")), String(value));
    }
  }

  #report(): QueueStormReport {
    const { counts, violations, violationCount } = this.#judge;
    const { poison } = this.#options;
    const passed = violationCount === 0 && this.#faults.length === 0;
    let poisonCount = 0;
    for (const [partition, end] of this.#ends.entries()) {
      for (let at = 0; at < end; at++) if (jobValue(partition, at, poison).includes("!")) poisonCount += 1;
    }
    if (passed) rmSync(this.#directory, { recursive: true, force: true });
    return {
      written: sum(this.#ends),
      poison: poisonCount,
      ...counts,
      workers: this.#crew.counts,
      brokers: this.#brokers.counts,
      seconds: Math.round((performance.now() - this.#begun) / 1000),
      violationCount: violationCount + this.#faults.length,
      violations: [...this.#faults, ...violations],
      passed,
      directory: this.#directory,
    };
  }

  #fail(fault: string): void {
    this.#faults.push(fault);
    this.#isOver = true;
    this.#tell(`FAULT ${fault}`);
  }

  #tell(line: string): void {
    const seconds = ((performance.now() - this.#begun) / 1000).toFixed(0);
    this.#options.onEvent?.(`${seconds.padStart(5)} s ${line}`);
  }
}

/** Java rejects only explicitly; of ours every other one is told of records by `run`. Each is looked up once. */
function castOf(address: string): readonly Promise<Program>[] {
  const cast = [
    { member: ourShareMember(), mode: "explicit" },
    { member: javaShareMember("4.4.0"), mode: "explicit" },
    { member: ourShareMember(), mode: "implicit" },
    { member: javaShareMember("4.3.0"), mode: "explicit" },
  ] as const;
  return cast.map(({ member, mode }) => member.command({ address, topic, group, mode }));
}

/**
 * Members that died are out soon, and before the broker is killed again, with which their time begins anew: else
 * partitions would be given to nobody but the dead.
 */
function settingsOfStorm(): string[] {
  const sessions = {
    "group.share.min.session.timeout.ms": 5_000,
    "group.share.session.timeout.ms": 5_000,
    "group.share.min.heartbeat.interval.ms": 1_000,
    "group.share.heartbeat.interval.ms": 1_000,
  };
  const set = Object.entries(sessions).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
  return [...shareSettings("holdfast", lockMs), ...set];
}

/** What the workers said, as evidence. */
class LineFile {
  readonly #file: number;
  #waiting: string[] = [];

  constructor(path: string) {
    this.#file = openSync(path, "a");
  }

  write(line: string): void {
    this.#waiting.push(line);
    if (this.#waiting.length >= 4_096) this.#flush();
  }

  close(): void {
    this.#flush();
    closeSync(this.#file);
  }

  #flush(): void {
    if (this.#waiting.length > 0) writeSync(this.#file, `${this.#waiting.splice(0).join("\n")}\n`);
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0);

if (import.meta.main) {
  const count = (fallback: string) => ({ type: "string", default: fallback }) as const;
  const { values } = parseArgs({
    options: {
      records: count("1000000"),
      workers: count("20"),
      brokers: count("1"),
      rate: count("2500"),
      every: count("4"),
      "broker-every": count("20"),
      rejected: count("1000"),
      deadly: count("125000"),
      minutes: count("60"),
      seed: count("1"),
    },
  });
  const report = await queueStorm({
    records: Number(values.records),
    workers: Number(values.workers),
    brokers: values.brokers === "3" ? 3 : 1,
    rate: Number(values.rate),
    everyMs: Number(values.every) * 1000,
    brokerEveryMs: Number(values["broker-every"]) * 1000,
    poison: { rejectedEvery: Number(values.rejected), deadlyEvery: Number(values.deadly) },
    writingMsMax: Number(values.minutes) * 60_000,
    seed: Number(values.seed),
    onEvent: console.log,
  });
  const { violations, directory, ...counts } = report;
  console.log(JSON.stringify(counts));
  for (const violation of violations) console.log(`✗ ${violation}`);
  console.log(report.passed ? "passed" : `FAILED; what there is lies in ${directory}`);
  process.exit(report.passed ? 0 : 1);
}
