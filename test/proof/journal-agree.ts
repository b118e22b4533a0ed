/**
 * Several processes give commands to one journal in a bucket that applies late, twice, without answering,
 * and lists too little; processes pause for long, are killed and come back, fence and recover each other,
 * and truncate all the time. What the bucket first held under each slot's name is the truth: every process
 * must have applied exactly a prefix of it (F7), every command that was answered must be in it once with
 * that answer, a tail proof must not miss a slot, and snapshot and slots together must tell all of it (F8).
 */
import { sha256 } from "../../src/io/sha256.ts";
import { HoldfastError } from "../../src/base/errors.ts";
import { type ObjectStore, sleep } from "../../src/base/ports.ts";
import { Journal } from "../../src/metadata/journal.ts";
import type { CommandOutcome } from "../../src/metadata/outcomes.ts";
import { numberIn, snapshotPrefix } from "../../src/metadata/slot.ts";
import { SimObjectStore } from "../../src/sim/object-store.ts";
import { JournalClosedError } from "../../src/metadata/errors.ts";
import { Truth, Violation } from "./journal-truth.ts";
import { aBroker, aTopic, aWorld, type World } from "./journal-world.ts";
import { walPosition } from "../../src/base/ids.ts";

export interface AgreeOptions {
  readonly sample: boolean;
  readonly seed?: number;
  readonly seeds?: number;
  /** A deliberate mistake. */
  readonly variant?: StoreVariant;
}
export type StoreVariant = (store: ObjectStore) => ObjectStore;

/** The put's status code is believed. */
export const existsIsMine: StoreVariant = (store) => ({
  ...store,
  putIfAbsent: async (key, chunks, length) => {
    await store.putIfAbsent(key, chunks, length);
    return "created";
  },
});

/** Nobody looks at the cut markers. */
export const noCutCheck: StoreVariant = (store) => ({
  ...store,
  get: (key, range) => (key.startsWith("cut/") ? Promise.resolve(null) : store.get(key, range)),
  putIfAbsent: async (key, chunks, length) => {
    const outcome = await store.putIfAbsent(key, chunks, length);
    return key.startsWith("cut/") ? "created" : outcome;
  },
});

const processCount = 3;
const lifeMs = 15_000;
const chapterSlots = 3;

export async function run(
  options: AgreeOptions,
): Promise<{ readonly name: string; readonly counts: { readonly [name: string]: number } }> {
  const runs = options.seeds ?? (options.sample ? 8 : 1_000);
  const first = options.seed ?? 1;
  const counts: { [name: string]: number } = { runs: 0 };
  for (let seed = first; seed < first + runs; seed++) {
    const added = await new Run(seed, options.variant ?? ((store) => store)).run();
    counts["runs"]!++;
    for (const [name, count] of added) counts[name] = (counts[name] ?? 0) + count;
  }
  return { name: "processes agree on one journal in a faulty bucket", counts };
}

interface Answer {
  readonly topic: string;
  readonly outcome: CommandOutcome;
}

class Run {
  readonly #seed: number;
  readonly #world: World;
  readonly #bucket: SimObjectStore;
  readonly #variant: StoreVariant;
  readonly #truth: Truth;
  readonly #counts = new Map<string, number>();
  readonly #answers: Answer[] = [];
  readonly #producerBlocks = new Set<number>();
  #topics = 0;
  #stopping = false;
  #violation: Error | null = null;

