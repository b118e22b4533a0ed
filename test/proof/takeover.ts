/**
 * Take-overs, moves, flushes and garbage collection of two to four small brokers over one faulty bucket, in
 * random schedules: brokers are suspected rightly and wrongly, by several at once; they are stopped at any step
 * and go on later; the journal reaches them late. The rooms are the real ones (takeover-broker.ts). Every
 * schedule ends with a broker that takes over everything, and reads it, and another one that does it again
 * after the garbage of the first: what was acknowledged or shown must be there (F1 to F10).
 *
 *   node test/proof/takeover.ts [SCHEDULES] [FIRST SEED]
 */
import { type BrokerEpoch, nodeId, partitionIndex, type TopicId } from "../../src/base/ids.ts";
import { HoldfastError } from "../../src/base/errors.ts";
import { lanesDefault } from "../../src/log/object-wal.ts";
import { drawWeather, fairWeather, SimBucket } from "../../src/sim/bucket.ts";
import { SimRandom } from "../../src/sim/random.ts";
import { Scheduler } from "../../src/sim/scheduler.ts";
import { Trace } from "../../src/sim/trace.ts";
import { aTopicId } from "./journal-world.ts";
import { type Attempt, SmallBroker } from "./takeover-broker.ts";
import { TakeOverHistory, Violation } from "./takeover-history.ts";

export interface TakeOverCounts {
  schedules: number;
  requests: number;
  faulted: number;
  lives: number;
  pauses: number;
  suspicions: number;
  takeOvers: number;
  moves: number;
  flushes: number;
  acknowledged: number;
  shown: number;
  ends: number;
}

const noCounts = (): TakeOverCounts => ({
  schedules: 0,
  requests: 0,
  faulted: 0,
  lives: 0,
  pauses: 0,
  suspicions: 0,
  takeOvers: 0,
  moves: 0,
  flushes: 0,
  acknowledged: 0,
  shown: 0,
  ends: 0,
});

export async function run(options: {
  readonly schedules: number;
  readonly firstSeed?: number;
}): Promise<TakeOverCounts> {
  const { schedules, firstSeed = 1 } = options;
  const counts = noCounts();
  for (let seed = firstSeed; seed < firstSeed + schedules; seed++) {
    const schedule = new Schedule(seed, counts);
    try {
      await schedule.run();
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new Violation(`seed ${seed}: ${why}`, {
        cause: { cause, trace: schedule.trace.recent().slice(-80) },
      });
    }
    counts.schedules++;
  }
  return counts;
}

/** One producer of one partition: it sends a record until it is acknowledged, and then the next. */
interface Producer {
  readonly partition: number;
  readonly id: number;
  sequence: number;
  pending: Attempt | null;
}

/** Everything that can be in the way of a broker in peace passes within so long. */
const peaceMsMax = 400_000;
const livesMax = 9;
const topicName = "topic-1";
/** How an end by itself is told by a broker that was replaced. */
const expectedEnds = /MovedError|WalClosedError|JournalClosedError|ReplacedError|FlushVoidError|FencedError/;

class Schedule {
  readonly trace = new Trace();
  readonly #counts: TakeOverCounts;
  readonly #random: SimRandom;
  readonly #scheduler: Scheduler;
  readonly #bucket: SimBucket;
  readonly #history = new TakeOverHistory();
  readonly #topic: TopicId = aTopicId(1);
  readonly #partitions: number;
  /** Whether peers notice at once who is stopped. */
  readonly #areStoppedKnown: boolean;
  /** Whether brokers are stopped while a record of theirs is on its way, and asked first when they go on. */
  readonly #areStoppedAtWork: boolean;
  readonly #uploads: SimRandom;
  /** What a broker draws of; in most schedules uploads are as fast as everything else. */
  readonly #uploadsMs: readonly number[];
  readonly #producers: Producer[] = [];
  #brokers: SmallBroker[] = [];
  readonly #suspected = new Set<BrokerEpoch>();
  #lives = 0;
  #started = 0;
  #starting = 0;
  #violation: Error | null = null;
  #isPeace = false;

