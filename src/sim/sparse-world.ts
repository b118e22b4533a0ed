/**
 * A simulated world at the pace of real ones: sessions of 45 s, long polls, pauses of seconds, and every half a
 * minute a fault that was aimed at a request of one API. Clients call every API that the broker serves, and each
 * knows what must come of it. As in a world of haste: trouble, in which nothing that was acknowledged may change,
 * then peace, in which all must be there and every client must come to its end.
 */
import { sleep } from "../base/ports.ts";
import { clientHandlers } from "../broker/handlers.ts";
import type { ClientPorts } from "../client/settings.ts";
import { AddOffsetsToTxn } from "../protocol/messages/add-offsets-to-txn.ts";
import { AddPartitionsToTxn } from "../protocol/messages/add-partitions-to-txn.ts";
import { EndTxn } from "../protocol/messages/end-txn.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";
import { TxnOffsetCommit } from "../protocol/messages/txn-offset-commit.ts";
import { Actor } from "./actor.ts";
import { AimedFaults } from "./aimed-faults.ts";
import { BrokerLives } from "./broker-lives.ts";
import { ClientProducer } from "./client-producer.ts";
import { SimClock } from "./clock.ts";
import { SimConsumer } from "./consumer.ts";
import { createTopic, type NewTopic } from "./create-topic.ts";
import { SimDisk } from "./disk.ts";
import { type FaultCells, faultKinds } from "./fault-matrix.ts";
import { judgeGroups, tellEnds } from "./group-ends.ts";
import { GroupHistory } from "./group-history.ts";
import { GroupKeeper } from "./group-keeper.ts";
import { History } from "./history.ts";
import { insist } from "./insist.ts";
import { SimNetwork } from "./network.ts";
import { LedgerWriter } from "./ledger-writer.ts";
import { Onlooker } from "./onlooker.ts";
import { Overseer } from "./overseer.ts";
import { sparse } from "./pace.ts";
import { SimProducer } from "./producer.ts";
import { SimRandom } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { loggerInto } from "./silence.ts";
import { startGroup } from "./start-group.ts";
import { finishTransformers, startTransactions, type Transactions } from "./start-transactions.ts";
import { TableHistory } from "./table-history.ts";
import { TableReader } from "./table-reader.ts";
import { TableWriter } from "./table-writer.ts";
import { TopicKeeper } from "./topic-keeper.ts";
import { Trace } from "./trace.ts";
import { TransactionalId } from "./transactional-id.ts";
import type { Place } from "./transactional-producer.ts";
import { Traffic } from "./traffic.ts";
import { Trimmer } from "./trimmer.ts";
import type { Visitor } from "./visitor.ts";

export interface SparseReport {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly traceHash: string;
  readonly trace: readonly string[];
  readonly counts: {
    readonly simulatedMs: number;
    readonly events: number;
    /** Of clients: as the checker was told them, and answers that a visitor judged. */
    readonly operations: number;
    readonly requests: number;
    readonly faults: number;
    readonly starts: number;
    readonly acked: number;
    readonly read: number;
    readonly processed: number;
    readonly commits: number;
    readonly transactions: number;
    /** Records of compacted topics, and how many of them were left at the end. */
    readonly tableRecords: number;
    readonly tableLeft: number;
  };
  readonly cells: FaultCells;
}

/** One rule that the broker is made to break, for the judgement to notice. */
export type SparseVariant = "offsets expire under live data";

const port = 9092;
const hourMs = 3_600_000;
/** For whose sake those who rest between two transactions begin one. */
const transactionApis = new Set(
  [InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn].map(
    ({ key }) => key as number,
  ),
);
/** For how long the broker, or a connection, can be away while a transaction is open. */
const outageMsMax = 300_000;
/** Mean time from one fault to the aim of the next. */
const gapMs = 17_000;
/** How long the broker is away after it died; the last is longer than a session. */
const downtimesMs = [10, 500, 3_000, 3_000, 10_000, 60_000];
/** Of the producers that write one batch into each partition before all else; the others count from 0. */
const firstNumber = 100;
const tombstonesMs = 600_000;
/** Of the topics beside those of the story. */
const trimmed: NewTopic = {
  name: "trimmed",
  partitions: 1,
  configs: [{ name: "retention.bytes", value: "-1" }],
};
const table: NewTopic = {
  name: "table",
  partitions: 1,
  configs: [
    { name: "cleanup.policy", value: "compact" },
    { name: "min.cleanable.dirty.ratio", value: "0.1" },
    { name: "delete.retention.ms", value: String(tombstonesMs) },
  ],
};
/** As the table, and written in transactions. */
const ledger: NewTopic = { ...table, name: "ledger" };
/** Into which what others read is transformed. */
const output: NewTopic = { name: "output", partitions: 2 };
/** The group that does so. */
const transforming = "group1";
const outputs: readonly Place[] = [0, 1].map((partition) => ({ topic: output.name, partition }));