  constructor(seed: number, variant: StoreVariant) {
    this.#seed = seed;
    this.#world = aWorld(seed);
    this.#variant = variant;
    const { env, random } = this.#world;
    const rates = random.fork("rates");
    const rate = (most: number) => rates.fraction() * most;
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
        lateMs: rates.pick([100, 2_000, 20_000]),
      },
    });
    this.#truth = new Truth(this.#bucket);
  }

  async run(): Promise<ReadonlyMap<string, number>> {
    const { scheduler } = this.#world;
    const lives = Array.from({ length: processCount }, (_, name) => this.#lives(name));
    // Something must be about to happen for virtual time to begin.
    scheduler.schedule(0, () => undefined);
    await scheduler.run({ untilMs: lifeMs, eventsMax: 200_000 });
    this.#stopping = true;
    this.#bucket.faults = { ...this.#bucket.faults, unanswered: 0, late: 0, refused: 0, shortList: 0 };
    await scheduler.runUntil(Promise.all(lives));
    if (this.#violation !== null) throw this.#violation;
    await scheduler.runUntil(this.#judge());
    return this.#counts;
  }

  #count(name: string, add = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + add);
  }

  async #lives(name: number): Promise<void> {
    while (!this.#stopping && this.#violation === null) {
      try {
        await this.#life(name);
      } catch (error) {
        // A process that was replaced while it was silent ends; whatever else stops a journal here is a fault of ours.
        const replaced = error instanceof JournalClosedError && error.cause === undefined;
        if (!replaced) {
          const because = error instanceof HoldfastError ? String(error) : (error as Error).stack;
          this.#violation = new Violation(`seed ${this.#seed}: ${because}`, { cause: error });
        }
        this.#count("replaced");
      }
    }
  }

  /** From start to kill. */
  async #life(name: number): Promise<void> {
    const { env, random } = this.#world;
    const connection = this.#bucket.connect();
    const slow: ObjectStore = {
      get: async (key, range) => (await this.#maybePause(), connection.get(key, range)),
      putIfAbsent: async (key, chunks, length) => (
        await this.#maybePause(), connection.putIfAbsent(key, chunks, length)
      ),
      list: async (prefix) => (await this.#maybePause(), connection.list(prefix)),
      delete: async (key) => (await this.#maybePause(), connection.delete(key)),
    };
    const store = this.#variant(slow);
    const journal = await Journal.open({
      store,
      env,
      sha256,
      walKind: "object",
      chapterSlots,
      snapshotBytesMin: 1_000,
    });
    journal.onApplied(() => this.#truth.compare(journal.state, this.#seed));
    this.#truth.compare(journal.state, this.#seed);
    await journal.register({ ...aBroker, software: `process ${name}` });
    this.#count("lives");
    if (random.chance(0.5)) journal.follow();
    const operations = random.between(3, 30);
    for (let count = 0; count < operations && !this.#stopping; count++) {
      await sleep(env.clock, random.fraction() * 400);
      await this.#operate(journal);
    }
    journal.stopFollowing();
    if (random.chance(0.5)) connection.kill();
    else await journal.close();
  }

  async #maybePause(): Promise<void> {
    const { env, random } = this.#world;
    if (!this.#stopping && random.chance(0.03)) await sleep(env.clock, random.fraction() * 4_000);
  }

  async #operate(journal: Journal): Promise<void> {
    const { random } = this.#world;
    const choice = random.below(10);
    if (choice < 5) {
      await Promise.all(Array.from({ length: random.between(1, 3) }, () => this.#addTopic(journal)));
    } else if (choice < 7) {
      const block = await journal.takeProducerIds();
      if (block === null) return;
      if (this.#producerBlocks.has(block.first)) throw new Violation(`block ${block.first} was given twice`);
      this.#producerBlocks.add(block.first);
      this.#count("producer blocks");
    } else if (choice < 9) {
      // Several ask, some of them while a proof is under way: each must hear of all that was decided before it asked.
      void journal.catchUp().catch(() => undefined);
      await sleep(this.#world.env.clock, random.fraction() * 60);
      const before = this.#truth.end();
      await journal.catchUp();
      if (journal.state.nextSlot < before) {
        throw new Violation(`a tail proof ended at ${journal.state.nextSlot}, the tail was ${before}`);
      }
      this.#count("tail proofs");
    } else await this.#takeOver(journal);
  }

  async #addTopic(journal: Journal): Promise<void> {
    const topic = aTopic(++this.#topics, journal.epoch as NonNullable<typeof journal.epoch>);
    const outcome = await journal.append(topic);
    this.#answers.push({ topic: topic.name, outcome });
    this.#count(outcome.kind === "applied" ? "applied" : `void: ${outcome.reason}`);
  }

  async #takeOver(journal: Journal): Promise<void> {
    const owner = journal.epoch as NonNullable<typeof journal.epoch>;
    const victims = [...journal.state.brokers.values()].filter(
      ({ epoch, status }) => epoch !== owner && status !== "sealed",
    );
    if (victims.length === 0) return;
    const { epoch } = this.#world.random.pick(victims);
    await journal.append({ kind: "fence", epoch });
    const recovered = await journal.append({
      kind: "recover",
      epoch,
      end: walPosition(5),
      assignment: { owner, exceptions: [] },
      holes: [],
      jumped: false,
      hash: new Uint8Array(0),
    });
    if (recovered.kind === "applied") this.#count("takeovers");
  }

  async #judge(): Promise<void> {
    const { env } = this.#world;
    const end = this.#truth.end();
    this.#count("slots", end);
    this.#count(
      "snapshots",
      [...this.#bucket.firstContents.keys()].filter((key) => numberIn(key, snapshotPrefix) !== null).length,
    );
    for (const [fault, count] of this.#bucket.counts) this.#count(`fault ${fault}`, count);
    const state = this.#truth.stateAt(end);
    const names = new Set([...state.topics.values()].map(({ name }) => name));
    for (const { topic, outcome } of this.#answers) {
      if ((outcome.kind === "applied") !== names.has(topic)) {
        throw new Violation(
          `seed ${this.#seed}: ${topic} was answered ${outcome.kind}, and the journal says otherwise`,
        );
      }
    }
    for (const name of names) {
      const times = this.#truth.timesApplied(name);
      if (times !== 1) throw new Violation(`seed ${this.#seed}: ${name} took effect ${times} times`);
    }
    const store = this.#bucket.connect();
    const late = await Journal.open({ store, env, sha256, walKind: "object" }).catch((cause: unknown) => {
      throw new Violation(`seed ${this.#seed}: ${String(cause)}`, { cause });
    });
    if (late.state.nextSlot !== end) {
      throw new Violation(`seed ${this.#seed}: a new process read ${late.state.nextSlot} of ${end} slots`);
    }
    this.#truth.compare(late.state, this.#seed);
    await late.close();
  }
}

if (import.meta.main) {
  const [seed = "1", seeds = "100"] = process.argv.slice(2);
  console.log(await run({ sample: false, seed: Number(seed), seeds: Number(seeds) }));
}
