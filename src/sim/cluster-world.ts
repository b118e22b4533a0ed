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
import { SimBucket } from "./bucket.ts";
import { ClientProducer } from "./client-producer.ts";
import { ClusterClient, Ways } from "./cluster-client.ts";
import { ClusterLives } from "./cluster-lives.ts";
import { ClusterTroubles, pauseMsMax } from "./cluster-troubles.ts";
import { Mover } from "./cluster-mover.ts";
import { SimClock } from "./clock.ts";
import { SimConsumer } from "./consumer.ts";
import { createTopic, type NewTopic } from "./create-topic.ts";
import { simSha256 } from "./env.ts";
import { judgeGroups, tellEnds } from "./group-ends.ts";
import { GroupHistory } from "./group-history.ts";
import { GroupKeeper } from "./group-keeper.ts";
import { History } from "./history.ts";
import { insist } from "./insist.ts";
import { SimNetwork } from "./network.ts";
import { type Pace, sparse } from "./pace.ts";
import { SimProducer } from "./producer.ts";
import { SimRandom } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { loggerInto } from "./silence.ts";
import { patientWork } from "./share-pace.ts";
import { letters, ShareQueues } from "./share-queues.ts";
import { startGroup } from "./start-group.ts";
import { finishTransformers, startTransactions, type Transactions } from "./start-transactions.ts";
import { TableHistory } from "./table-history.ts";
import { TableReader } from "./table-reader.ts";
import { TableWriter } from "./table-writer.ts";
import { TopicKeeper } from "./topic-keeper.ts";
import { Trace } from "./trace.ts";
import { TransactionalId } from "./transactional-id.ts";
import type { Place } from "./transactional-producer.ts";
import { Trimmer } from "./trimmer.ts";
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
    /** Of workers of share groups: records they were given, words that were taken, and dead letters. */
    readonly given: number;
    readonly accepted: number;
    readonly letters: number;
  };
}