export class SparseWorld {
  readonly #seed: number;
  readonly #random: SimRandom;
  readonly #scheduler: Scheduler;
  readonly #disk: SimDisk;
  readonly #network: SimNetwork;
  readonly #traffic: Traffic;
  readonly #trace = new Trace();
  readonly #history: History;
  readonly #groups: GroupHistory[] = [];
  readonly #table: TableHistory;
  readonly #ledger: TableHistory;
  readonly #otherIds: TransactionalId[] = [];
  #ledgerWriter: LedgerWriter | null = null;
  #ledgerDone: Promise<void> = Promise.resolve();
  #transactions: Transactions | null = null;
  readonly #clock: SimClock;
  readonly #lives: BrokerLives;
  readonly #faults: AimedFaults;
  readonly #visitors: Visitor[] = [];
  #isOver = false;
  #tableLeft = 0;

  constructor(seed: number, variant: SparseVariant | null = null) {
    this.#seed = seed;
    this.#random = new SimRandom(seed).fork("sparse");
    this.#scheduler = new Scheduler(this.#random);
    this.#clock = new SimClock(this.#scheduler);
    this.#table = new TableHistory((sentence) => void this.#history.violations.push(sentence));
    this.#ledger = new TableHistory((sentence) => void this.#history.violations.push(sentence));
    const random = this.#random.fork("disk");
    this.#disk = new SimDisk({
      scheduler: this.#scheduler,
      random,
      blockBytes: random.pick([512, 4096]),
      // What changes nothing and is asked thousands of times needs no moment of its own at which the power may fail.
      latencyMs: (operation) =>
        operation === "open" || operation === "size" ? 0 : 0.01 + random.fraction() * 0.99,
    });
    this.#network = new SimNetwork(this.#scheduler, this.#random);
    this.#traffic = new Traffic(this.#network);
    const draw = this.#random.fork("settings");
    const retentionBytes = draw.pick(["-1", "-1", "40000"]);
    this.#history = new History((topic) => {
      if (topic === table.name || topic === ledger.name) return "compact";
      return retentionBytes === "-1" && topic !== trimmed.name ? "none" : "delete";
    }, sparse.transactionMs + outageMsMax);
    this.#lives = new BrokerLives({
      scheduler: this.#scheduler,
      random: this.#random,
      disk: this.#disk,
      network: this.#network,
      trace: this.#trace,
      port,
      // Small, so that rolls, flushes, merges and evictions happen all the time.
      bounds: {
        walFileBytes: draw.pick([64, 256, 1024]) * 1024,
        unflushedBytesMax: draw.pick([64, 256, 1024]) * 1024,
        tailBytes: draw.pick([16, 64, 512]) * 1024,
        cacheBytes: draw.pick([64, 1024]) * 1024,
        flushAgeMs: draw.pick([5_000, 30_000, 120_000]),
        markersAtOnce: draw.pick([1, 2, 1_000]),
      },
      settings: new Map([
        ["auto.create.topics.enable", "false"],
        ["holdfast.disk.floor.bytes", "0"],
        ["holdfast.disk.reserve.bytes", "0"],
        ["log.retention.check.interval.ms", "60000"],
        ["log.segment.delete.delay.ms", "30000"],
        ["log.cleaner.backoff.ms", draw.pick(["5000", "30000"])],
        ["log.retention.bytes", retentionBytes],
        ["offsets.topic.num.partitions", "2"],
        ["transaction.state.log.num.partitions", "2"],
        ["offsets.retention.check.interval.ms", "30000"],
        ["offsets.retention.minutes", "1"],
        ["offsets.retention.hold", String(variant !== "offsets expire under live data")],
        ["group.initial.rebalance.delay.ms", draw.pick(["0", "3000"])],
        ["group.consumer.session.timeout.ms", String(sparse.sessionMs)],
      ]),
    });
    this.#faults = new AimedFaults({
      clock: this.#clock,
      random: this.#random.fork("faults"),
      traffic: this.#traffic,
      disk: this.#disk,
      lives: this.#lives,
      trace: this.#trace,
      sleepMs: sparse.sessionMs * 3,
    });
    this.#faults.onWanted = (apiKey) => {
      for (const visitor of this.#visitors) visitor.wish(apiKey);
      if (transactionApis.has(apiKey)) this.#wakeAll();
    };
  }

  async run(): Promise<SparseReport> {
    await this.#scheduler.runUntil(this.#story());
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
        requests: this.#traffic.requests,
        faults: this.#faults.matrix.count,
        starts: this.#lives.starts,
        acked: this.#history.acked + this.#table.acked + this.#ledger.acked,
        read: this.#history.read,
        processed: sum(this.#groups, ({ processedCount }) => processedCount),
        commits: sum(this.#groups, ({ commits }) => commits),
        transactions:
          sum(this.#transactions?.actors ?? [], ({ transactions }) => transactions) +
          (this.#ledgerWriter?.transactions ?? 0),
        tableRecords: this.#table.acked + this.#ledger.acked,
        tableLeft: this.#tableLeft,
      },
      cells: this.#faults.matrix.cells,
    };
  }

  async #story(): Promise<void> {
    const draw = this.#random.fork("story");
    await this.#lives.boot();
    const plain = Array.from({ length: 2 }, (_, index) => ({
      name: `topic${index}`,
      partitions: draw.between(1, 2),
    }));
    const topics = [...plain, trimmed, table, ledger, output];
    for (const topic of topics) await createTopic(this.#actor(`create-${topic.name}`), topic);
    const places = [...plain, trimmed].flatMap(({ name, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => ({ topic: name, partition })),
    );
    // What a group commits is held while there are records.
    const firsts = places.map((place, at) => {
      const actor = this.#actor(`first-${place.topic}-${place.partition}`);
      return new SimProducer(actor, { number: firstNumber + at, ...place }).writeOnce();
    });
    await Promise.all(firsts);
    const isOver = (): boolean => this.#isOver;
    const producers = [draw.pick(places), draw.pick(places), { topic: trimmed.name, partition: 0 }].map(
      (place, number) => {
        const actor = this.#actor(`producer-${number}`);
        if (number !== 1) return new SimProducer(actor, { number, ...place }).run(isOver);
        return new ClientProducer(actor, this.#clientPorts(actor), { number, ...place, port }).run(isOver);
      },
    );
    const followed = draw.pick(places);
    const consumer = new SimConsumer(this.#actor("consumer"), followed.topic, followed.partition).run(isOver);
    const transactions = this.#startTransactions(places);
    const written = Promise.all([...producers, transactions.written]);
    const transformed = finishTransformers(written, transactions, this.#actor("ends"));
    const groups = [draw.pick([0, 0.5]), draw.pick([0.5, 1])].map((consumerShare, at) => {
      const topic = draw.pick([...plain, trimmed]);
      const group = { name: `group${at}`, topic, history: this.#groupHistory(topic !== trimmed) };
      return { ...group, done: this.#startGroup(draw, { ...group, consumerShare, written }) };
    });
    const writer = new TableWriter(this.#actor("table-writer"), table.name, this.#table).run(isOver);
    const readers = [0, tombstonesMs * 0.4].flatMap((napMs) =>
      [table, ledger].map(({ name }) =>
        this.#tableReader(name, `${name}-reader-${napMs}`, napMs).run(isOver),
      ),
    );
    const visitors = this.#startVisitors(
      topics,
      groups.map(({ name }) => name),
    );
    const supervisor = this.#supervise(draw.fork("supervisor"));
    await this.#trouble(draw.fork("trouble"));
    const clients = [
      ...producers,
      consumer,
      writer,
      ...readers,
      ...visitors,
      ...groups.map(({ done }) => done),
      transactions.done,
      transformed,
      this.#ledgerDone,
    ];
    await this.#peace(Promise.race([Promise.all(clients), supervisor]));
    for (const { topic, partition } of [...places, ...outputs]) {
      const judge = new SimConsumer(this.#actor(`judge-${topic}-${partition}`), topic, partition);
      const final = await insist(this.#clock, () => judge.readAll());
      this.#history.judge(topic, partition, final);
      judgeGroups(
        { topic, partition, offsets: final.keys() },
        { groups, transactions, history: this.#history, nowMs: this.#scheduler.nowMs },
      );
    }
    for (const { name } of [table, ledger]) {
      const last = this.#tableReader(name, `${name}-judge`);
      this.#tableLeft += await insist(this.#clock, () => last.readAll());
    }
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
      pace: sparse,
      wanted: () => this.#faults.wanted,
    });
  }

  #clientPorts({ clock, random }: Actor): ClientPorts {
    const log = loggerInto((line) => this.#trace.record(line));
    return { clock, random, dialer: this.#network, log, software: { name: "simulation", version: "1" } };
  }

  #groupHistory(isHeld: boolean): GroupHistory {
    const history = new GroupHistory(
      () => this.#scheduler.nowMs,
      (sentence) => void this.#history.violations.push(sentence),
      isHeld,
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

  #idFor(name: string): TransactionalId {
    const id = new TransactionalId(name);
    this.#otherIds.push(id);
    return id;
  }

  #tableReader(topic: string, name: string, napMs = 0): TableReader {
    const history = topic === table.name ? this.#table : this.#ledger;
    const options = { topic, history, awayMaxMs: tombstonesMs / 2, napMs };
    return new TableReader(this.#actor(name), options);
  }

  #startTransactions(places: readonly Place[]): Transactions {
    const isOver = (): boolean => this.#isOver;
    this.#transactions = startTransactions(this.#random.fork("transactions"), {
      history: this.#history,
      places,
      targets: outputs,
      writers: 2,
      transformers: 2,
      mayExpire: (topic) => topic === trimmed.name,
      actor: (name) => this.#actor(name),
      isOver,
    });
    this.#history.takesTransactions(ledger.name);
    this.#ledgerWriter = new LedgerWriter(this.#actor("ledger-writer"), {
      id: this.#idFor("ledger"),
      protocol: "new",
      topic: ledger.name,
      history: this.#ledger,
    });
    this.#ledgerDone = this.#ledgerWriter.run(isOver);
    return this.#transactions;
  }

  #wakeAll(): void {
    for (const each of this.#transactions?.actors ?? []) each.wake();
    this.#ledgerWriter?.wake();
  }

  #startVisitors(topics: readonly NewTopic[], groups: readonly string[]): readonly Promise<void>[] {
    this.#visitors.push(
      new TopicKeeper(this.#actor("topic-keeper"), "passing"),
      new GroupKeeper(this.#actor("group-keeper"), "kept", topics[0] as NewTopic),
      new Trimmer(this.#actor("trimmer"), trimmed.name),
      new Onlooker(this.#actor("onlooker"), topics, groups),
      new Overseer(this.#actor("overseer"), {
        topics: topics.map(({ name }) => name),
        ids: [...(this.#transactions?.ids ?? []), ...this.#otherIds],
        openMsMax: this.#history.audit.openMsMax,
      }),
    );
    return this.#visitors.map((visitor) => visitor.run(() => this.#isOver));
  }

  // ── The broker's lives, and the two phases ──

  /** Starts the broker again whenever it died. */
  async #supervise(draw: SimRandom): Promise<never> {
    for (;;) {
      if (this.#lives.isAlive) await this.#lives.whenDead();
      await sleep(this.#clock, draw.pick(downtimesMs) * draw.fraction());
      const booting = this.#lives.boot();
      // Now and then the next trouble comes before the start is over.
      if (!this.#isOver && draw.chance(0.2)) {
        await Promise.race([booting, sleep(this.#clock, draw.fraction() * 20)]);
        this.#faults.crash(draw.pick(["kill", "power cut"]));
      }
      await booting;
    }
  }

  async #trouble(draw: SimRandom): Promise<void> {
    const endMs = this.#scheduler.nowMs + hourMs;
    while (this.#scheduler.nowMs < endMs) {
      await sleep(this.#clock, draw.fraction() * 2 * gapMs);
      await this.#faults.strike(draw.pick(faultKinds), draw.pick(clientHandlers).api.key);
    }
  }

  async #peace(clients: Promise<unknown>): Promise<void> {
    this.#disk.fault = null;
    this.#isOver = true;
    this.#wakeAll();
    const late = sleep(this.#clock, sparse.peaceMs).then(() => "late");
    if ((await Promise.race([clients, late])) === "late")
      this.#history.violations.push("in peace, some client did not come to its end");
  }
}

function sum<T>(parts: readonly T[], of: (part: T) => number): number {
  return parts.reduce((total, part) => total + of(part), 0);
}
