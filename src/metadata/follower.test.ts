import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aBroker, aTopic, aWorld, type World } from "../../test/proof/journal-world.ts";
import type { ObjectStore } from "../base/ports.ts";
import { sleep } from "../base/ports.ts";
import { sha256 } from "../io/sha256.ts";
import { SimObjectStore } from "../sim/object-store.ts";
import { OutcomeUnknownError } from "../store/errors.ts";
import { type FencedError, JournalClosedError } from "./errors.ts";
import { lookDelayMsMax } from "./follower.ts";
import { Journal } from "./journal.ts";
import { slotKey } from "./slot.ts";
import { encodeSnapshot } from "./snapshot.ts";

const latencyMs = 30;

/** Brokers over one bucket that answers in up to 30 ms, and what they ask it. */
class Bench {
  readonly world: World = aWorld();
  readonly bucket = new SimObjectStore({
    clock: this.world.env.clock,
    random: this.world.random,
    latencyMs,
  });
  readonly calls: string[] = [];
  /** Nobody is answered. */
  isAway = false;

  readonly store: ObjectStore = this.#watched(this.bucket.connect());

  #watched(store: ObjectStore): ObjectStore {
    const ask = async <T>(what: string, call: () => Promise<T>): Promise<T> => {
      this.calls.push(what);
      if (!this.isAway) return call();
      await sleep(this.world.env.clock, latencyMs);
      throw new OutcomeUnknownError(`${what}: 503`);
    };
    return {
      get: (key) => ask(`get ${key}`, () => store.get(key)),
      putIfAbsent: (key, chunks, length) => ask(`put ${key}`, () => store.putIfAbsent(key, chunks, length)),
      list: (prefix) => ask(`list ${prefix}`, () => store.list(prefix)),
      delete: (key) => ask(`delete ${key}`, () => store.delete(key)),
    };
  }

  async broker(store: ObjectStore = this.bucket.connect()): Promise<Journal> {
    const { env } = this.world;
    const opening = Journal.open({ store, env, sha256, walKind: "object", chapterSlots: 4 });
    return this.done(
      opening.then(async (journal) => {
        await journal.register(aBroker);
        return journal;
      }),
    );
  }

  /** One that follows and whose calls are seen, and another one. */
  async pair(): Promise<readonly [follower: Journal, other: Journal]> {
    const follower = await this.broker(this.store);
    const other = await this.broker();
    follower.follow();
    return [follower, other];
  }

  async done<T>(promise: Promise<T>): Promise<T> {
    this.world.scheduler.schedule(0, () => undefined);
    return this.world.scheduler.runUntil(promise);
  }

  async pass(ms: number): Promise<void> {
    // What was just called has its promise jobs done before the clock is looked at.
    this.world.scheduler.schedule(0, () => undefined);
    await this.world.scheduler.run({ untilMs: this.world.scheduler.nowMs + ms });
  }

  async commands(journal: Journal, count: number): Promise<void> {
    for (let each = 0; each < count; each++) await this.done(journal.takeProducerIds());
  }
}

const epochOf = (journal: Journal) => journal.epoch as NonNullable<typeof journal.epoch>;
const stateOf = ({ state }: Journal): string => Buffer.from(encodeSnapshot(state)).toString("hex");

