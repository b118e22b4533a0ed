/**
 * Brokers that own partitions by the real journal, over a bucket that applies late, twice, without answering,
 * and lists too little: they append, flush, move, drain, end each other and recover, follow or lag behind,
 * and come back from pauses believing what was. Their WALs are lists in memory that are durable at once and
 * end when they are sealed, so that only the journal decides what counts. After each step, what the journal's
 * truth tells to be recoverable must be exactly what was acknowledged (F4), and no offset is given twice (F6);
 * every process applies a beginning of one history (F7), and what old views allow to be deleted is not
 * needed any more (F9).
 */
import { type BrokerEpoch, partitionKey, walPosition } from "../../src/base/ids.ts";
import { type ObjectStore, sleep } from "../../src/base/ports.ts";
import { sha256 } from "../../src/io/sha256.ts";
import { assignDead, assignTopic, planMoves } from "../../src/metadata/assignment.ts";
import { JournalClosedError } from "../../src/metadata/errors.ts";
import { Journal } from "../../src/metadata/journal.ts";
import type { CommandOutcome } from "../../src/metadata/outcomes.ts";
import type { BrokerState, ClusterState, TopicState } from "../../src/metadata/state.ts";
import { SimObjectStore } from "../../src/sim/object-store.ts";
import { Broker, continueLog, Durable } from "./journal-owner.ts";
import { Truth, Violation } from "./journal-truth.ts";
import { aBroker, aTopic, aTopicId, aWorld, type World } from "./journal-world.ts";

const processCount = 3;
const lifeMs = 20_000;
const chapterSlots = 4;
const topicsMax = 3;

export async function run(options: {
  readonly sample: boolean;
  readonly seed?: number;
  readonly seeds?: number;
}): Promise<{ readonly counts: { readonly [name: string]: number } }> {
  const seeds = options.seeds ?? (options.sample ? 12 : 2_000);
  const first = options.seed ?? 1;
  const counts: { [name: string]: number } = { runs: 0 };
  for (let seed = first; seed < first + seeds; seed++) {
    const added = await new Run(seed).run();
    counts["runs"]!++;
    for (const [name, count] of added) counts[name] = (counts[name] ?? 0) + count;
  }
  return { counts };
}

class Run {
  readonly #seed: number;
  readonly #world: World;
  readonly #bucket: SimObjectStore;
  readonly #truth: Truth;
  readonly #durable = new Durable();
  readonly #counts = new Map<string, number>();
  readonly #journals = new Set<Journal>();
  #checked = -1;
  #stopping = false;
  #violation: Error | null = null;

