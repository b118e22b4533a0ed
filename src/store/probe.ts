/**
 * Tries whether a store does what everything else rests on, instead of believing its name: that of many who create one
 * name at once exactly one wins, that what was written is read and listed, whole and by parts, and that deletes are
 * done. A store that fails must be refused, since it would lose acknowledged records without anybody noticing. The
 * probe writes under `probe/` and a name of its own, and takes away what it wrote.
 */
import { equalBytes } from "../base/bytes.ts";
import { HoldfastError, RefusedError } from "../base/errors.ts";
import type { Clock, ObjectStore, Random } from "../base/ports.ts";
import { create, type Created, type CreatePorts, untilAnswered } from "./create.ts";

export interface ProbeVerdict {
  /** "wrong" loses records; "risk" can; "unknown" could not be found out. */
  readonly status: "ok" | "note" | "unknown" | "risk" | "wrong";
  /** What was tried, in a word or two. */
  readonly about: string;
  /** What is so, what follows from it, and what to do. */
  readonly text: string;
  readonly facts?: { readonly [name: string]: unknown };
}

export interface ProbeOptions {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  /** How often the race for one name is run. */
  readonly rounds?: number;
  readonly racers?: number;
  readonly largeBytes?: number;
  /** How long one of the trials may take. */
  readonly trialMs?: number;
}

const roundsDefault = 8;
const racersDefault = 16;
const largeBytesDefault = 16 * 1024 * 1024;
const trialMsDefault = 60_000;
const listedObjects = 20;
const freshReads = 10;
const smallBytes = 1_024;

type Trial = (probe: Probe) => Promise<ProbeVerdict>;

/**
 * One verdict after another. Rejects with what the store rejects with when it cannot be used at all, as with wrong
 * credentials. Ends after a verdict that leaves no sense in going on.
 */
export async function* probeStore(options: ProbeOptions): AsyncGenerator<ProbeVerdict, void, void> {
  const probe = new Probe(options);
  const trials: readonly (readonly [string, Trial])[] = [
    ["create and read", createAndRead],
    ["taken names", takenNames],
    ["races", races],
    ["fresh reads", readsAfterWrites],
    ["listing", listsAfterWrites],
    ["large objects", largeObject],
    ["parts", parts],
    ["deletes", deletes],
  ];
  try {
    for (const [about, trial] of trials) {
      const verdict = await probe.within(about, () => trial(probe));
      yield verdict;
      if (verdict.facts?.["timedOut"] === true) return;
      if (about === trials[0]?.[0] && verdict.status !== "ok") return;
    }
    yield probe.latency();
  } finally {
    await probe.tidy();
  }
}

/** For a start: throws `RefusedError` with the sentence of the first verdict that is "wrong", or that could not be had. */
export async function refuseUnsound(
  name: string,
  verdicts: AsyncIterable<ProbeVerdict>,
): Promise<readonly ProbeVerdict[]> {
  const found: ProbeVerdict[] = [];
  for await (const verdict of verdicts) {
    if (verdict.status === "wrong") {
      throw new RefusedError(`${name} cannot keep records safely; ${verdict.about}: ${verdict.text}`);
    }
    if (verdict.status === "unknown" && verdict.facts?.["timedOut"] === true) {
      throw new RefusedError(`${name} could not be tried; ${verdict.about}: ${verdict.text}`);
    }
    found.push(verdict);
  }
  return found;
}

/** The trial took too long; nothing of it goes on. */
class OverError extends HoldfastError {
  readonly code = "PROBE_OVER";
  override readonly name = "OverError";
}

class Probe {
  readonly rounds: number;
  readonly racers: number;
  readonly largeBytes: number;
  readonly root: string;
  readonly #options: ProbeOptions;
  readonly #ports: CreatePorts;
  readonly #trialMs: number;
  readonly #written = new Set<string>();
  readonly #putMs: number[] = [];
  readonly #getMs: number[] = [];
  #isOver = false;
  /** The last thing that went wrong with a request. */
  #lastTrouble = "";
  #large: Uint8Array = new Uint8Array(0);

  constructor(options: ProbeOptions) {
    this.#options = options;
    this.#ports = { clock: options.clock, random: options.random };
    this.rounds = options.rounds ?? roundsDefault;
    this.racers = options.racers ?? racersDefault;
    this.largeBytes = options.largeBytes ?? largeBytesDefault;
    this.#trialMs = options.trialMs ?? trialMsDefault;
    this.root = `probe/${Buffer.from(options.random.bytes(8)).toString("hex")}`;
  }

  /** Filled by `largeObject`. */
  get large(): Uint8Array {
    return this.#large;
  }

  bytes(length: number): Uint8Array {
    return this.#options.random.bytes(length);
  }

