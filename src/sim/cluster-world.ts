/**
 * A simulated cluster: several whole brokers over one bucket that misbehaves, and clients at the pace of real ones.
 * Brokers are killed, stopped for seconds or a minute and let go on, cut off from each other and from the bucket,
 * stopped in good order, and all of them at once; the bucket is slow, forgetful or away. As in every world: trouble,
 * in which nothing that was acknowledged or shown may change, then peace, in which all must be there and every client
 * must come to its end.
 */
import { sleep } from "../base/ports.ts";
import type { ClientPorts } from "../client/settings.ts";
import { applySlot } from "../metadata/apply.ts";
import { ClusterImage } from "../metadata/image.ts";
import { decodeSlot, slotKey } from "../metadata/slot.ts";
import { Actor } from "./actor.ts";
import { drawWeather, fairWeather, SimBucket } from "./bucket.ts";
import { ClientProducer } from "./client-producer.ts";
import { Disconnected } from "./client.ts";
import { ClusterClient, Ways } from "./cluster-client.ts";
import { ClusterLives } from "./cluster-lives.ts";
import { Mover } from "./cluster-mover.ts";
import { SimClock } from "./clock.ts";
import { SimConsumer } from "./consumer.ts";
import { createTopic, type NewTopic } from "./create-topic.ts";
import { simSha256 } from "./env.ts";
import { GroupHistory } from "./group-history.ts";
import { GroupKeeper } from "./group-keeper.ts";
import { History } from "./history.ts";
import { SimNetwork } from "./network.ts";
import { type Pace, sparse } from "./pace.ts";
import { SimProducer } from "./producer.ts";
import { SimRandom } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { loggerInto } from "./silence.ts";
import { startGroup } from "./start-group.ts";
import { finishTransformers, startTransactions, type Transactions } from "./start-transactions.ts";
import { TopicKeeper } from "./topic-keeper.ts";
import { Trace } from "./trace.ts";
import { TransactionalId } from "./transactional-id.ts";
import type { Place } from "./transactional-producer.ts";
import type { Visitor } from "./visitor.ts";

export interface ClusterReport {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly traceHash: string;
  readonly trace: readonly string[];
  readonly counts: {
    readonly simulatedMs: number;
    readonly events: number;
    /** Of clients: as the checker was told them, and answers that a visitor judged. */
    readonly operations: number;
    /** To the bucket. */
    readonly requests: number;
    readonly faulted: number;
    readonly starts: number;
    readonly kills: number;
    readonly pauses: number;
    /** Brokers that went on after they had been replaced, and found out. */
    readonly zombies: number;
    readonly takeOvers: number;
    readonly moves: number;
    readonly acked: number;
    readonly read: number;
    readonly processed: number;
    readonly commits: number;
    readonly transactions: number;
  };
}

/** Longer than a stopped broker may hold a request: until then whoever was in doubt does not know. */
const pauseMsMax = 60_000;
const pace: Pace = { ...sparse, settleMs: sparse.settleMs + pauseMsMax };
/** For how long nobody may be able to end a transaction. */
const outageMsMax = 600_000;
/** After so long without an answer a client asks somebody else; longer than any poll. */
const timeoutsMs = [35_000, 45_000];
/** Mean time from one trouble to the next. */
const gapMs = 20_000;
/** How long a broker is away after it died. */
const downtimesMs = [10, 500, 3_000, 10_000, 60_000];
const firstNumber = 100;
const retryMs = 1_000;
const output: NewTopic = { name: "output", partitions: 2 };
const transforming = "group1";
const outputs: readonly Place[] = [0, 1].map((partition) => ({ topic: output.name, partition }));

export class ClusterWorld {
  readonly #seed: number;
  readonly #troubleMs: number;
  readonly #random: SimRandom;
  readonly #scheduler: Scheduler;
  readonly #bucket: SimBucket;
  readonly #network: SimNetwork;
  readonly #trace = new Trace();
  readonly #history: History;
  readonly #groups: GroupHistory[] = [];
  readonly #clock: SimClock;
  readonly #lives: ClusterLives;
  readonly #otherIds: TransactionalId[] = [];
  #transactions: Transactions | null = null;
  #visitors: readonly Visitor[] = [];
  #isOver = false;