/** A stopped broker may hold a request for long: until then whoever was in doubt does not know. */
const pace: Pace = { ...sparse, settleMs: sparse.settleMs + pauseMsMax };
/** For how long nobody may be able to end a transaction. */
const outageMsMax = 600_000;
/** After so long without an answer a client asks somebody else; longer than any poll. */
const timeoutsMs = [35_000, 45_000];
/** How long a broker is away after it died. */
const downtimesMs = [10, 500, 3_000, 10_000, 60_000];
const firstNumber = 100;
const tombstonesMs = 600_000;
/** Of the topics beside those of the story. */
const output: NewTopic = { name: "output", partitions: 2 };
const trimmed: NewTopic = { name: "trimmed", partitions: 1 };
const table: NewTopic = {
  name: "table",
  partitions: 1,
  configs: [
    { name: "cleanup.policy", value: "compact" },
    { name: "min.cleanable.dirty.ratio", value: "0.1" },
    { name: "delete.retention.ms", value: String(tombstonesMs) },
  ],
};
/** What coordinators write is led by somebody, too. */
const internal: readonly NewTopic[] = [
  { name: "__consumer_offsets", partitions: 3 },
  { name: "__transaction_state", partitions: 3 },
  { name: "__share_group_state", partitions: 3 },
];
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
  readonly #table: TableHistory;
  readonly #groups: GroupHistory[] = [];
  readonly #clock: SimClock;
  readonly #queues: ShareQueues;
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
    this.#history = new History((topic) => {
      if (topic === table.name) return "compact";
      return topic === trimmed.name ? "delete" : "none";
    }, pace.transactionMs + outageMsMax);
    this.#table = new TableHistory((sentence) => void this.#history.violations.push(sentence));
    this.#queues = new ShareQueues({
      actor: (name) => this.#actor(name),
      random: this.#random.fork("queues"),
      pace: patientWork,
      idOf: (topic) =>
        this.#lives.brokers.map(({ services }) => services.topics.idOf(topic)).find((id) => id !== undefined),
      history: this.#history,
    });
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
      onLog: this.#queues.onLog,
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
        ["share.coordinator.state.topic.num.partitions", "3"],
        ...this.#queues.settings,
        ["group.initial.rebalance.delay.ms", draw.pick(["0", "3000"])],
        ["group.consumer.session.timeout.ms", String(pace.sessionMs)],
      ]),
    });
  }

  async run(): Promise<ClusterReport> {
    await this.#scheduler.runUntil(this.#story());
    const { requests, faulted } = this.#bucket.counts;
    const { answers: shared, given, accepted, letters: died } = this.#queues.counts;
    return {
      seed: this.#seed,
      violations: this.#history.violations,
      traceHash: this.#trace.hash,
      trace: this.#trace.recent(),
      counts: {
        simulatedMs: this.#scheduler.nowMs,
        events: this.#scheduler.events,
        operations:
          this.#history.audit.operations.kind.length + sum(this.#visitors, ({ answers }) => answers) + shared,
        requests,
        faulted,
        starts: this.#lives.starts,
        kills: this.#lives.kills,
        pauses: this.#lives.pauses,
        zombies: this.#lives.replaced,
        ...this.#decided(),
        acked: this.#history.acked + this.#table.acked,
        read: this.#history.read,
        processed: sum(this.#groups, ({ processedCount }) => processedCount),
        commits: sum(this.#groups, ({ commits }) => commits),
        transactions: sum(this.#transactions?.actors ?? [], ({ transactions }) => transactions),
        given,
        accepted,
        letters: died,
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
    const topics = [...plain, output, trimmed, table];
    for (const topic of [...topics, letters]) await createTopic(this.#actor(`create-${topic.name}`), topic);
    const places = [...plain, trimmed].flatMap(({ name, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => ({ topic: name, partition })),
    );
    await Promise.all(
      places.map((place, at) => {
        const actor = this.#actor(`first-${place.topic}-${place.partition}`);
        return new SimProducer(actor, { number: firstNumber + at, ...place }).writeOnce();
      }),
    );
    const isOver = (): boolean => this.#isOver;
    await this.#queues.open([plain[0] as NewTopic, trimmed]);
    const working = this.#queues.work(isOver);
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
      new Trimmer(this.#actor("trimmer"), trimmed.name),
      new Mover(this.#actor("mover"), [...topics, letters, ...internal]),
    ];
    const visitors = this.#visitors.map((visitor) => visitor.run(isOver));
    const tables = [
      new TableWriter(this.#actor("table-writer"), table.name, this.#table).run(isOver),
      this.#tableReader("table-reader", tombstonesMs * 0.4).run(isOver),
    ];
    await new ClusterTroubles({
      clock: this.#clock,
      random: this.#random,
      bucket: this.#bucket,
      network: this.#network,
      lives: this.#lives,
    }).run(this.#troubleMs);
    const grouped = groups.map(({ done }) => done);
    const others = [transactions.done, transformed, working];
    const clients = [...producers, ...consumers, ...visitors, ...tables, ...grouped, ...others];
    await this.#peace(Promise.race([Promise.all(clients), living]));
    await this.#inPeace(Promise.race([this.#queues.clean(), living]), "workers always found something");
    for (const { topic, partition } of [...places, ...outputs]) {
      const judge = new SimConsumer(this.#actor(`judge-${topic}-${partition}`), topic, partition);
      const final = await insist(this.#clock, () => judge.readAll());
      this.#history.judge(topic, partition, final);
      this.#queues.judge(topic, partition, final);
      judgeGroups(
        { topic, partition, offsets: final.keys() },
        {
          groups,
          transactions,
          history: this.#history,
          nowMs: this.#scheduler.nowMs,
        },
      );
    }
    this.#queues.judgeLetters();
    const last = this.#tableReader("table-judge", 0);
    await insist(this.#clock, () => last.readAll());
    this.#history.judgeAll();
    this.#lives.end();
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
      hasSeveralBrokers: true,
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
    const actor = (partition: number): Actor => this.#actor(`${name}-ends-${partition}`);
    const ended = tellEnds(written, { topic, history, actor });
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

  #tableReader(name: string, napMs: number): TableReader {
    const options = { topic: table.name, history: this.#table, awayMaxMs: tombstonesMs / 2, napMs };
    return new TableReader(this.#actor(name), options);
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
      mayExpire: (topic) => topic === trimmed.name,
      writers: 2,
      transformers: 2,
      actor: (name) => this.#actor(name),
      isOver: () => this.#isOver,
    });
    return this.#transactions;
  }

  // ── The two phases ──

  async #peace(clients: Promise<unknown>): Promise<void> {
    this.#isOver = true;
    for (const each of this.#transactions?.actors ?? []) each.wake();
    await this.#inPeace(clients, "some client did not come to its end");
  }

  async #inPeace(done: Promise<unknown>, sentence: string): Promise<void> {
    const late = sleep(this.#clock, pace.peaceMs).then(() => "late");
    if ((await Promise.race([done, late])) === "late") this.#history.violations.push(`in peace, ${sentence}`);
  }
}

function sum<T>(parts: readonly T[], of: (part: T) => number): number {
  return parts.reduce((total, part) => total + of(part), 0);
}