  constructor(seed: number) {
    this.#seed = seed;
    this.#world = aWorld(seed);
    const { env, random } = this.#world;
    const rates = random.fork("rates");
    const rate = (most: number) => rates.fraction() * most;
    const lateMs = rates.pick([100, 2_000, 10_000]);
    this.#bucket = new SimObjectStore({
      clock: env.clock,
      random,
      faults: {
        unanswered: rate(0.1),
        late: rate(0.1),
        twice: rate(0.2),
        refused: rate(0.1),
        lateDelete: rate(0.2),
        shortList: rate(0.3),
        lateMs,
      },
    });
    this.#truth = new Truth(this.#bucket);
  }

  async run(): Promise<ReadonlyMap<string, number>> {
    const { scheduler } = this.#world;
    const lives = Array.from({ length: processCount }, (_, name) => this.#lives(name));
    scheduler.schedule(0, () => undefined);
    await scheduler.run({ untilMs: lifeMs, eventsMax: 400_000 });
    this.#stopping = true;
    this.#bucket.faults = { ...this.#bucket.faults, unanswered: 0, late: 0, refused: 0, shortList: 0 };
    await scheduler.runUntil(Promise.all(lives));
    if (this.#violation !== null) throw this.#violation;
    this.#check();
    this.#count("slots", this.#truth.end());
    for (const log of this.#durable.acknowledged.values()) this.#count("records", log.length);
    return this.#counts;
  }

  #count(name: string, added = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + added);
  }

  #note(what: string, outcome: CommandOutcome): boolean {
    this.#count(`${what} ${outcome.kind === "void" ? outcome.reason : "applied"}`);
    return outcome.kind === "applied";
  }

  async #lives(name: number): Promise<void> {
    while (!this.#stopping && this.#violation === null) {
      try {
        await this.#life(name);
      } catch (error) {
        this.#failUnlessReplaced(error);
      }
    }
  }

  #failUnlessReplaced(error: unknown): void {
    const replaced = error instanceof JournalClosedError && error.cause === undefined;
    if (replaced) this.#count("replaced");
    else this.#fail(error);
  }

  #fail(error: unknown): void {
    this.#stopping = true;
    const why = error instanceof Violation ? error.message : ((error as Error).stack ?? String(error));
    this.#violation ??= new Violation(`seed ${this.#seed}: ${why}`, { cause: error });
  }

  async #life(name: number): Promise<void> {
    const { env, random } = this.#world;
    const connection = this.#bucket.connect();
    const store: ObjectStore = {
      get: async (key, range) => (await this.#maybePause(), connection.get(key, range)),
      putIfAbsent: async (key, chunks, length) => (
        await this.#maybePause(), connection.putIfAbsent(key, chunks, length)
      ),
      list: async (prefix) => (await this.#maybePause(), connection.list(prefix)),
      delete: async (key) => (await this.#maybePause(), connection.delete(key)),
    };
    const journal = await Journal.open({
      store,
      env,
      sha256,
      walKind: "object",
      chapterSlots,
      snapshotBytesMin: 1_000,
    });
    const epoch = await journal.register({ ...aBroker, name: `host-${name}:1` });
    const broker = new Broker(journal, epoch, this.#durable);
    // What goes wrong in a listener must not look like a fault of the journal.
    journal.onApplied(() => {
      try {
        this.#truth.compare(journal.state, this.#seed);
        broker.follow();
        this.#check();
      } catch (error) {
        this.#fail(error);
      }
    });
    broker.follow();
    this.#count("lives");
    this.#journals.add(journal);
    if (random.chance(0.6)) journal.follow();
    const steps = random.between(5, 50);
    const appending = this.#appends(broker);
    for (let step = 0; step < steps && broker.isLive && !this.#stopping; step++) {
      await sleep(env.clock, random.fraction() * 300);
      await this.#step(broker);
      if (random.chance(0.5)) this.#tellOthers(journal);
    }
    if (random.chance(0.3)) await this.#leave(broker);
    broker.isStopping = true;
    await appending;
    await Promise.all(broker.uploads);
    this.#journals.delete(journal);
    journal.stopFollowing();
    if (random.chance(0.6)) connection.kill();
    else await journal.close();
  }

  async #maybePause(): Promise<void> {
    const { env, random } = this.#world;
    if (!this.#stopping && random.chance(0.03)) await sleep(env.clock, random.fraction() * 5_000);
  }

  #tellOthers(journal: Journal): void {
    for (const other of this.#journals) if (other !== journal) other.notice(journal.state.nextSlot - 1);
  }

  /** Clients write all the time, also while commands are under way; a broker that is paused wakes here. */
  async #appends(broker: Broker): Promise<void> {
    const { env, random } = this.#world;
    while (!broker.isStopping && !this.#stopping) {
      await sleep(env.clock, random.chance(0.02) ? random.fraction() * 4_000 : random.fraction() * 150);
      try {
        broker.append((below) => random.below(below));
      } catch (error) {
        this.#fail(error);
      }
    }
  }

  async #step(broker: Broker): Promise<void> {
    const { random } = this.#world;
    const choice = random.below(20);
    if (choice < 1) await this.#addTopic(broker);
    else if (choice < 4) await this.#flush(broker);
    else if (choice < 10) await this.#moves(broker);
    else if (choice < 12) await Promise.all([this.#flush(broker), this.#moves(broker)]);
    else if (choice < 15)
      broker.uploads.push(this.#flush(broker).catch((error: unknown) => this.#failUnlessReplaced(error)));
    else if (choice < 16) await this.#prefer(broker);
    else if (choice < 17) this.#delete(broker.journal.state);
    else if (choice < 18) await broker.journal.catchUp();
    else await this.#takeOver(broker);
  }

  async #addTopic({ journal }: Broker): Promise<void> {
    const { random } = this.#world;
    const { state } = journal;
    if (state.topics.size >= topicsMax) return;
    const number = random.below(topicsMax);
    const assignment = assignTopic(state, live(state), aTopicId(number), 0, 2);
    this.#note("topic", await journal.append({ ...aTopic(number, assignment.owner), assignment }));
  }

  async #flush(broker: Broker): Promise<void> {
    const { env, random } = this.#world;
    const flush = broker.gather();
    if (flush === null) return;
    // Uploading takes its time, and what it wrote may be published when everything is different.
    await sleep(env.clock, random.chance(0.2) ? random.fraction() * 3_000 : random.fraction() * 50);
    const { rows, release } = flush;
    const command = { kind: "flush", rows, release: walPosition(release), below: 0 } as const;
    const isApplied = this.#note("flush", await broker.journal.append(command));
    if (isApplied && random.chance(0.5)) this.#delete(broker.journal.state);
  }

  async #moves(broker: Broker): Promise<void> {
    const { random } = this.#world;
    const { journal, epoch } = broker;
    const { state } = journal;
    const wished = random.chance(0.4) ? planMoves(state, live(state), epoch, 2) : [];
    for (const { topicId, partition, to } of wished) await this.#move(broker, topicId, partition, to);
    if (wished.length > 0) return;
    const [others, own] = [[...live(state)].filter((each) => each !== epoch), broker.owned()];
    if (others.length === 0 || own.length === 0) return;
    const { topic, partition } = random.pick(own);
    await this.#move(broker, topic.id, partition.index, random.pick(others));
  }

  async #move(broker: Broker, topicId: TopicState["id"], index: number, to: BrokerEpoch): Promise<void> {
    const move = broker.stop(topicId, index);
    if (move === null) return;
    const outcome = await broker.journal.append({ kind: "move", ...move, to });
    broker.resume(topicId, index);
    this.#note("move", outcome);
  }

  async #prefer({ journal }: Broker): Promise<void> {
    const { random } = this.#world;
    const brokers = [...journal.state.brokers.values()];
    const topics = [...journal.state.topics.values()];
    if (topics.length === 0) return;
    const topic = random.pick(topics);
    const { index: partition } = random.pick([...topic.partitions]);
    const { nodeId } = random.pick(brokers);
    this.#note("prefer", await journal.append({ kind: "prefer", topicId: topic.id, partition, nodeId }));
  }

  async #takeOver({ journal, epoch: own }: Broker): Promise<void> {
    const { env, random } = this.#world;
    const victims = [...journal.state.brokers.values()].filter(
      ({ epoch, status }) => epoch !== own && status !== "sealed",
    );
    if (victims.length === 0) return;
    const { epoch } = random.pick(victims);
    this.#note("fence", await journal.append({ kind: "fence", epoch }));
    if (journal.state.brokers.get(epoch)?.status !== "fenced") return;
    const { released } = journal.state.brokers.get(epoch) as BrokerState;
    // A sealer that is paused goes on with what it knew.
    await sleep(env.clock, random.fraction() * (random.chance(0.3) ? 5_000 : 300));
    const end = this.#durable.seal(epoch, released);
    await sleep(env.clock, random.fraction() * 500);
    const others = live(journal.state);
    if (others.size === 0) return;
    const outcome = await journal.append({
      kind: "recover",
      epoch,
      end: walPosition(end),
      assignment: assignDead(journal.state, epoch, others),
      holes: [],
      jumped: false,
      hash: new Uint8Array(0),
    });
    this.#note("recover", outcome);
  }

  /** As a clean stop: everything away, then one's own end. */
  async #leave(broker: Broker): Promise<void> {
    const { journal, epoch } = broker;
    if (!this.#note("drain", await journal.append({ kind: "drain", epoch }))) return;
    for (const { topicId, partition, to } of planMoves(journal.state, live(journal.state), epoch, 10)) {
      await this.#move(broker, topicId, partition, to);
    }
    this.#note("own end", await journal.append({ kind: "fence", epoch }));
  }

  /** What a view of any age says that nobody needs (P4). */
  #delete(view: ClusterState): void {
    for (const broker of view.brokers.values()) {
      const { records } = this.#durable.wal(broker.epoch);
      const below = Math.min(records.length, neededFrom(view, broker));
      for (let at = 0; at < below; at++) {
        if (records[at] !== null) this.#count("deleted records");
        records[at] = null;
      }
    }
  }

  /** Whether a recovery that began now would find exactly what was acknowledged. */
  #check(): void {
    const end = this.#truth.end();
    if (end === this.#checked) return;
    this.#checked = end;
    const state = this.#truth.stateAt(end);
    for (const topic of state.topics.values()) {
      for (const partition of topic.partitions) {
        const key = partitionKey(topic.id, partition.index);
        const log = this.#durable.load(key, partition);
        if (log === null) throw new Violation(`slot ${end}: a part of ${key} was deleted that is needed`);
        for (const record of this.#durable.wal(partition.owner).records) {
          if (record !== null) continueLog(log, key, record);
        }
        const promised = this.#durable.acknowledged.get(key) ?? [];
        if (log.join() !== promised.join()) {
          throw new Violation(
            `slot ${end}: of ${key} there is ${log.join()}, and acknowledged was ${promised.join()}`,
          );
        }
      }
    }
    this.#count("checks");
  }
}

const live = (state: ClusterState): Set<BrokerEpoch> =>
  new Set([...state.brokers.values()].filter(({ status }) => status === "live").map(({ epoch }) => epoch));

/** needed(e) of P4. */
function neededFrom(state: ClusterState, { epoch, status, released, end }: BrokerState): number {
  let needed: number = status === "sealed" ? (end ?? 0) : released;
  for (const { partitions } of state.topics.values()) {
    for (const { dependencies } of partitions) {
      for (const each of dependencies) if (each.epoch === epoch) needed = Math.min(needed, each.from);
    }
  }
  return needed;
}

if (import.meta.main) {
  const [seed = "1", seeds = "100"] = process.argv.slice(2);
  console.log(await run({ sample: false, seed: Number(seed), seeds: Number(seeds) }));
}