  constructor(seed: number, counts: TakeOverCounts) {
    this.#counts = counts;
    this.#random = new SimRandom(seed);
    this.#scheduler = new Scheduler(this.#random);
    this.#bucket = new SimBucket(this.#scheduler, this.#random);
    this.#partitions = this.#random.fork("partitions").pick([1, 1, 2, 3]);
    this.#uploads = this.#random.fork("uploads");
    this.#uploadsMs = this.#uploads.chance(0.2) ? [0, 1_000, 5_000] : [0];
    this.#areStoppedKnown = this.#random.fork("answers").chance(0.4);
    this.#areStoppedAtWork = this.#random.fork("work").chance(0.15);
  }

  async run(): Promise<void> {
    await this.#scheduler.runUntil(this.#story());
    this.#counts.requests += this.#bucket.counts.requests;
    this.#counts.faulted += this.#bucket.counts.faulted;
    this.#counts.acknowledged += this.#history.acknowledged;
    this.#counts.shown += this.#history.shown;
    this.#counts.ends += this.#history.ends;
  }

  async #story(): Promise<void> {
    const draw = this.#random.fork("story");
    const [first] = await Promise.all([this.#start(draw), this.#start(draw)]);
    if (first === null) throw new Violation("the first broker did not start");
    const owner = first.epoch;
    await first.journal.append({
      kind: "topic",
      id: this.#topic,
      name: topicName,
      partitionCount: this.#partitions,
      assignment: { owner, exceptions: [] },
      configs: [],
    });
    for (let at = 0; at < this.#partitions + draw.below(2); at++) {
      this.#producers.push({ partition: at % this.#partitions, id: 100 + at, sequence: 0, pending: null });
    }
    this.#bucket.weather = drawWeather(this.#random.fork("weather"), draw.pick([0, 0.15, 0.5]));
    // Planned moves need a while in which nobody comes and goes.
    const isCalm = draw.chance(0.4);
    const steps = draw.between(30, 250);
    const gapMs = isCalm ? 150 : draw.pick([2, 20, 150]);
    const weights = this.#drawWeights(draw, isCalm);
    for (let step = 0; step < steps; step++) {
      await this.#sleep(draw.fraction() * draw.pick([0, gapMs, gapMs * 4]));
      this.#rethrow();
      this.#step(draw, weights);
    }
    await this.#peace(draw);
  }

  // ── Steps ──

  /** Some schedules are about this, others about that. */
  #drawWeights(draw: SimRandom, isCalm: boolean): readonly (readonly [() => void, number])[] {
    const turmoil = isCalm ? 0.1 : 1;
    const often = (most: number): number => draw.pick([0.2, 1, 3]) * most;
    return [
      [() => this.#produce(draw), 50],
      [() => this.#read(draw), often(6)],
      [() => this.#askEnd(draw), often(6)],
      [() => this.#flush(draw), often(4)],
      [() => this.#collect(draw), often(3)],
      [() => this.#suspect(draw), often(2) * turmoil],
      [() => this.#prefer(draw), often(4) / turmoil ** 0.5],
      [() => this.#tell(draw), often(10)],
      [() => this.#pause(draw), often(3) * turmoil],
      [() => this.#resume(draw), often(3)],
      [() => this.#kill(draw), often(0.7) * turmoil],
      [() => void this.#start(draw), 3],
      [() => this.#bucket.storm(draw.fraction() * 3_000, draw.pick([0.3, 1])), often(0.3)],
    ];
  }

  #step(draw: SimRandom, weights: readonly (readonly [() => void, number])[]): void {
    let at = draw.fraction() * weights.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [run, weight] of weights) {
      at -= weight;
      if (at >= 0) continue;
      run();
      return;
    }
  }

  #any(draw: SimRandom): SmallBroker | undefined {
    return this.#brokers.length === 0 ? undefined : draw.pick(this.#brokers);
  }

  /** More often than not somebody who serves it, or believes to. */
  #serving(draw: SimRandom, partition: number): SmallBroker | undefined {
    const serving = this.#brokers.filter(
      (broker) => broker.partition(this.#topic, partition)?.isServing === true,
    );
    return serving.length > 0 && draw.chance(0.9) ? draw.pick(serving) : this.#any(draw);
  }

  async #start(draw: SimRandom): Promise<SmallBroker | null> {
    if (this.#brokers.length + this.#starting >= 4 || this.#lives >= livesMax) return null;
    const number = ++this.#started;
    this.#lives++;
    const lanes = draw.pick([1, 2, 3, lanesDefault]);
    this.#starting++;
    const starting = SmallBroker.start({
      number,
      scheduler: this.#scheduler,
      random: this.#random,
      trace: this.trace,
      bucket: this.#bucket,
      lanes,
      unreleasedSlotsMax: draw.pick([lanes, 12, 4_096]),
      chapterSlots: 4,
      moveHaste: draw.pick([1, 20, 60]),
      uploadMs: this.#uploads.pick(this.#uploadsMs),
      flushAgeMs: draw.pick([300, 3_000, 1e9]),
      answering: () => this.#answering(),
      onEnd: (cause) => this.#ended(number, cause),
    });
    const broker = await starting.catch((cause: unknown) => this.#note(cause));
    this.#starting--;
    if (broker === null) return null;
    this.#counts.lives++;
    this.trace.record(`${this.#now} broker ${number} is epoch ${broker.epoch}`);
    // Each command once: where its author applies it.
    broker.journal.onApplied((event) => {
      if (event.kind !== "slot" || event.author !== broker.epoch) return;
      for (const { command, outcome } of event.commands) {
        if (outcome.kind !== "applied") continue;
        if (command.kind === "recover") this.#counts.takeOvers++;
        if (command.kind === "move") this.#counts.moves++;
        if (command.kind === "flush") this.#counts.flushes++;
      }
    });
    if (broker.isAlive) this.#brokers.push(broker);
    return broker;
  }

  #answering(): ReadonlySet<BrokerEpoch> {
    // Nothing is given away by who judges.
    if (this.#isPeace) return new Set();
    const asked = this.#areStoppedKnown
      ? this.#brokers.filter(({ process }) => !process.isPaused)
      : this.#brokers;
    return new Set(asked.map(({ epoch }) => epoch));
  }

  #ended(number: number, cause: Error): void {
    this.trace.record(`${this.#now} broker ${number} ends: ${cause.name} ${cause.message}`);
    const broker = this.#brokers.find(({ process }) => process.name === `broker ${number}`);
    this.#brokers = this.#brokers.filter((each) => each !== broker);
    // One that was suspected while it started has not told its epoch yet.
    const isSuspected = broker === undefined || this.#suspected.has(broker.epoch);
    if (isSuspected && expectedEnds.test(namesOf(cause))) return;
    this.#violation ??= new Violation(`broker ${number} ended: ${cause.message}`, { cause });
  }

  #produce(draw: SimRandom, to?: SmallBroker): void {
    const producer = draw.pick(this.#producers);
    const { partition, id, sequence } = producer;
    const broker = to ?? this.#serving(draw, partition);
    if (broker === undefined || broker.process.isPaused) return;
    producer.pending ??= { partition, producer: id, sequence, value: `${id}/${sequence}` };
    void this.#send(producer, producer.pending, broker).catch((cause: unknown) => this.#note(cause));
  }

  async #send(producer: Producer, attempt: Attempt, broker: SmallBroker): Promise<void> {
    const outcome = await broker.produce(this.#topic, attempt).catch(notAnswered);
    if (outcome === null) return;
    const { partition, sequence, value } = attempt;
    const by = broker.process.name;
    if (outcome.kind === "appended" || outcome.kind === "duplicate") {
      this.#history.acknowledge(partition, outcome.baseOffset, value, by);
      if (producer.pending !== attempt) return;
      producer.pending = null;
      producer.sequence = sequence + 1;
    } else if (producer.pending === attempt) {
      throw new Violation(`${by} refuses ${value} of partition ${partition}: ${outcome.kind}`);
    }
  }

  #read(draw: SimRandom): void {
    const partition = draw.below(this.#partitions);
    const broker = this.#serving(draw, partition);
    if (broker === undefined || broker.process.isPaused) return;
    const from = draw.below(this.#history.endKnown(partition) + 1);
    void broker.read(this.#topic, partition, from).then(
      (found) =>
        this.#try(() => {
          for (const { offset, value } of found?.records ?? []) {
            this.#history.show(partition, offset, value, broker.process.name);
          }
        }),
      (cause: unknown) => this.#note(cause),
    );
  }

  #askEnd(draw: SimRandom, asked?: SmallBroker): void {
    const partition = draw.below(this.#partitions);
    const broker = asked ?? this.#serving(draw, partition);
    if (broker === undefined || broker.process.isPaused) return;
    const atLeast = this.#history.endKnown(partition);
    void broker.endOffset(this.#topic, partition, draw.pick([0, 0, 50, 500])).then(
      (end) =>
        this.#try(() => {
          if (end !== null) this.#history.answerEnd(partition, end, atLeast, broker.process.name);
        }),
      (cause: unknown) => this.#note(cause),
    );
  }

  #flush(draw: SimRandom): void {
    const broker = this.#any(draw);
    if (broker === undefined || broker.process.isPaused) return;
    void broker.flush();
  }

  #collect(draw: SimRandom): void {
    const broker = this.#any(draw);
    if (broker === undefined || broker.process.isPaused) return;
    broker.collectGarbage().catch((cause: unknown) => this.#note(cause));
  }

  #suspect(draw: SimRandom): void {
    const victim = this.#any(draw);
    if (victim === undefined) return;
    // More often a stopped one, and now and then by several at once.
    const { epoch } = draw.chance(0.5)
      ? victim
      : (this.#brokers.find(({ process }) => process.isPaused) ?? victim);
    for (const broker of this.#brokers) {
      if (broker.epoch === epoch || broker.process.isPaused || draw.chance(0.4)) continue;
      this.#begin(broker, epoch);
    }
  }

  /** Also whom nobody sees any more: it was killed. */
  #begin(broker: SmallBroker, epoch: BrokerEpoch): void {
    this.#counts.suspicions++;
    this.#suspected.add(epoch);
    this.trace.record(`${this.#now} ${broker.process.name} suspects ${epoch}`);
    broker.takeOver.begin(epoch);
  }

  #prefer(draw: SimRandom): void {
    const broker = this.#any(draw);
    const target = this.#any(draw);
    if (broker === undefined || target === undefined || broker.process.isPaused) return;
    const wanted = broker.journal.state.brokers.get(target.epoch)?.nodeId ?? nodeId(1);
    const partition = partitionIndex(draw.below(this.#partitions));
    broker.journal
      .append({ kind: "prefer", topicId: this.#topic, partition, nodeId: wanted })
      .catch((cause: unknown) => this.#note(cause));
  }

  /** Somebody says how far the journal is. */
  #tell(draw: SimRandom): void {
    const from = this.#any(draw);
    const to = this.#any(draw);
    if (from === undefined || to === undefined || to.process.isPaused) return;
    to.journal.notice(from.journal.state.nextSlot - 1);
  }

  #pause(draw: SimRandom): void {
    const broker = this.#any(draw);
    if (broker === undefined || broker.process.isPaused) return;
    this.#counts.pauses++;
    if (!this.#areStoppedAtWork) return broker.process.pause();
    this.#produce(draw, broker);
    const { latencyMs } = this.#bucket.weather;
    this.#scheduler.schedule(draw.fraction() * latencyMs * 2, () => broker.process.pause());
  }

  /** For good, or for a few steps of its program. */
  #resume(draw: SimRandom): void {
    const paused = this.#brokers.filter(({ process }) => process.isPaused);
    if (paused.length === 0) return;
    const { process } = draw.pick(paused);
    process.resume();
    // Somebody may have asked before it hears of anything.
    if (this.#areStoppedAtWork || draw.chance(0.4))
      this.#askEnd(
        draw,
        this.#brokers.find((broker) => broker.process === process),
      );
    if (draw.chance(0.3)) this.#scheduler.schedule(draw.fraction() * 30, () => process.pause());
  }

  #kill(draw: SimRandom): void {
    const broker = this.#any(draw);
    if (broker === undefined) return;
    this.trace.record(`${this.#now} ${broker.process.name} is killed`);
    broker.process.kill();
    this.#brokers = this.#brokers.filter((each) => each !== broker);
  }

  // ── The end ──

  async #peace(draw: SimRandom): Promise<void> {
    this.#isPeace = true;
    this.#bucket.weather = fairWeather;
    this.#bucket.storm(0, 0);
    if (draw.chance(0.5)) for (const { process } of this.#brokers) process.resume();
    for (let round = 0; round < 2; round++) {
      this.#lives = -Infinity;
      while (this.#brokers.length + this.#starting > 3) {
        this.#kill(draw);
        await this.#sleep(20);
      }
      const judge = await this.#start(draw);
      if (judge === null) throw new Violation("in peace a broker does not start");
      await this.#takeEverything(judge);
      for (const each of this.#brokers) if (each !== judge) each.process.resume();
      await this.#judge(judge);
      await judge.flush();
      await judge.collectGarbage();
      await this.#sleep(100);
      this.#rethrow();
      judge.process.kill();
      this.#brokers = this.#brokers.filter((each) => each !== judge);
    }
  }

  async #takeEverything(judge: SmallBroker): Promise<void> {
    const endMs = this.#scheduler.nowMs + peaceMsMax;
    const { journal, epoch } = judge;
    for (;;) {
      for (const broker of journal.state.brokers.values()) {
        if (broker.epoch !== epoch && broker.status !== "sealed") this.#begin(judge, broker.epoch);
      }
      await this.#sleep(200);
      this.#rethrow();
      const owned =
        journal.state.topics.get(this.#topic)?.partitions.every(({ owner }) => owner === epoch) ?? false;
      if (owned && judge.isSettled) break;
      if (!judge.isAlive || this.#scheduler.nowMs > endMs)
        throw new Violation("in peace a broker does not come to serve");
    }
    for (const { status } of journal.state.brokers.values())
      if (status === "sealed") this.#counts.takeOvers++;
  }

  async #judge(judge: SmallBroker): Promise<void> {
    for (let partition = 0; partition < this.#partitions; partition++) {
      const found = new Map<number, string>();
      let end = 0;
      for (let next = 0; ; ) {
        const read = await judge.read(this.#topic, partition, next);
        if (read === null) throw new Violation(`partition ${partition} cannot be read at ${next}`);
        ({ end } = read);
        for (const { offset, value } of read.records) found.set(offset, value);
        const last = read.records.at(-1);
        if (last === undefined || last.offset < next) break;
        next = last.offset + 1;
      }
      this.#history.judge(partition, found, end);
    }
  }

  // ── Plumbing ──

  get #now(): string {
    return this.#scheduler.nowMs.toFixed(1);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resume) => this.#scheduler.schedule(ms, resume));
  }

  #try(run: () => void): void {
    try {
      run();
    } catch (cause) {
      this.#note(cause);
    }
  }

  /** What a broker that was replaced, or a store that does not answer, may say; everything else is a fault of ours. */
  #note(cause: unknown): null {
    const isExpected =
      cause instanceof HoldfastError && (cause.retriable || expectedEnds.test(namesOf(cause)));
    if (!isExpected) this.#violation ??= cause as Error;
    return null;
  }

  #rethrow(): void {
    if (this.#violation !== null) throw this.#violation;
  }
}

const notAnswered = (cause: unknown): null => {
  if (cause instanceof HoldfastError && (cause.retriable || expectedEnds.test(namesOf(cause)))) return null;
  throw cause;
};

/** Of an error and of what caused it: "The journal closed" may hide an assertion. */
function namesOf(cause: Error): string {
  const inner = cause.cause instanceof Error ? cause.cause : null;
  if (inner !== null && !(inner instanceof HoldfastError)) return inner.name;
  return inner === null ? cause.name : namesOf(inner);
}

if (import.meta.main) {
  const [schedules = "100", first = "1"] = process.argv.slice(2);
  try {
    console.log(await run({ schedules: Number(schedules), firstSeed: Number(first) }));
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    console.log(`✗ ${error.message}`);
    const { cause, trace } = error.cause as { readonly cause: unknown; readonly trace: readonly string[] };
    if (process.env["TRACE"] !== undefined) console.log(trace.join("\n"), cause);
    process.exitCode = 1;
  }
}