  /** Whatever has no answer is asked again, as everything here does it, until the trial is over. */
  create(name: string, bytes: Uint8Array): Promise<Created> {
    return create(this.#store, this.#named(name), bytes, this.#ports);
  }

  get(name: string, range?: { readonly start: number; readonly length: number }): Promise<Uint8Array | null> {
    return untilAnswered(this.#ports, () => this.#store.get(`${this.root}/${name}`, range));
  }

  list(name: string): Promise<readonly { readonly key: string; readonly bytes: number }[]> {
    return untilAnswered(this.#ports, () => this.#store.list(`${this.root}/${name}`));
  }

  delete(name: string): Promise<void> {
    return untilAnswered(this.#ports, () => this.#store.delete(`${this.root}/${name}`));
  }

  async writeLarge(): Promise<Created> {
    this.#large = this.bytes(this.largeBytes);
    return this.create("large", this.#large);
  }

  async within(about: string, run: () => Promise<ProbeVerdict>): Promise<ProbeVerdict> {
    const { clock } = this.#options;
    const trialMs = this.#trialMs;
    let giveUp: () => void = () => undefined;
    const late = new Promise<ProbeVerdict>((resolve) => {
      giveUp = () => {
        this.#isOver = true;
        const why = this.#lastTrouble === "" ? "" : ` (${this.#lastTrouble})`;
        const text = `not done within ${Math.round(trialMs / 1000)} s${why}: nothing can be acknowledged while the store answers so. Try again when it answers.`;
        resolve({ status: "unknown", about, text, facts: { timedOut: true } });
      };
    });
    const timer = clock.schedule(trialMs, giveUp);
    try {
      return await Promise.race([run(), late]);
    } finally {
      timer.cancel();
    }
  }

  latency(): ProbeVerdict {
    const put = spread(this.#putMs);
    const get = spread(this.#getMs);
    return {
      status: "ok",
      about: "latency",
      text: `a put took ${put.medianMs.toFixed(1)} ms (median; p99 ${put.p99Ms.toFixed(1)} ms), a read ${get.medianMs.toFixed(1)} ms (p99 ${get.p99Ms.toFixed(1)} ms). Each acknowledgement waits for one put; many records share it.`,
      facts: { puts: this.#putMs.length, put, gets: this.#getMs.length, get },
    };
  }

  /** What is left is garbage under `probe/`, and harmless. */
  async tidy(): Promise<void> {
    this.#isOver = true;
    try {
      await Promise.all([...this.#written].map((key) => this.#options.store.delete(key)));
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
    }
  }

  readonly #store: ObjectStore = {
    get: (key, range) => this.#timed(this.#getMs, () => this.#options.store.get(key, range)),
    putIfAbsent: (key, chunks, length) =>
      this.#timed(length <= smallBytes ? this.#putMs : null, () =>
        this.#options.store.putIfAbsent(key, chunks, length),
      ),
    list: (prefix) => this.#timed(null, () => this.#options.store.list(prefix)),
    delete: (key) => this.#timed(null, () => this.#options.store.delete(key)),
  };

  async #timed<T>(into: number[] | null, ask: () => Promise<T>): Promise<T> {
    if (this.#isOver) throw new OverError("the trial is over");
    const { clock } = this.#options;
    const begunMs = clock.monotonicMs();
    try {
      const answer = await ask();
      into?.push(clock.monotonicMs() - begunMs);
      return answer;
    } catch (error) {
      if (error instanceof HoldfastError && error.retriable) this.#lastTrouble = error.message;
      throw error;
    }
  }

  #named(name: string): string {
    const key = `${this.root}/${name}`;
    this.#written.add(key);
    return key;
  }
}

function spread(times: readonly number[]): { medianMs: number; p99Ms: number } {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { medianMs: at(0.5), p99Ms: at(0.99) };
}

async function createAndRead(probe: Probe): Promise<ProbeVerdict> {
  const about = "create and read";
  const bytes = probe.bytes(smallBytes);
  const created = await probe.create("first", bytes);
  const back = await probe.get("first");
  if (created.kind === "mine" && back !== null && equalBytes(back, bytes)) {
    return { status: "ok", about, text: "an object is created and read back." };
  }
  return {
    status: "wrong",
    about,
    text: `${back === null ? "an object that was created is not there" : "an object comes back with other bytes"}: whatever is acknowledged there can be lost. Do not use this store.`,
  };
}

async function takenNames(probe: Probe): Promise<ProbeVerdict> {
  const about = "taken names";
  const [first, second] = [probe.bytes(smallBytes), probe.bytes(smallBytes)];
  await probe.create("taken", first);
  const again = await probe.create("taken", second);
  const back = await probe.get("taken");
  if (again.kind === "other" && back !== null && equalBytes(back, first)) {
    return { status: "ok", about, text: "creating a name that is taken leaves the object as it is." };
  }
  return {
    status: "wrong",
    about,
    text: "a put to a name that is taken replaced the object: the store does not heed If-None-Match, so two brokers would overwrite each other's records. Do not use it; use a store with conditional writes.",
  };
}

async function races(probe: Probe): Promise<ProbeVerdict> {
  const about = "races";
  const { rounds, racers } = probe;
  for (let round = 0; round < rounds; round++) {
    const bodies = Array.from({ length: racers }, () => probe.bytes(smallBytes));
    const outcomes = await Promise.all(bodies.map((body) => probe.create(`race-${round}`, body)));
    const winners = outcomes.flatMap(({ kind }, at) => (kind === "mine" ? [at] : []));
    const stands = await probe.get(`race-${round}`);
    const winner = bodies[winners[0] ?? -1];
    const isOne =
      winners.length === 1 && winner !== undefined && stands !== null && equalBytes(stands, winner);
    const agree = outcomes.every(
      (each) => each.kind === "mine" || (stands !== null && equalBytes(each.body, stands)),
    );
    if (isOne && agree) continue;
    return {
      status: "wrong",
      about,
      facts: { round, racers, winners: winners.length },
      text: `of ${racers} who created one name at once, ${winners.length} were told that they won${isOne ? ", and others saw another content" : ""}: two brokers would both acknowledge records of which only one's stay. Do not use this store.`,
    };
  }
  return {
    status: "ok",
    about,
    facts: { rounds, racers },
    text: `of ${racers} who created one name at once exactly one won, ${rounds} times.`,
  };
}

/** A name is asked for before it exists, so that a cache of absent names is found out. */
async function readsAfterWrites(probe: Probe): Promise<ProbeVerdict> {
  const about = "fresh reads";
  for (let at = 0; at < freshReads; at++) {
    const bytes = probe.bytes(smallBytes);
    await probe.get(`fresh-${at}`);
    await probe.create(`fresh-${at}`, bytes);
    const back = await probe.get(`fresh-${at}`);
    if (back !== null && equalBytes(back, bytes)) continue;
    return {
      status: "wrong",
      about,
      text: "an object that was just created was not found: a broker that takes over would not see what was acknowledged. Do not use this store, or switch off the cache before it.",
    };
  }
  return { status: "ok", about, text: "what was created is there for the next read." };
}

async function listsAfterWrites(probe: Probe): Promise<ProbeVerdict> {
  const about = "listing";
  const names = Array.from({ length: listedObjects }, (_, at) => `list/${String(at).padStart(3, "0")}`);
  await Promise.all(names.map((name) => probe.create(name, probe.bytes(smallBytes))));
  const listed = await probe.list("list/");
  const missing = names.length - listed.filter(({ bytes }) => bytes === smallBytes).length;
  const isOrdered = listed.every(({ key }, at) => key === `${probe.root}/${names[at]}`);
  if (missing === 0 && isOrdered && listed.length === names.length) {
    return { status: "ok", about, text: `${names.length} new objects are listed, with their sizes.` };
  }
  return {
    status: "risk",
    about,
    facts: { missing },
    text: `${missing} of ${names.length} new objects are not in a listing. No acknowledgement rests on a listing, but a start that does not see the newest snapshot, or garbage that is never found, follows from it.`,
  };
}

async function largeObject(probe: Probe): Promise<ProbeVerdict> {
  const about = "large objects";
  const size = `${(probe.largeBytes / 1024 / 1024).toFixed(0)} MiB`;
  const created = await probe.writeLarge();
  const back = await probe.get("large");
  if (created.kind === "mine" && back !== null && equalBytes(back, probe.large)) {
    return { status: "ok", about, text: `${size} in one put come back as they were.` };
  }
  return {
    status: "wrong",
    about,
    text: `an object of ${size} does not come back as it was: segments would be damaged. Do not use this store, or look at the proxy before it.`,
  };
}

async function parts(probe: Probe): Promise<ProbeVerdict> {
  const about = "parts";
  const { large } = probe;
  const size = large.byteLength;
  const ranges = [
    [0, 100],
    [Math.floor(size / 2) - 7, 4_096],
    [size - 100, 100],
    [size - 100, 4_096],
    [size, 10],
    [size + 1_000, 10],
  ] as const;
  for (const [start, length] of ranges) {
    const part = await probe.get("large", { start, length });
    if (part !== null && equalBytes(part, large.subarray(start, start + length))) continue;
    return {
      status: "wrong",
      about,
      facts: { start, length },
      text: `bytes ${start} to ${start + length - 1} of an object of ${size} do not come back as they were: records could not be read. Do not use this store, or look at the proxy before it.`,
    };
  }
  return { status: "ok", about, text: "parts of an object are read, also at and behind its end." };
}

async function deletes(probe: Probe): Promise<ProbeVerdict> {
  const about = "deletes";
  await probe.create("deleted", probe.bytes(smallBytes));
  await probe.delete("deleted");
  await probe.delete("deleted");
  const isThere = (await probe.get("deleted")) !== null;
  const isListed = (await probe.list("deleted")).length > 0;
  if (!isThere && !isListed)
    return { status: "ok", about, text: "what is deleted is gone, and no longer listed." };
  return {
    status: "note",
    about,
    text: `a deleted object is still ${isThere ? "there" : "listed"}: names are never used again, so this harms nothing but space.`,
  };
}
