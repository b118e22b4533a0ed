/**
 * One simulated world: a broker on a disk that forgets what was not synced, its clients, and a story of
 * faults drawn from one seed. Two phases: trouble, in which nothing acknowledged or readable may change,
 * and peace, in which everything must be readable and every producer must come to its end. The broker is
 * the real one, behind other ports.
 */
import { sleep } from "../base/ports.ts";
import { Broker, type BrokerBounds } from "../broker/broker.ts";
import { BrokerConfig } from "../broker/config.ts";
import type { ClientPorts } from "../client/settings.ts";
import { CreateTopics } from "../protocol/messages/create-topics.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { Actor } from "./actor.ts";
import { Disconnected } from "./client.ts";
import { ClientProducer } from "./client-producer.ts";
import { SimClock } from "./clock.ts";
import { SimConsumer } from "./consumer.ts";
import { SimDisk } from "./disk.ts";
import { simEnv, simSha256 } from "./env.ts";
import { drawFaults, type Faults } from "./faults.ts";
import { GroupHistory } from "./group-history.ts";
import { ClassicMember, ConsumerMember } from "./group-members.ts";
import { History } from "./history.ts";
import { SimNetwork } from "./network.ts";
import { SimProducer } from "./producer.ts";
import { SimRandom } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { loggerInto } from "./silence.ts";
import { Trace } from "./trace.ts";

export interface WorldReport {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly traceHash: string;
  readonly trace: readonly string[];
  readonly simulatedMs: number;
  readonly events: number;
  /** Of clients, as the checker was told them. */
  readonly operations: number;
  readonly acked: number;
  readonly read: number;
  readonly processed: number;
  readonly commits: number;
  readonly starts: number;
  readonly kills: number;
  readonly powerCuts: number;
  readonly diskFaults: number;
}

const port = 9092;
const createVersion = 5;
/** Virtual time in which peace must bring every producer to its end. */
const peaceMs = 120_000;
/** Of members of groups; short, so that sessions end all the time. */
const memberSessionMs = 400;

