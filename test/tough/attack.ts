/**
 * One round: a broker, attackers on several connections, and an honest client who looks now and then. What
 * is sent is drawn from a seed: requests made from the schemas, captured ones, mutants of both, bytes that
 * are no request at all; whole, in pieces, several at once; on fresh connections and behind sound requests.
 * CPU time of the thread is taken around each delivery and all that it sets off.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as immediately } from "node:timers/promises";
import type { AnyApi } from "../../src/protocol/api.ts";
import { Fetch } from "../../src/protocol/messages/fetch.ts";
import { Produce } from "../../src/protocol/messages/produce.ts";
import { ApiVersions } from "../../src/protocol/messages/api-versions.ts";
import { apiByKey, apis, peerApis } from "../../src/protocol/registry.ts";
import { SimRandom } from "../../src/sim/random.ts";
import type { MemoryPeer } from "./memory-network.ts";
import { mutate } from "./mutations.ts";
import { HonestClient, Target } from "./target.ts";
import { WildRequests } from "./wild-schema.ts";

export interface Expense {
  readonly seed: number;
  /** Which delivery of the round, from 0. */
  readonly at: number;
  readonly cpuMs: number;
  readonly what: string;
  readonly bytes: number;
}

export interface RoundReport {
  readonly seed: number;
  readonly frames: number;
  /** Of these, not what a client would send. */
  readonly mutants: number;
  /** Sent as the first of their connection, or behind something that was not served. */
  readonly beforeFirstAnswer: number;
  readonly answers: number;
  readonly connections: number;
  /** Connections that the broker closed. */
  readonly closed: number;
  readonly honestRecords: number;
  /** The dearest deliveries, dearest first. */
  readonly worst: readonly Expense[];
  /** The dearest stretch of background work between deliveries. */
  readonly worstBackgroundMs: number;
  /** JS heap after the round less before it, connections closed and garbage collected; null without --expose-gc. */
  readonly heapGrowthBytes: number | null;
}

interface CapturedFrame {
  readonly client: string;
  readonly frame: Uint8Array;
}

let captured: readonly CapturedFrame[] | null = null;

/** Requests of other people's clients, with their lengths before them. */
export function capturedFrames(): readonly CapturedFrame[] {
  captured ??= readFileSync(join(import.meta.dirname, "frames.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const { client, base64 } = JSON.parse(line) as { client: string; base64: string };
      return { client, frame: new Uint8Array(Buffer.from(base64, "base64")) };
    });
  return captured;
}

/** Attackers know what brokers say to each other, too. */
const asked = [...apis, ...peerApis];
/** How many connections the attackers hold. */
const attackers = 8;
/** Deliveries between two looks of the honest client. */
const honestEvery = 400;
const timeEvery = 24;
const restoreEvery = 4_000;
/** Deliveries before the heap is first measured: code and caches are warm then. */
const warmUp = 2_000;
const worstKept = 5;
/** Sound requests that mutants are made of. */
const parentsKept = 128;

/** A frame on its way. */
interface Drawn {
  readonly bytes: Uint8Array;
  readonly what: string;
  readonly isMutant: boolean;
}

interface Delivery {
  readonly chunks: readonly Uint8Array[];
  readonly frames: number;
  readonly mutants: number;
  readonly what: string;
  /** The peer ends its side behind it. */
  readonly leaves: boolean;
}

const dearest: readonly AnyApi[] = [Produce as AnyApi, Fetch as AnyApi];

const junk = [
  "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
  "SSH-2.0-OpenSSH_9.9\r\n",
  "\0\0\0\0",
  "\xff\xff\xff\xff",
  "\x7f\xff\xff\xff",
  "\0\0\0\x01\0",
  "\0\0\0\x0a\0\x12\0\0\0\0\0\x01\xff\xff",
].map((text) => new Uint8Array(Buffer.from(text, "latin1")));