describe("a journal that is followed", () => {
  it("sees within seconds what others decide, and tells it as it tells its own commands", async () => {
    const bench = new Bench();
    const [follower, other] = await bench.pair();
    const slots: number[] = [];
    follower.onApplied((event) => void (event.kind === "slot" && slots.push(event.slot)));
    const first = follower.state.nextSlot;
    await bench.pass(60_000);
    await bench.commands(other, 3);
    await bench.pass(lookDelayMsMax + 10 * latencyMs);
    assert.equal(stateOf(follower), stateOf(other));
    assert.deepEqual(slots, [first, first + 1, first + 2, first + 3]);
  });

  it("sees at once what it is told of", async () => {
    const bench = new Bench();
    const [follower, other] = await bench.pair();
    await bench.pass(60_000);
    await bench.commands(other, 2);
    follower.notice(other.state.nextSlot - 1);
    // The slots and the one after them at once, then the markers.
    await bench.pass(2 * latencyMs);
    assert.equal(stateOf(follower), stateOf(other));
  });

  it("asks the store once in five seconds while nothing happens, and never lists", async () => {
    const bench = new Bench();
    await bench.pair();
    await bench.pass(60_000);
    bench.calls.length = 0;
    await bench.pass(600_000);
    assert.ok(bench.calls.length > 100 && bench.calls.length <= 600_000 / lookDelayMsMax);
    assert.ok(bench.calls.every((call) => call.startsWith("get ")));
  });

  it("looks once, and not for ever, for a slot that does not exist", async () => {
    const bench = new Bench();
    const [follower] = await bench.pair();
    await bench.pass(60_000);
    bench.calls.length = 0;
    follower.notice(1_000_000);
    await bench.pass(4_000);
    const looks = bench.calls.filter((call) => call === `get ${slotKey(follower.state.nextSlot)}`);
    assert.ok(looks.length > 0 && looks.length < 4 && bench.calls.length < 80, bench.calls.join());
  });

  it("finds a tail whose slots were truncated while it looked away, and tells that all is new", async () => {
    const bench = new Bench();
    const [follower, other] = await bench.pair();
    await bench.pass(60_000);
    const events: string[] = [];
    follower.onApplied(({ kind }) => events.push(kind));
    await bench.commands(other, 30);
    await bench.done(other.close());
    const lost = follower.state.nextSlot;
    assert.ok(lost < other.state.nextSlot && !bench.bucket.objects.has(slotKey(lost)));
    await bench.pass(13 * lookDelayMsMax);
    assert.equal(stateOf(follower), stateOf(other));
    assert.ok(events.includes("reloaded"));
  });

  it("goes on after the store was away, and the journal stays open", async () => {
    const bench = new Bench();
    const [follower, other] = await bench.pair();
    const failures: Error[] = [];
    follower.onFailure((cause) => failures.push(cause));
    bench.isAway = true;
    await bench.commands(other, 2);
    follower.notice(other.state.nextSlot - 1);
    await bench.pass(300_000);
    assert.ok(follower.state.nextSlot < other.state.nextSlot);
    bench.isAway = false;
    await bench.pass(2 * lookDelayMsMax);
    assert.equal(stateOf(follower), stateOf(other));
    assert.deepEqual(failures, []);
    assert.equal((await bench.done(follower.append(aTopic(1, epochOf(follower))))).kind, "applied");
  });

  it("can be closed while the store is away, and asks nothing afterwards", async () => {
    const bench = new Bench();
    const [follower] = await bench.pair();
    await bench.pass(1_000);
    bench.isAway = true;
    follower.notice(1_000);
    const pending = follower.catchUp();
    pending.catch(() => undefined);
    await bench.pass(20_000);
    await bench.done(follower.close());
    await assert.rejects(pending, JournalClosedError);
    bench.calls.length = 0;
    await bench.pass(100_000);
    assert.deepEqual(bench.calls, []);
  });
});

describe("a tail proof", () => {
  it("serves all who asked before it began, and none who asked after", async () => {
    const bench = new Bench();
    const journal = await bench.broker(bench.store);
    bench.calls.length = 0;
    const early = Array.from({ length: 100 }, () => journal.catchUp());
    await Promise.resolve();
    await Promise.resolve();
    assert.equal(bench.calls.length, 1, "it began");
    const late = Array.from({ length: 100 }, () => journal.catchUp());
    const tail = `get ${slotKey(journal.state.nextSlot)}`;
    await bench.done(Promise.all([...early, ...late]));
    const proofs = () => bench.calls.filter((call) => call === tail).length;
    assert.equal(proofs(), 2);
    await bench.done(journal.catchUp());
    assert.equal(proofs(), 3, "a proof is not used again");
  });
});

