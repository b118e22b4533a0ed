/**
 * One simulated world: a broker on a disk that forgets what was not synced, its clients, and a story of
 * faults drawn from one seed. Two phases: trouble, in which nothing acknowledged or readable may change,
 * and peace, in which everything must be readable and every producer must come to its end. The broker is
 * the real one, behind other ports.
 */
import { sleep } from "../base/ports.ts";
import type { ClientPorts } from "../client/settings.ts";
import { Actor } from "./actor.ts";
import { BrokerLives } from "./broker-lives.ts";
import { ClientProducer } from "./client-producer.ts";
import { SimClock } from "./clock.ts";
import { SimConsumer } from "./consumer.ts";
import { createTopic } from "./create-topic.ts";
import { SimDisk } from "./disk.ts";
import { drawFaults, type Faults } from "./faults.ts";
import { judgeGroups, tellEnds } from "./group-ends.ts";
import { GroupHistory } from "./group-history.ts";
import { History } from "./history.ts";
import { SimNetwork } from "./network.ts";
import { dense } from "./pace.ts";
import { SimProducer } from "./producer.ts";
import { SimRandom } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { loggerInto } from "./silence.ts";
import { startGroup } from "./start-group.ts";
import { finishTransformers, startTransactions, type Transactions } from "./start-transactions.ts";
import { Trace } from "./trace.ts";
import { TransactionalId } from "./transactional-id.ts";
import type { Place } from "./transactional-producer.ts";

export interface WorldReport {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly traceHash: string;
  readonly trace: readonly string[];
  readonly counts: {
    readonly simulatedMs: number;
    readonly events: number;
    /** Of clients, as the checker was told them. */
    readonly operations: number;
    readonly acked: number;
    readonly read: number;
    readonly processed: number;
    readonly commits: number;
    readonly transactions: number;
    readonly starts: number;
    readonly kills: number;
    readonly powerCuts: number;
    readonly diskFaults: number;
  };
}

const port = 9092;
/** How long starts that fail can keep the broker from ending a transaction. */
const outageMsMax = 30_000;
/** Into which what others read is transformed. */
const output = { name: "output", partitions: 2 };
const outputs: readonly Place[] = [0, 1].map((partition) => ({ topic: output.name, partition }));

interface StartedGroup {
  readonly name: string;
  readonly topic: { readonly name: string; readonly partitions: number };
  readonly history: GroupHistory;
  readonly done: Promise<unknown>;
}