class Attacker {
  readonly #target: Target;
  peer: MemoryPeer;
  deliveries = 0;
  answers = 0;
  /** After this many deliveries it leaves by itself. */
  readonly life: number;
  /** Of its frames, how many are sound: one bad frame mostly ends a connection, and much lies behind a few good ones. */
  readonly soundShare: number;
  /** Correlation ids in the order in which whole frames were sent; null: something was sent that is no whole frame. */
  #sent: number[] | null = [];
  #bytesLeft = 0;
  #head = 0;

  constructor(target: Target, random: SimRandom) {
    this.#target = target;
    this.peer = this.#target.connect();
    this.life = random.pick([1, 5, 50, 400]);
    this.soundShare = random.pick([0, 0, 0.1, 0.3, 0.8]);
    this.peer.onBytes = (chunk) => this.#take(chunk);
    if (random.below(30) === 0) this.peer.reading = false;
  }

  /** `frames`: each whole, or the connection is told to expect none. */
  expect(correlationId: number | null): void {
    if (correlationId === null) this.#sent = null;
    else this.#sent?.push(correlationId);
  }

  /** Answers begin at chunks, since each is encoded by itself; its first chunk has length and correlation id. */
  #take(chunk: Uint8Array): void {
    if (this.#bytesLeft === 0) {
      const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      assert.ok(chunk.byteLength >= 8, "an answer begins with its length and its correlation id");
      this.#bytesLeft = view.getInt32(0) + 4;
      this.#head = view.getInt32(4);
      this.answers++;
      this.#match(this.#head);
    }
    assert.ok(chunk.byteLength <= this.#bytesLeft, "an answer is as long as it says");
    this.#bytesLeft -= chunk.byteLength;
  }

  #match(correlationId: number): void {
    if (this.#sent === null) return;
    // Requests without an answer (acks 0) are skipped.
    while (this.#sent.length > 0) if (this.#sent.shift() === correlationId) return;
    assert.fail(`answer ${correlationId} is for a request that was sent, in order`);
  }
}

export async function runRound(options: {
  readonly seed: number;
  readonly frames: number;
  /** Told of each delivery before it is made; for replaying. */
  readonly onDelivery?: (at: number, what: string, bytes: Uint8Array) => void;
}): Promise<RoundReport> {
  const { seed, frames } = options;
  const target = await Target.start(seed);
  const round = new Round(target, options);
  try {
    await round.run(frames);
    return await round.report();
  } finally {
    await target.stop().catch(() => undefined);
  }
}

class Round {
  readonly #target: Target;
  readonly #options: Parameters<typeof runRound>[0];
  readonly #random: SimRandom;
  #wild: WildRequests;
  #honest: HonestClient | null = null;
  readonly #attackers: (Attacker | null)[] = Array.from({ length: attackers }, () => null);
  readonly #parents: Uint8Array[] = [];
  #nextCorrelationId = 1;
  readonly #counts = { frames: 0, mutants: 0, before: 0, answers: 0, connections: 0, closed: 0 };
  #worst: Expense[] = [];
  #worstBackgroundMs = 0;
  #heapBase: number | null = null;

  constructor(target: Target, options: Parameters<typeof runRound>[0]) {
    this.#target = target;
    this.#options = options;
    this.#random = new SimRandom(options.seed).fork("attack");
    this.#wild = new WildRequests(this.#random, { topics: [], topicIds: [] });
    this.#parents.push(...capturedFrames().map(({ frame }) => frame));
  }

  async run(frames: number): Promise<void> {
    this.#honest = await HonestClient.start(this.#target, this.#random);
    this.#aim();
    for (const api of asked) {
      for (let made = 0; made < 4; made++)
        this.#adopt(this.#wild.draw(api, 0, { sound: true }).bytes.slice());
    }
    for (let at = 0; this.#counts.frames < frames; at++) {
      await this.#deliver(at);
      if (at % timeEvery === 0) await this.#background();
      if (at % restoreEvery === restoreEvery - 1) {
        await this.#honest.restore();
        this.#aim();
      }
      if (at % honestEvery === 0) await this.#honest.check();
      if (at === warmUp) {
        await this.#quiet();
        this.#heapBase = heapBytes();
      }
    }
  }