  constructor(seed: number, troubleMs: number) {
    this.#seed = seed;
    this.#troubleMs = troubleMs;
    this.#random = new SimRandom(seed).fork("cluster");
    this.#scheduler = new Scheduler(this.#random);
    this.#clock = new SimClock(this.#scheduler);
    this.#bucket = new SimBucket(this.#scheduler, this.#random);
    this.#network = new SimNetwork(this.#scheduler, this.#random);
    this.#history = new History(() => "none", pace.transactionMs + outageMsMax);
    const draw = this.#random.fork("settings");
    const down = this.#random.fork("downtimes");
    this.#lives = new ClusterLives({
      scheduler: this.#scheduler,
      clock: this.#clock,
      random: this.#random,
      bucket: this.#bucket,
      network: this.#network,
      trace: this.#trace,
      brokers: draw.pick([2, 3, 3, 4]),
      downMs: () => (this.#isOver ? 10 : down.pick(downtimesMs) * down.fraction()),
      onViolation: (sentence) => void this.#history.violations.push(sentence),
      bounds: {
        walFileBytes: 1,
        unflushedBytesMax: draw.pick([64, 256, 1024]) * 1024,
        tailBytes: draw.pick([16, 64, 512]) * 1024,
        cacheBytes: draw.pick([64, 1024]) * 1024,
        flushAgeMs: draw.pick([2_000, 30_000, 120_000]),
        markersAtOnce: draw.pick([1, 2, 1_000]),
      },
      settings: new Map([
        ["auto.create.topics.enable", "false"],
        ["log.retention.check.interval.ms", "60000"],
        ["log.segment.delete.delay.ms", "30000"],
        ["offsets.topic.num.partitions", "3"],
        ["transaction.state.log.num.partitions", "3"],
        ["group.initial.rebalance.delay.ms", draw.pick(["0", "3000"])],
        ["group.consumer.session.timeout.ms", String(pace.sessionMs)],
      ]),
    });
  }

  async run(): Promise<ClusterReport> {
    await this.#scheduler.runUntil(this.#story());
    const { requests, faulted } = this.#bucket.counts;
    return {
      seed: this.#seed,
      violations: this.#history.violations,
      traceHash: this.#trace.hash,
      trace: this.#trace.recent(),
      counts: {
        simulatedMs: this.#scheduler.nowMs,
        events: this.#scheduler.events,
        operations:
          this.#history.audit.operations.kind.length + sum(this.#visitors, ({ answers }) => answers),
        requests,
        faulted,
        starts: this.#lives.starts,
        kills: this.#lives.kills,
        pauses: this.#lives.pauses,
        zombies: this.#lives.replaced,
        ...this.#decided(),
        acked: this.#history.acked,
        read: this.#history.read,
        processed: sum(this.#groups, ({ processedCount }) => processedCount),
        commits: sum(this.#groups, ({ commits }) => commits),
        transactions: sum(this.#transactions?.actors ?? [], ({ transactions }) => transactions),
      },
    };
  }

  /** What the journal says, from its first slot on. */
  #decided(): { readonly takeOvers: number; readonly moves: number } {
    const image = new ClusterImage();
    let takeOvers = 0;
    let moves = 0;
    for (;;) {
      const bytes = this.#bucket.firstContents.get(slotKey(image.nextSlot));
      if (bytes === undefined) return { takeOvers, moves };
      const { content } = decodeSlot(bytes, image, simSha256);
      applySlot(image, content, simSha256(bytes)).forEach(({ kind }, at) => {
        if (kind === "void") return;
        if (content.commands[at]?.kind === "recover") takeOvers++;
        if (content.commands[at]?.kind === "move") moves++;
      });
    }
  }

  async #story(): Promise<void> {
    const draw = this.#random.fork("story");
    const living = this.#lives.run();
    const plain = Array.from({ length: 2 }, (_, at) => ({
      name: `topic${at}`,
      partitions: draw.between(1, 3),
    }));
    const topics = [...plain, output];
    for (const topic of topics) await createTopic(this.#actor(`create-${topic.name}`), topic);
    const places = plain.flatMap(({ name, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => ({ topic: name, partition })),
    );
    await Promise.all(
      places.map((place, at) => {
        const actor = this.#actor(`first-${place.topic}-${place.partition}`);
        return new SimProducer(actor, { number: firstNumber + at, ...place }).writeOnce();
      }),
    );
    const isOver = (): boolean => this.#isOver;
    const producers = Array.from({ length: 4 }, (_, number) => {
      const actor = this.#actor(`producer-${number}`);
      const place = { number, ...draw.pick(places) };
      if (number < 2) return new SimProducer(actor, place).run(isOver);
      const bootstrap = this.#lives.ports.map((port) => `127.0.0.1:${port}`).join();
      return new ClientProducer(actor, this.#clientPorts(actor), { ...place, port: 0, bootstrap }).run(
        isOver,
      );
    });
    const consumers = Array.from({ length: 2 }, (_, number) => {
      const { topic, partition } = draw.pick(places);
      return new SimConsumer(this.#actor(`consumer-${number}`), topic, partition).run(isOver);
    });
    const transactions = this.#startTransactions(places);
    const written = Promise.all([...producers, transactions.written]);
    const transformed = finishTransformers(written, transactions, this.#actor("ends"));
    const groups = [draw.pick([0, 0.5]), draw.pick([0.5, 1])].map((consumerShare, at) => {
      const group = { name: `group${at}`, topic: draw.pick(plain), history: this.#groupHistory() };
      return { ...group, done: this.#startGroup(draw, { ...group, consumerShare, written }) };
    });
    this.#visitors = [
      new TopicKeeper(this.#actor("topic-keeper"), "passing"),
      new GroupKeeper(this.#actor("group-keeper"), "kept", plain[0] as NewTopic, false),
      new Mover(this.#actor("mover"), topics),
    ];
    const visitors = this.#visitors.map((visitor) => visitor.run(isOver));
    await this.#trouble(draw.fork("trouble"));
    const grouped = groups.map(({ done }) => done);
    const others = [transactions.done, transformed];
    const clients = [...producers, ...consumers, ...visitors, ...grouped, ...others];
    await this.#peace(Promise.race([Promise.all(clients), living]));
    for (const { topic, partition } of [...places, ...outputs]) {
      const judge = new SimConsumer(this.#actor(`judge-${topic}-${partition}`), topic, partition);
      this.#history.judge(topic, partition, await this.#insist(() => judge.readAll()));
      this.#judgeGroups(groups, { topic, partition });
    }
    this.#history.judgeAll();
    this.#lives.end();
  }

  #judgeGroups(
    groups: readonly { readonly name: string; readonly topic: NewTopic; readonly history: GroupHistory }[],
    { topic, partition }: Place,
  ): void {
    const end = { topic, partition, atMs: this.#scheduler.nowMs };
    for (const group of groups) if (group.topic.name === topic) this.#history.groupEnded(group.name, end);
    for (const { group, source } of this.#transactions?.transformers ?? []) {
      if (source.topic === topic && source.partition === partition) this.#history.groupEnded(group, end);
    }
  }

  // ── Clients ──

  #actor(name: string): Actor {
    const random = this.#random.fork(name);
    const ways = new Ways();
    return new Actor({
      name,
      clock: this.#clock,
      random,
      network: this.#network,
      port: 0,
      connect: (clientId, onDeath) =>
        new ClusterClient({
          network: this.#network,
          clock: this.#clock,
          random,
          ports: this.#lives.ports,
          ways,
          clientId,
          timeoutMs: random.pick(timeoutsMs),
          onDeath,
        }),
      history: this.#history,
      trace: this.#trace,
      pace,
      endsMayLag: true,
    });
  }

  #clientPorts({ clock, random }: Actor): ClientPorts {
    const log = loggerInto((line) => this.#trace.record(line));
    return { clock, random, dialer: this.#network, log, software: { name: "simulation", version: "1" } };
  }

  #groupHistory(): GroupHistory {
    const history = new GroupHistory(
      () => this.#scheduler.nowMs,
      (sentence) => void this.#history.violations.push(sentence),
    );
    this.#groups.push(history);
    return history;
  }

  /** Its members end when they have committed all that was written. */
  #startGroup(
    draw: SimRandom,
    options: {
      readonly name: string;
      readonly topic: NewTopic;
      readonly history: GroupHistory;
      readonly consumerShare: number;
      readonly written: Promise<unknown>;
    },
  ): Promise<unknown> {
    const { name, topic, history, written } = options;
    const ended = written.then(async () => {
      const ends = new Map<number, number>();
      for (let partition = 0; partition < topic.partitions; partition++) {
        const judge = new SimConsumer(this.#actor(`${name}-ends-${partition}`), topic.name, partition);
        ends.set(partition, await judge.readEnd());
      }
      history.finish(ends);
    });
    const members = startGroup(draw, {
      ...options,
      ...(name === transforming && {
        transform: { targets: outputs, idFor: (id: string) => this.#idFor(id) },
      }),
      membersMax: 3,
      actor: (actorName) => this.#actor(actorName),
      isOver: () => this.#isOver,
    });
    return Promise.all([ended, members]);
  }

  #idFor(name: string): TransactionalId {
    const id = new TransactionalId(name);
    this.#otherIds.push(id);
    return id;
  }

  #startTransactions(places: readonly Place[]): Transactions {
    this.#transactions = startTransactions(this.#random.fork("transactions"), {
      history: this.#history,
      places,
      targets: outputs,
      writers: 2,
      transformers: 2,
      actor: (name) => this.#actor(name),
      isOver: () => this.#isOver,
    });
    return this.#transactions;
  }

  // ── The two phases ──

  async #trouble(draw: SimRandom): Promise<void> {
    const endMs = this.#scheduler.nowMs + this.#troubleMs;
    const weather = this.#random.fork("weather");
    const rate = draw.pick([0.02, 0.1, 0.3]);
    while (this.#scheduler.nowMs < endMs) {
      if (draw.chance(0.2)) this.#bucket.weather = drawWeather(weather, rate);
      await sleep(this.#clock, draw.fraction() * 2 * gapMs);
      this.#strike(draw);
    }
  }

  #strike(draw: SimRandom): void {
    const { processes } = this.#lives;
    if (processes.length === 0) return;
    const one = draw.pick(processes);
    const other = draw.pick(processes);
    const shortMs = draw.pick([200, 2_000, 10_000]) * draw.fraction();
    switch (draw.pick(troubles)) {
      case "kill":
        return this.#lives.kill(one);
      case "pause":
        return this.#pause(draw, one, draw.pick([500, 5_000, pauseMsMax]) * draw.fraction());
      case "stop":
        return void this.#lives.stop(one);
      case "kill all":
        return this.#lives.killAll();
      case "cut between brokers":
        if (one === other) return;
        this.#network.cut(one, other);
        return this.#later(draw.pick([1_000, 10_000, 60_000]) * draw.fraction(), () =>
          this.#network.heal(one, other),
        );
      case "cut from the bucket":
        this.#bucket.cutOff(one);
        return this.#later(draw.pick([1_000, 10_000, 60_000]) * draw.fraction(), () =>
          this.#bucket.reconnect(one),
        );
      case "storm":
        return this.#bucket.storm(shortMs * 3, draw.pick([0.3, 0.8, 1]));
      case "cut a connection":
        return void this.#network.cutOne();
      default:
    }
  }

  /** It goes on at once, or some steps at a time. */
  #pause(draw: SimRandom, process: ClusterLives["processes"][number], ms: number): void {
    this.#lives.pause(process);
    const inSteps = draw.chance(0.3) ? draw.between(1, 5) : 0;
    const goOn = (stepsLeft: number): void => {
      process.resume();
      if (stepsLeft === 0) return;
      this.#later(draw.fraction() * 5, () => {
        process.pause();
        this.#later(draw.fraction() * 1_000, () => goOn(stepsLeft - 1));
      });
    };
    this.#later(ms, () => goOn(inSteps));
  }

  #later(ms: number, run: () => void): void {
    this.#clock.schedule(ms, run);
  }

  async #peace(clients: Promise<unknown>): Promise<void> {
    this.#isOver = true;
    this.#bucket.weather = fairWeather;
    for (const each of this.#transactions?.actors ?? []) each.wake();
    const late = sleep(this.#clock, pace.peaceMs).then(() => "late");
    if ((await Promise.race([clients, late])) === "late")
      this.#history.violations.push("in peace, some client did not come to its end");
  }

  /** A broker may hear only now of a trouble from before, and end under its judge. */
  async #insist<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
        await sleep(this.#clock, retryMs);
      }
    }
  }
}

/** How often each comes. */
const troubleWeights = {
  kill: 3,
  pause: 3,
  stop: 1,
  "kill all": 1,
  storm: 2,
  "cut between brokers": 2,
  "cut from the bucket": 1,
  "cut a connection": 2,
} as const;
type Trouble = keyof typeof troubleWeights;
const troubles = (Object.keys(troubleWeights) as Trouble[]).flatMap((trouble) =>
  Array.from({ length: troubleWeights[trouble] }, () => trouble),
);

function sum<T>(parts: readonly T[], of: (part: T) => number): number {
  return parts.reduce((total, part) => total + of(part), 0);
}