export class World {
  readonly #seed: number;
  readonly #random: SimRandom;
  readonly #scheduler: Scheduler;
  readonly #disk: SimDisk;
  readonly #network: SimNetwork;
  readonly #trace = new Trace();
  readonly #history: History;
  readonly #groups: GroupHistory;
  /** Of the clients and the story. */
  readonly #clock: SimClock;
  readonly #faults: Faults;
  readonly #lives: BrokerLives;
  #diskFaults = 0;
  #transactions: Transactions | null = null;
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
    const bounds = {
      walFileBytes: draw.pick([32, 64, 256]) * 1024,
      unflushedBytesMax: draw.pick([64, 256, 1024]) * 1024,
      tailBytes: draw.pick([16, 64, 512]) * 1024,
      cacheBytes: draw.pick([64, 1024]) * 1024,
      flushAgeMs: draw.pick([50, 500, 5_000]),
      markersAtOnce: draw.pick([1, 2, 1_000]),
    };
    const retentionBytes = draw.pick(["-1", "-1", "40000"]);
    this.#history = new History(
      () => (retentionBytes === "-1" ? "none" : "delete"),
      dense.transactionMs + outageMsMax,
    );
    const settings = new Map([
      ["holdfast.disk.floor.bytes", "0"],
      ["holdfast.disk.reserve.bytes", "0"],
      ["log.retention.check.interval.ms", "400"],
      ["log.segment.delete.delay.ms", "200"],
      ["log.retention.bytes", retentionBytes],
      ["queued.max.request.bytes", draw.pick(["-1", "200000"])],
      ["offsets.topic.num.partitions", "2"],
      ["transaction.state.log.num.partitions", "2"],
      ["group.initial.rebalance.delay.ms", draw.pick(["0", "40"])],
      ["group.min.session.timeout.ms", "100"],
      ["group.consumer.session.timeout.ms", String(dense.sessionMs)],
    ]);
    this.#lives = new BrokerLives({
      scheduler: this.#scheduler,
      random: this.#random,
      disk: this.#disk,
      network: this.#network,
      trace: this.#trace,
      port,
      settings,
      bounds,
    });
  }

  async run(): Promise<WorldReport> {
    await this.#scheduler.runUntil(this.#story());
    return {
      seed: this.#seed,
      violations: this.#history.violations,
      traceHash: this.#trace.hash,
      trace: this.#trace.recent(),
      counts: {
        simulatedMs: this.#scheduler.nowMs,
        events: this.#scheduler.events,
        operations: this.#history.audit.operations.kind.length,
        acked: this.#history.acked,
        read: this.#history.read,
        processed: this.#groups.processedCount,
        commits: this.#groups.commits,
        transactions: (this.#transactions?.actors ?? []).reduce((sum, each) => sum + each.transactions, 0),
        starts: this.#lives.starts,
        kills: this.#lives.kills,
        powerCuts: this.#lives.powerCuts,
        diskFaults: this.#diskFaults,
      },
    };
  }

  async #story(): Promise<void> {
    const draw = this.#random.fork("story");
    await this.#lives.boot();
    const topics = Array.from({ length: draw.between(1, 3) }, (_, index) => ({
      name: `topic${index}`,
      partitions: draw.between(1, 3),
    }));
    for (const topic of [...topics, output]) {
      await createTopic(this.#actor(`create-${topic.name}`), topic, async () => {
        if (!this.#lives.isAlive) await this.#lives.boot();
      });
    }
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
    const transactions = this.#startTransactions(places);
    const written = Promise.all([...producers, transactions?.written]);
    const groups = this.#startGroups(topics, written);
    const transformed = finishTransformers(written, transactions, this.#actor("ends"));
    await this.#trouble(draw);
    const clients = [...producers, ...consumers, ...groups.map(({ done }) => done), transactions?.done];
    await this.#peace(Promise.all([...clients, transformed]));
    for (const { topic, partition } of [...places, ...outputs]) {
      const judge = new SimConsumer(this.#actor(`judge-${topic}-${partition}`), topic, partition);
      const final = await judge.readAll();
      this.#history.judge(topic, partition, final);
      judgeGroups(
        { topic, partition, offsets: final.keys() },
        { groups, transactions, history: this.#history, nowMs: this.#scheduler.nowMs },
      );
    }
    this.#history.judgeAll();
    await this.#lives.stop();
  }

  #startTransactions(places: readonly Place[]): Transactions | null {
    const draw = this.#random.fork("transactions");
    if (!draw.chance(0.6)) return null;
    this.#transactions = startTransactions(draw, {
      history: this.#history,
      places,
      targets: outputs,
      writers: draw.between(1, 3),
      transformers: draw.between(0, 2),
      actor: (name) => this.#actor(name),
      isOver: () => this.#isOver,
    });
    return this.#transactions;
  }

  /** Groups of members that come and go; they end when they have committed all that was written. */
  #startGroups(
    topics: readonly { readonly name: string; readonly partitions: number }[],
    written: Promise<unknown>,
  ): readonly StartedGroup[] {
    const draw = this.#random.fork("groups");
    if (!draw.chance(0.6)) return [];
    const topic = draw.pick(topics);
    const history = this.#groups;
    const actor = (partition: number): Actor => this.#actor(`ends-${partition}`);
    const ended = tellEnds(written, { topic, history, actor });
    return Array.from({ length: draw.between(1, 2) }, (_, at) => {
      const name = `group${at}`;
      // One protocol, the other, or members of both in one group.
      const consumerShare = draw.pick([0, 0.5, 1]);
      // Where there are transactions, one of them transforms.
      const mayTransform = at === 0 && this.#transactions !== null && draw.chance(0.5);
      const members = startGroup(draw, {
        name,
        topic,
        ...(mayTransform && {
          transform: { targets: outputs, idFor: (id: string) => new TransactionalId(id) },
        }),
        history,
        consumerShare,
        membersMax: 4,
        actor: (actorName) => this.#actor(actorName),
        isOver: () => this.#isOver,
      });
      return { name, topic, history, done: Promise.all([ended, members]) };
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
      pace: dense,
    });
  }

  #clientPorts({ clock, random }: Actor): ClientPorts {
    const log = loggerInto((line) => this.#trace.record(line));
    return { clock, random, dialer: this.#network, log, software: { name: "simulation", version: "1" } };
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
      if (!this.#lives.isAlive) await this.#lives.boot();
      else if (draw.chance(this.#faults.crash)) {
        this.#lives.kill(draw.pick(["process", "power"]));
        await sleep(this.#clock, draw.fraction() * 20);
        const booting = this.#lives.boot();
        // Now and then the next trouble comes before the start is over.
        if (draw.chance(0.3)) {
          await Promise.race([booting, sleep(this.#clock, draw.fraction() * 10)]);
          this.#lives.kill(draw.pick(["process", "power"]));
          await booting;
        } else await booting;
      } else if (draw.chance(this.#faults.cut)) this.#network.cutOne();
    }
  }

  async #peace(clients: Promise<unknown>): Promise<void> {
    this.#disk.fault = null;
    const late = sleep(this.#clock, dense.peaceMs).then(() => "late" as const);
    for (;;) {
      if (!this.#lives.isAlive) await this.#lives.boot();
      this.#isOver = true;
      // Of a fault from before it may hear only now, and give up; then it is started again, as after any death.
      const died = this.#lives.whenDead().then(() => "died" as const);
      const what = await Promise.race([clients, late, died]);
      if (what === "died") continue;
      if (what === "late") this.#history.violations.push("in peace, some client did not come to its end");
      return;
    }
  }
}