export class World {
  readonly #seed: number;
  readonly #random: SimRandom;
  readonly #scheduler: Scheduler;
  readonly #disk: SimDisk;
  readonly #network: SimNetwork;
  readonly #trace = new Trace();
  readonly #history: History;
  readonly #groups: GroupHistory;
  /** Of the clients and the story; the broker's clock dies with each of its lives. */
  readonly #clock: SimClock;
  readonly #faults: Faults;
  readonly #bounds: BrokerBounds;
  readonly #settings: ReadonlyMap<string, string>;
  #life: { readonly number: number; readonly clock: SimClock; broker: Broker | null } | null = null;
  #starts = 0;
  #kills = 0;
  #powerCuts = 0;
  #diskFaults = 0;
  #isOver = false;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = new SimRandom(seed);
    this.#scheduler = new Scheduler(this.#random);
    this.#clock = new SimClock(this.#scheduler);
    this.#groups = new GroupHistory(
      () => this.#scheduler.nowMs,
      (sentence) => void this.#history.violations.push(sentence),
    );
    const random = this.#random.fork("disk");
    this.#disk = new SimDisk({
      scheduler: this.#scheduler,
      random,
      blockBytes: random.pick([512, 4096]),
    });
    this.#network = new SimNetwork(this.#scheduler, this.#random);
    const draw = this.#random.fork("settings");
    this.#faults = drawFaults(draw);
    // Small, so that rolls, flushes and evictions happen all the time.
    this.#bounds = {
      walFileBytes: draw.pick([32, 64, 256]) * 1024,
      unflushedBytesMax: draw.pick([64, 256, 1024]) * 1024,
      tailBytes: draw.pick([16, 64, 512]) * 1024,
      cacheBytes: draw.pick([64, 1024]) * 1024,
      flushAgeMs: draw.pick([50, 500, 5_000]),
    };
    const retentionBytes = draw.pick(["-1", "-1", "40000"]);
    this.#history = new History(retentionBytes === "-1" ? "none" : "delete");
    this.#settings = new Map([
      ["holdfast.disk.floor.bytes", "0"],
      ["holdfast.disk.reserve.bytes", "0"],
      ["log.retention.check.interval.ms", "400"],
      ["log.segment.delete.delay.ms", "200"],
      ["log.retention.bytes", retentionBytes],
      ["queued.max.request.bytes", draw.pick(["-1", "200000"])],
      ["offsets.topic.num.partitions", "2"],
      ["group.initial.rebalance.delay.ms", draw.pick(["0", "40"])],
      ["group.min.session.timeout.ms", "100"],
      ["group.consumer.session.timeout.ms", String(memberSessionMs)],
    ]);
  }

  async run(): Promise<WorldReport> {
    await this.#scheduler.runUntil(this.#story());
    return {
      seed: this.#seed,
      violations: this.#history.violations,
      traceHash: this.#trace.hash,
      trace: this.#trace.recent(),
      simulatedMs: this.#scheduler.nowMs,
      events: this.#scheduler.events,
      operations: this.#history.audit.operations.kind.length,
      acked: this.#history.acked,
      read: this.#history.read,
      processed: this.#groups.processedCount,
      commits: this.#groups.commits,
      starts: this.#starts,
      kills: this.#kills,
      powerCuts: this.#powerCuts,
      diskFaults: this.#diskFaults,
    };
  }

  async #story(): Promise<void> {
    const draw = this.#random.fork("story");
    await this.#boot();
    const topics = Array.from({ length: draw.between(1, 3) }, (_, index) => ({
      name: `topic${index}`,
      partitions: draw.between(1, 3),
    }));
    for (const topic of topics) await this.#createTopic(topic);
    const places = topics.flatMap(({ name, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => ({ topic: name, partition })),
    );
    const isOver = (): boolean => this.#isOver;
    const kinds = this.#random.fork("producer-kinds");
    const producers = Array.from({ length: draw.between(1, 4) }, (_, number) => {
      const actor = this.#actor(`producer-${number}`);
      const place = { number, ...draw.pick(places) };
      // One speaks the protocol by hand and never gives up, the other is what users have.
      if (kinds.chance(0.5)) return new SimProducer(actor, place).run(isOver);
      return new ClientProducer(actor, this.#clientPorts(actor), { ...place, port }).run(isOver);
    });
    const consumers = Array.from({ length: draw.between(1, 3) }, (_, number) => {
      const { topic, partition } = draw.pick(places);
      return new SimConsumer(this.#actor(`consumer-${number}`), topic, partition).run(isOver);
    });
    const groups = this.#startGroups(topics, Promise.all(producers));
    await this.#trouble(draw);
    await this.#peace(Promise.all([...producers, ...consumers, ...groups.map(({ done }) => done)]));
    for (const { topic, partition } of places) {
      const judge = new SimConsumer(this.#actor(`judge-${topic}-${partition}`), topic, partition);
      const final = await judge.readAll();
      this.#history.judge(topic, partition, final);
      for (const { name, read } of groups) {
        if (read !== topic) continue;
        this.#groups.judge(name, partition, final.keys());
        this.#history.groupEnded(name, { topic, partition, atMs: this.#scheduler.nowMs });
      }
    }
    this.#history.judgeAll();
    await this.#life?.broker?.stop();
  }

  /** Groups of members that come and go; they end when they have committed all that was written. */
  #startGroups(
    topics: readonly { readonly name: string; readonly partitions: number }[],
    written: Promise<unknown>,
  ): readonly { readonly name: string; readonly read: string; readonly done: Promise<unknown> }[] {
    const draw = this.#random.fork("groups");
    if (!draw.chance(0.6)) return [];
    const topic = draw.pick(topics);
    const ended = written.then(async () => {
      const ends = new Map<number, number>();
      for (let partition = 0; partition < topic.partitions; partition++) {
        const judge = new SimConsumer(this.#actor(`ends-${partition}`), topic.name, partition);
        ends.set(partition, await judge.readEnd());
      }
      this.#groups.finish(ends);
    });
    return Array.from({ length: draw.between(1, 2) }, (_, at) => {
      const name = `group${at}`;
      // One protocol, the other, or members of both in one group.
      const consumerShare = draw.pick([0, 0.5, 1]);
      const sessionMs = memberSessionMs;
      const members = Array.from({ length: draw.between(1, 4) }, (__, number) => {
        const Kind = draw.chance(consumerShare) ? ConsumerMember : ClassicMember;
        const options = {
          group: name,
          topic: topic.name,
          partitionCount: topic.partitions,
          number,
          // Where members of both meet, each has an epoch of its own.
          protocol: consumerShare === 0 ? ("classic" as const) : ("consumer" as const),
          sessionMs,
        };
        const actor = this.#actor(`${name}-${number}`);
        return new Kind(actor, { ...options, history: this.#groups }).run(() => this.#isOver);
      });
      return { name, read: topic.name, done: Promise.all([ended, ...members]) };
    });
  }

  #actor(name: string): Actor {
    return new Actor({
      name,
      clock: this.#clock,
      random: this.#random.fork(name),
      network: this.#network,
      port,
      history: this.#history,
      trace: this.#trace,
    });
  }

  #clientPorts({ clock, random }: Actor): ClientPorts {
    const log = loggerInto((line) => this.#trace.record(line));
    return { clock, random, dialer: this.#network, log, software: { name: "simulation", version: "1" } };
  }

  async #createTopic(topic: { readonly name: string; readonly partitions: number }): Promise<void> {
    const actor = this.#actor(`create-${topic.name}`);
    for (;;) {
      try {
        const client = await actor.connect("admin");
        const answer = await client.call(CreateTopics, createVersion, {
          topics: [
            {
              name: topic.name,
              numPartitions: topic.partitions,
              replicationFactor: 1,
              assignments: [],
              configs: [],
            },
          ],
          timeoutMs: 10_000,
          validateOnly: false,
        });
        client.close();
        const code = answer.topics[0]?.errorCode;
        if (code === ErrorCode.NONE || code === ErrorCode.TOPIC_ALREADY_EXISTS) return;
        throw new Error(`creating ${topic.name}: ${errorFacts(code ?? -1).name}`);
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
        if (this.#life === null) await this.#boot();
        await actor.pause(20);
      }
    }
  }

  // ── The broker's lives ──

  async #boot(): Promise<void> {
    for (;;) {
      const clock = new SimClock(this.#scheduler);
      const number = ++this.#starts;
      const life = { number, clock, broker: null as Broker | null };
      this.#life = life;
      const died = new Promise<null>((resolve) => {
        this.#onDeath = () => resolve(null);
      });
      const random = this.#random.fork(`broker-${number}`);
      const starting = Broker.start({
        env: simEnv({ clock, random, trace: this.#trace }),
        disk: this.#disk,
        network: this.#network,
        sha256: simSha256,
        config: new BrokerConfig(this.#settings),
        bounds: this.#bounds,
        listen: { host: "127.0.0.1", port },
        advertised: null,
        software: "simulation",
        chapterSlots: 8,
        onFailure: (cause) => {
          this.#trace.record(`broker ${number} gives up: ${cause.message}`);
          this.#kill("process");
        },
      }).catch((cause: unknown) => {
        // A start that met a disk fault exits; the next one tries again.
        this.#trace.record(`broker ${number} did not start: ${String(cause)}`);
        if (this.#faults.disk === 0) throw cause;
        return null;
      });
      const broker = await Promise.race([starting, died]);
      if (broker !== null && this.#life === life) {
        life.broker = broker;
        this.#trace.record(`broker ${number} serves, ${broker.recovery.entries} entries recovered`);
        return;
      }
      this.#kill("process");
      await sleep(this.#clock, 5);
    }
  }

  #onDeath: () => void = () => undefined;

  /** "process": what was written stays visible. "power": of what was not synced, any part may be gone. */
  #kill(how: "process" | "power"): void {
    if (this.#life === null) return;
    this.#life.clock.stop();
    this.#life = null;
    this.#network.kill(port);
    if (how === "process") {
      this.#kills++;
      this.#disk.kill();
    } else {
      this.#powerCuts++;
      const random = this.#random.fork(`cut-${this.#powerCuts}`);
      const share = random.pick([0, 0.5, 1]);
      this.#disk.crash(() => random.fraction() < share);
    }
    this.#trace.record(`${how} ends`);
    this.#onDeath();
  }

  // ── The two phases ──

  async #trouble(draw: SimRandom): Promise<void> {
    const endMs = this.#scheduler.nowMs + draw.between(200, 3_000);
    const diskRandom = this.#random.fork("disk-faults");
    this.#disk.fault = (call) => {
      if (!diskRandom.chance(this.#faults.disk)) return undefined;
      this.#diskFaults++;
      this.#trace.record(`disk fault at ${call.operation} ${call.path}`);
      return diskRandom.pick([
        { kind: "error", errno: "EIO" },
        { kind: "error-after", errno: "EIO" },
        { kind: "error", errno: "ENOSPC", written: 100 },
      ] as const);
    };
    while (this.#scheduler.nowMs < endMs) {
      await sleep(this.#clock, draw.fraction() * 150);
      if (this.#life === null) await this.#boot();
      else if (draw.chance(this.#faults.crash)) {
        this.#kill(draw.pick(["process", "power"]));
        await sleep(this.#clock, draw.fraction() * 20);
        const booting = this.#boot();
        // Now and then the next trouble comes before the start is over.
        if (draw.chance(0.3)) {
          await Promise.race([booting, sleep(this.#clock, draw.fraction() * 10)]);
          this.#kill(draw.pick(["process", "power"]));
          await booting;
        } else await booting;
      } else if (draw.chance(this.#faults.cut)) this.#network.cutOne();
    }
  }

  async #peace(clients: Promise<unknown>): Promise<void> {
    this.#disk.fault = null;
    const late = sleep(this.#clock, peaceMs).then(() => "late" as const);
    for (;;) {
      if (this.#life === null) await this.#boot();
      this.#isOver = true;
      // Of a fault from before it may hear only now, and give up; then it is started again, as after any death.
      const died = new Promise<"died">((resolve) => {
        this.#onDeath = () => resolve("died");
      });
      const what = await Promise.race([clients, late, died]);
      if (what === "died") continue;
      if (what === "late") this.#history.violations.push("in peace, some client did not come to its end");
      return;
    }
  }
}