describe("a broker that was fenced", () => {
  it("is told once by its journal, whose commands are void from then on without a slot", async () => {
    const bench = new Bench();
    const [follower, other] = await bench.pair();
    const causes: FencedError[] = [];
    follower.onFenced((cause) => causes.push(cause));
    await bench.done(other.append({ kind: "fence", epoch: epochOf(follower) }));
    await bench.pass(lookDelayMsMax + 10 * latencyMs);
    await bench.commands(other, 5);
    await bench.pass(lookDelayMsMax + 10 * latencyMs);
    assert.equal(causes.length, 1);
    assert.equal(causes[0]?.by, other.epoch);
    assert.match(causes[0]?.message ?? "", /was ended by the broker of epoch/);
    bench.calls.length = 0;
    const outcome = await bench.done(follower.append(aTopic(1, epochOf(follower))));
    assert.deepEqual(outcome, { kind: "void", reason: "author-not-live" });
    assert.deepEqual(bench.calls, []);
    follower.onFenced((cause) => causes.push(cause));
    assert.equal(causes.length, 2, "who asks later hears of it too");
  });

  it("hears of it when its own command meets the fence, and does not send that again", async () => {
    const bench = new Bench();
    const journal = await bench.broker(bench.store);
    const other = await bench.broker();
    const causes: FencedError[] = [];
    journal.onFenced((cause) => causes.push(cause));
    await bench.done(other.append({ kind: "fence", epoch: epochOf(journal) }));
    const before = other.state.nextSlot;
    const outcome = await bench.done(journal.append(aTopic(1, epochOf(journal))));
    assert.deepEqual(outcome, { kind: "void", reason: "author-not-live" });
    assert.equal(causes.length, 1);
    await bench.done(other.catchUp());
    assert.equal(other.state.nextSlot, before);
  });

  it("hears of it also when the fence itself was truncated", async () => {
    const bench = new Bench();
    const [follower, other] = await bench.pair();
    const causes: FencedError[] = [];
    follower.onFenced((cause) => causes.push(cause));
    bench.isAway = true;
    await bench.done(other.append({ kind: "fence", epoch: epochOf(follower) }));
    await bench.commands(other, 30);
    await bench.done(other.close());
    bench.isAway = false;
    await bench.pass(14 * lookDelayMsMax);
    assert.deepEqual(
      causes.map(({ by }) => by),
      [null],
    );
  });

  it("hears of it also when that was before its REGISTER was answered", async () => {
    const bench = new Bench();
    const other = await bench.broker();
    const { env } = bench.world;
    let isSlow = false;
    const slow: ObjectStore = {
      ...bench.store,
      putIfAbsent: async (key, chunks, length) => {
        const outcome = await bench.store.putIfAbsent(key, chunks, length);
        if (isSlow) await sleep(env.clock, 60_000);
        return outcome;
      },
    };
    const journal = await bench.done(
      Journal.open({ store: slow, env, sha256, walKind: "object", chapterSlots: 4 }),
    );
    isSlow = true;
    const registering = journal.register(aBroker);
    await bench.pass(1_000);
    await bench.done(other.catchUp());
    const epoch = Math.max(...other.state.brokers.keys()) as ReturnType<typeof epochOf>;
    await bench.done(other.append({ kind: "fence", epoch }));
    await bench.commands(other, 30);
    await bench.done(other.close());
    assert.equal(await bench.done(registering), epoch);
    const causes: FencedError[] = [];
    journal.onFenced((cause) => causes.push(cause));
    assert.equal(causes.length, 1);
  });

  it("may have ended itself", async () => {
    const bench = new Bench();
    const journal = await bench.broker();
    const causes: FencedError[] = [];
    journal.onFenced((cause) => causes.push(cause));
    const epoch = epochOf(journal);
    assert.equal((await bench.done(journal.append({ kind: "fence", epoch }))).kind, "applied");
    assert.match(causes[0]?.message ?? "", /ended by itself/);
    await bench.done(journal.close());
  });
});