  #aim(): void {
    const { knownTopicNames: topics, knownTopicIds: topicIds } = this.#target;
    this.#wild = new WildRequests(this.#random, { topics, topicIds });
  }

  /** Whatever time brings: flushes, retention, long polls that end. Now and then long enough for all of it. */
  async #background(): Promise<void> {
    const before = cpuMs();
    await this.#target.advance(this.#random.below(200) === 0 ? 31_000 : this.#random.below(30));
    this.#worstBackgroundMs = Math.max(this.#worstBackgroundMs, cpuMs() - before);
    this.#target.assertSound();
  }

  async #deliver(at: number): Promise<void> {
    const random = this.#random;
    const attacker = this.#attackerFor(random.below(attackers));
    const delivery = this.#draw(attacker);
    this.#options.onDelivery?.(at, delivery.what, delivery.chunks[0] as Uint8Array);
    this.#counts.frames += delivery.frames;
    this.#counts.mutants += delivery.mutants;
    if (attacker.answers === 0) this.#counts.before += delivery.frames;
    const answered = attacker.answers;
    const { closed } = attacker.peer;
    let bytes = 0;
    const before = cpuMs();
    for (const chunk of delivery.chunks) {
      bytes += chunk.byteLength;
      attacker.peer.deliver(chunk);
    }
    if (delivery.leaves) attacker.peer.end();
    await immediately();
    const spent = cpuMs() - before;
    this.#note({ seed: this.#options.seed, at, cpuMs: spent, what: delivery.what, bytes });
    this.#counts.answers += attacker.answers - answered;
    if (attacker.peer.closed && !closed) this.#counts.closed++;
    attacker.deliveries++;
  }

  #attackerFor(index: number): Attacker {
    const there = this.#attackers[index];
    if (there !== null && there !== undefined && !there.peer.closed) {
      if (there.deliveries < there.life) return there;
      if (this.#random.below(2) === 0) there.peer.readOn();
      there.peer.destroy();
    }
    this.#counts.connections++;
    const fresh = new Attacker(this.#target, this.#random);
    this.#attackers[index] = fresh;
    return fresh;
  }

  #draw(attacker: Attacker): Delivery {
    const random = this.#random;
    const leaves = random.below(500) === 0;
    if (attacker.deliveries === 0 && random.below(5) < 3) {
      const { bytes } = this.#wild.draw(ApiVersions, this.#nextCorrelationId++, { sound: true });
      attacker.expect(wholeId(bytes));
      return { chunks: [bytes], frames: 1, mutants: 0, what: "sound ApiVersions", leaves: false };
    }
    if (random.below(150) === 0) {
      attacker.expect(null);
      return { chunks: [Uint8Array.from(random.pick(junk))], frames: 1, mutants: 1, what: "junk", leaves };
    }
    const count = random.below(20) === 0 ? random.between(2, 8) : 1;
    const frames = Array.from({ length: count }, () => this.#frame(random.chance(attacker.soundShare)));
    for (const { bytes } of frames) attacker.expect(wholeId(bytes));
    const mutants = frames.filter(({ isMutant }) => isMutant).length;
    const what = frames.map((frame) => frame.what).join(" + ");
    const whole =
      count === 1
        ? (frames[0] as { bytes: Uint8Array }).bytes
        : new Uint8Array(Buffer.concat(frames.map(({ bytes }) => bytes)));
    const isCut = random.below(12) === 0;
    const chunks = isCut ? inPieces(whole, random) : [whole];
    return { chunks, frames: count, mutants, what: isCut ? `${what}, in pieces` : what, leaves };
  }

  #frame(sound: boolean): Drawn {
    const random = this.#random;
    const correlationId = this.#nextCorrelationId++;
    const parent = random.pick(this.#parents);
    const draw = random.below(10);
    if (sound ? draw < 8 : draw < 4) return this.#fromSchema(correlationId, sound);
    if (!sound) {
      const bytes = mutate(parent, random.pick(this.#parents), random);
      return { bytes, what: `mutant ${nameOf(parent)}`, isMutant: true };
    }
    const bytes = Uint8Array.from(parent);
    new DataView(bytes.buffer).setInt32(8, correlationId);
    return { bytes, what: `again ${nameOf(parent)}`, isMutant: false };
  }

  #fromSchema(correlationId: number, sound: boolean): Drawn {
    const random = this.#random;
    // Produce and Fetch have the most behind them.
    const api = random.below(4) === 0 ? random.pick(dearest) : random.pick(asked);
    const { bytes, isSound, isBomb, isHuge } = this.#wild.draw(api, correlationId, { sound });
    if (isSound && !sound && !isHuge && !isBomb) {
      const mutant = mutate(bytes, random.pick(this.#parents), random);
      return { bytes: mutant, what: `mutant ${api.name}`, isMutant: true };
    }
    if (isSound && !isHuge && bytes.byteLength < 4096) this.#adopt(bytes.slice());
    const marks = `${isBomb ? " with a bomb" : ""}${isHuge ? " of many elements" : ""}`;
    return { bytes, what: `${isSound ? "sound" : "wild"} ${api.name}${marks}`, isMutant: !isSound };
  }

  #adopt(parent: Uint8Array): void {
    const first = capturedFrames().length;
    if (this.#parents.length < first + parentsKept) this.#parents.push(parent);
    else this.#parents[first + this.#random.below(parentsKept)] = parent;
  }

  #note(expense: Expense): void {
    const last = this.#worst.at(-1);
    if (this.#worst.length >= worstKept && last !== undefined && expense.cpuMs <= last.cpuMs) return;
    this.#worst = [...this.#worst, expense].sort((a, b) => b.cpuMs - a.cpuMs).slice(0, worstKept);
  }

  /** Every attacker is gone and what they left has settled: then nothing may be held for them. */
  async #quiet(): Promise<void> {
    for (const [index, attacker] of this.#attackers.entries()) {
      attacker?.peer.destroy();
      this.#attackers[index] = null;
    }
    const honest = this.#honest as HonestClient;
    await honest.restore();
    this.#aim();
    await this.#target.advance(120_000);
    await this.#target.flush();
    await honest.check();
    await immediately();
    assert.equal(
      this.#target.gauge("holdfast_connections_open_count"),
      1,
      "only the honest client is connected",
    );
    assert.equal(this.#target.gauge("holdfast_connections_request_bytes"), 0, "no request is held");
    assert.equal(this.#target.broker.services.answers.used, 0, "no answer is held");
  }

  async report(): Promise<RoundReport> {
    const honest = this.#honest as HonestClient;
    await this.#quiet();
    await honest.checkAll();
    const heap = heapBytes();
    return {
      seed: this.#options.seed,
      frames: this.#counts.frames,
      mutants: this.#counts.mutants,
      beforeFirstAnswer: this.#counts.before,
      answers: this.#counts.answers,
      connections: this.#counts.connections,
      closed: this.#counts.closed,
      honestRecords: honest.recordCount,
      worst: this.#worst,
      worstBackgroundMs: this.#worstBackgroundMs,
      heapGrowthBytes: heap === null || this.#heapBase === null ? null : heap - this.#heapBase,
    };
  }
}

/** The id of a frame whose length is true; null otherwise. */
function wholeId(bytes: Uint8Array): number | null {
  if (bytes.byteLength < 12) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getInt32(0) === bytes.byteLength - 4 ? view.getInt32(8) : null;
}

function nameOf(frame: Uint8Array): string {
  const key = new DataView(frame.buffer, frame.byteOffset, frame.byteLength).getInt16(4);
  return apiByKey(key)?.name ?? `API ${key}`;
}

function inPieces(whole: Uint8Array, random: SimRandom): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < whole.byteLength; ) {
    const end =
      pieces.length > 30
        ? whole.byteLength
        : Math.min(whole.byteLength, at + random.pick([1, 3, 17, 500, 70_000]));
    pieces.push(whole.slice(at, end));
    at = end;
  }
  return pieces;
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function heapBytes(): number | null {
  const { gc } = globalThis as { readonly gc?: () => void };
  if (gc === undefined) return null;
  gc();
  gc();
  return process.memoryUsage().heapUsed;
}
