import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { AssertionFailure } from "../base/assert.ts";
import { Budget } from "../base/budget.ts";
import type { Clock, Logger, Meter, Socket } from "../base/ports.ts";
import { lend, ReusedMemory } from "../base/reused-memory.ts";
import { api } from "../protocol/api.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { decodeCorrelationId, decodeResponse, encodeRequest } from "../protocol/frame.ts";
import { ApiVersions } from "../protocol/messages/api-versions.ts";
import { bytes, int32, struct } from "../schema/types.ts";
import { alone } from "./cluster/cluster.ts";
import { BrokerConfig } from "./config.ts";
import { Connections } from "./connections.ts";
import type { RequestContext, Services } from "./context.ts";
import type { Guards } from "./dispatch.ts";
import { FrameReader } from "../protocol/frame-reader.ts";
import { type AnyHandler, handle, type Stages } from "./handle.ts";

/** An API of the test's own: a number and a load go in, a number, a time and a load come out. */
const Echo = api({
  key: 900,
  name: "Echo",
  versions: [1, 2],
  flexibleFrom: 99,
  request: struct({ number: int32, load: bytes }),
  response: struct({ number: int32, throttleTimeMs: int32, load: bytes }),
});
interface EchoRequest {
  readonly number: number;
  readonly load: Uint8Array;
}
interface EchoResponse extends EchoRequest {
  readonly throttleTimeMs: number;
}
const noLoad = new Uint8Array(0);
const echoOf = (request: EchoRequest, load: Uint8Array = noLoad): EchoResponse => ({
  number: request.number,
  throttleTimeMs: 0,
  load,
});

function request(number: number, load = noLoad, version = 1, key = Echo): Uint8Array {
  const header = { apiVersion: version, correlationId: number, clientId: "test" };
  return Buffer.concat(encodeRequest(key, header, { number, load }));
}

class TestSocket implements Socket {
  readonly remoteAddress: string;
  readonly localAddress = "127.0.0.1";
  readonly localPort = 9092;
  readonly #events: { current: Parameters<Socket["open"]>[0] | null } = { current: null };
  /** Each element is one write. */
  readonly writes: Uint8Array[] = [];
  pendingBytes = 0;
  /** Whether the peer reads. */
  reads = true;
  paused = false;
  ended = false;
  closed = false;

  constructor(remoteAddress = "127.0.0.1") {
    this.remoteAddress = remoteAddress;
  }
  open(events: Parameters<Socket["open"]>[0]): void {
    this.#events.current = events;
  }
  write(chunks: readonly Uint8Array[]): boolean {
    const whole = Buffer.concat(chunks);
    this.writes.push(whole);
    if (!this.reads) this.pendingBytes += whole.byteLength;
    return this.reads;
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  end(): void {
    this.ended = true;
    this.destroy();
  }
  destroy(): void {
    if (this.closed) return;
    this.closed = true;
    this.#events.current?.onClose();
  }
  /** The peer's side. */
  send(data: Uint8Array): void {
    assert.equal(this.closed, false);
    this.#events.current?.onData(Uint8Array.from(data));
  }
  sendEnd(): void {
    this.#events.current?.onEnd();
  }
  drain(): void {
    this.pendingBytes = 0;
    this.#events.current?.onDrain();
  }
  /** Numbers of the answers so far, in order; the correlation id must say the same. */
  get answers(): number[] {
    return this.frames.map((frame) => {
      const { number } = decodeResponse(Echo, 1, frame);
      assert.equal(decodeCorrelationId(frame), number);
      return number;
    });
  }
  get frames(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    const reader = new FrameReader(1 << 30);
    for (const write of this.writes) reader.push(write, frames);
    assert.equal(reader.missingBytes, 0);
    return frames;
  }
}

interface World {
  readonly connections: Connections;
  readonly log: { readonly event: string; readonly facts: { readonly [name: string]: unknown } }[];
  readonly bugs: AssertionFailure[];
  readonly connect: (remoteAddress?: string) => TestSocket;
  readonly advance: (ms: number) => void;
}

function world(
  stages: Stages<EchoRequest, EchoResponse>,
  settings: { readonly [name: string]: string } = {},
  guards?: Guards,
): World {
  let nowMs = 0;
  const timers = new Set<{ readonly at: number; readonly run: () => void }>();
  const clock: Clock = {
    wallMs: () => nowMs,
    monotonicMs: () => nowMs,
    schedule(delayMs, run) {
      const timer = { at: nowMs + delayMs, run };
      timers.add(timer);
      return { cancel: () => timers.delete(timer) };
    },
  };
  const log: World["log"] = [];
  const note = (event: string, facts = {}): void => void log.push({ event, facts });
  const logger: Logger = { debug() {}, info: note, warn: note, error: note };
  const meter: Meter = {
    counter: () => ({ add() {} }),
    gauge() {},
    histogram: () => ({ observe() {} }),
  };
  const versions = handle(ApiVersions, {
    decide: () => assert.fail("not asked in a version that is spoken"),
  });
  const handlers: AnyHandler[] = [handle(Echo, stages), versions];
  const services = {
    env: { clock, log: logger, meter },
    config: new BrokerConfig(new Map(Object.entries(settings))),
    answers: new Budget(1 << 26),
    handlers,
    cluster: alone,
    journal: { state: { nextSlot: 1, brokerConfigs: new Map() } },
  } as unknown as Services;
  const bugs: AssertionFailure[] = [];
  const connections = new Connections(services, {
    onBug: (failure) => bugs.push(failure),
    ...(guards === undefined ? {} : { guards }),
  });
  return {
    connections,
    log,
    bugs,
    connect(remoteAddress) {
      const socket = new TestSocket(remoteAddress);
      connections.accept(socket);
      return socket;
    },
    advance(ms) {
      const end = nowMs + ms;
      for (;;) {
        const due = [...timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        timers.delete(due);
        nowMs = Math.max(nowMs, due.at);
        due.run();
      }
      nowMs = end;
    },
  };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A handler whose answers are given by hand. */
function byHand(): {
  readonly stages: Stages<EchoRequest, EchoResponse>;
  readonly decided: number[];
  readonly give: Map<number, (response: EchoResponse | null) => void>;
  readonly fail: Map<number, (error: Error) => void>;
} {
  const decided: number[] = [];
  const give = new Map<number, (response: EchoResponse | null) => void>();
  const fail = new Map<number, (error: Error) => void>();
  return {
    decided,
    give,
    fail,
    stages: {
      decide: (asked) => {
        decided.push(asked.number);
        return new Promise((resolve, reject) => {
          give.set(asked.number, resolve);
          fail.set(asked.number, reject);
        });
      },
    },
  };
}

const sequence = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

describe("answers of a connection", () => {
  it("leave in the order of the requests, whatever order they are ready in and however the requests arrive", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 0, max: 11 }), { minLength: 12, maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 }),
        async (order, sizes) => {
          const hand = byHand();
          const socket = world(hand.stages).connect();
          const whole = Buffer.concat(sequence(12).map((number) => request(number, new Uint8Array(number))));
          for (let at = 0, turn = 0; at < whole.byteLength; turn++) {
            const size = sizes[turn % sizes.length] as number;
            socket.send(whole.subarray(at, at + size));
            at += size;
          }
          assert.deepEqual(hand.decided, sequence(12));
          for (const number of order) {
            hand.give.get(number)?.(echoOf({ number, load: noLoad }));
            if (number % 3 === 0) await settled();
            const answers = socket.answers;
            assert.deepEqual(answers, sequence(answers.length));
          }
          await settled();
          assert.deepEqual(socket.answers, sequence(12));
        },
      ),
      { numRuns: 40 },
    );
  });

  it("that are ready at once leave in one write", () => {
    const socket = world({ decide: (asked) => echoOf(asked) }).connect();
    socket.send(Buffer.concat(sequence(50).map((number) => request(number))));
    assert.deepEqual(socket.answers, sequence(50));
    assert.equal(socket.writes.length, 1);
  });

  it("that become ready in one turn leave in one write", async () => {
    const hand = byHand();
    const socket = world(hand.stages).connect();
    socket.send(Buffer.concat(sequence(20).map((number) => request(number))));
    for (const number of sequence(20)) hand.give.get(number)?.(echoOf({ number, load: noLoad }));
    await settled();
    assert.deepEqual(socket.answers, sequence(20));
    assert.equal(socket.writes.length, 1);
  });

  it("of a later request wait while an earlier one is prepared, and nothing is decided meanwhile", async () => {
    let go = (): void => {};
    const decided: number[] = [];
    const socket = world({
      prepare: (asked) =>
        asked.number === 1
          ? new Promise((resolve) => {
              go = () => resolve({ number: 100, load: noLoad });
            })
          : undefined,
      decide: (asked) => {
        decided.push(asked.number);
        return { ...echoOf(asked), number: asked.number % 99 };
      },
    }).connect();
    socket.send(Buffer.concat([request(0), request(1), request(2)]));
    await settled();
    assert.deepEqual(decided, [0]);
    go();
    await settled();
    assert.deepEqual(decided, [0, 100, 2]);
    assert.deepEqual(socket.answers, [0, 1, 2]);
  });

  it("are left out where there is none to give", async () => {
    const hand = byHand();
    const socket = world(hand.stages).connect();
    socket.send(Buffer.concat([request(0), request(1), request(2)]));
    hand.give.get(2)?.(echoOf({ number: 2, load: noLoad }));
    hand.give.get(0)?.(null);
    hand.give.get(1)?.(null);
    await settled();
    assert.deepEqual(socket.answers, [2]);
  });

  it("tell a throttle time where the guards ask for one", () => {
    const { connect } = world(
      { decide: (asked) => echoOf(asked) },
      {},
      { authorize: () => true, throttle: () => 70 },
    );
    const socket = connect();
    socket.send(request(5));
    assert.equal(decodeResponse(Echo, 1, socket.frames[0] as Uint8Array).throttleTimeMs, 70);
  });
});

describe("a request that cannot be served", () => {
  const refuses = async (data: Uint8Array, reason: RegExp): Promise<void> => {
    const hand = byHand();
    const { connect, log } = world(hand.stages);
    const [socket, other] = [connect(), connect()];
    socket.send(request(0));
    socket.send(data);
    assert.equal(socket.closed, false);
    assert.equal(socket.paused, true);
    // What was begun before is answered first.
    hand.give.get(0)?.(echoOf({ number: 0, load: noLoad }));
    await settled();
    assert.deepEqual(socket.answers, [0]);
    assert.equal(socket.closed, true);
    assert.match(String(log[0]?.facts["reason"]), reason);
    assert.equal(log.length, 1);
    other.send(request(7));
    assert.deepEqual(hand.decided, [0, 7]);
  };

  it("ends its connection only: an unknown API", () =>
    refuses(request(1, noLoad, 1, { ...Echo, key: 901 }), /API 901/));
  it("ends its connection only: an unknown version", () => {
    const wrong = Buffer.from(request(1));
    wrong.writeInt16BE(3, 6);
    return refuses(wrong, /Echo in version 3; versions 1 to 2/);
  });
  it("ends its connection only: a truncated body", () => {
    const whole = request(1, new Uint8Array(10));
    const short = Buffer.from(whole.subarray(0, whole.byteLength - 3));
    short.writeInt32BE(short.byteLength - 4, 0);
    return refuses(short, /length 10/);
  });
  it("ends its connection only: an empty frame", () => refuses(Buffer.alloc(4), /bytes claimed/));
  it("ends its connection only: a length below zero", () =>
    refuses(Buffer.from([255, 0, 0, 0]), /no length/));
  it("ends its connection only: a length above the bound", () =>
    refuses(Buffer.from([127, 0, 0, 0]), /socket\.request\.max\.bytes allows 104857600/));
  it("ends its connection only: TLS, which is named", () =>
    refuses(Buffer.from([0x16, 3, 1, 2, 0]), /speaks TLS/));
  it("ends its connection only: HTTP, which is named", () =>
    refuses(Buffer.from("GET / HTTP/1.1\r\n"), /speaks HTTP/));

  it("learns the versions when it asks for them in an unknown version (KIP-511)", () => {
    const { connect } = world({ decide: (asked) => echoOf(asked) });
    const socket = connect();
    const header = { apiVersion: 0, correlationId: 5, clientId: null };
    const asked = Buffer.concat(
      encodeRequest(ApiVersions, header, {
        clientSoftwareName: "",
        clientSoftwareVersion: "",
        clusterId: null,
        nodeId: -1,
      } as never),
    );
    asked.writeInt16BE(77, 6);
    socket.send(asked);
    const answer = decodeResponse(ApiVersions, 0, socket.frames[0] as Uint8Array);
    assert.equal(answer.errorCode, ErrorCode.UNSUPPORTED_VERSION);
    assert.deepEqual(
      answer.apiKeys.map((each) => ({ ...each })),
      [
        { apiKey: 18, minVersion: ApiVersions.versions[0], maxVersion: ApiVersions.versions[1] },
        { apiKey: 900, minVersion: 1, maxVersion: 2 },
      ],
    );
    socket.send(request(6));
    assert.equal(socket.frames.length, 2);
  });

  it("is refused where the guards do not permit it", async () => {
    const guards = { authorize: () => false, throttle: () => 0 };
    const { connect, log } = world({ decide: (asked) => echoOf(asked) }, {}, guards);
    const socket = connect();
    socket.send(request(1));
    await settled();
    assert.equal(socket.closed, true);
    assert.equal(log[0]?.facts["reason"], "Echo is not permitted to User:ANONYMOUS");
  });
});

describe("a handler that fails", () => {
  const failure = new Error("the disk is gone");
  for (const [how, stages] of [
    [
      "in stage one",
      {
        decide: () => {
          throw failure;
        },
      },
    ],
    ["in stage two", { decide: () => Promise.reject(failure) }],
    [
      "before stage one",
      { prepare: () => Promise.reject(failure), decide: (asked: EchoRequest) => echoOf(asked) },
    ],
  ] as const) {
    it(`${how} costs its connection, and the log has the cause`, async () => {
      const { connect, log, bugs, connections } = world(stages);
      const [socket, other] = [connect(), connect()];
      socket.send(Buffer.concat([request(1), request(2)]));
      await settled();
      assert.equal(socket.closed, true);
      assert.equal(other.closed, false);
      assert.equal(
        log.find(({ facts }) => facts["cause"] === failure)?.event,
        "connection.closed: a request failed",
      );
      assert.equal(bugs.length, 0);
      assert.equal(connections.count, 1);
    });
  }

  it("takes with it the answers behind its own, which would be taken for it, and none before", async () => {
    for (const early of [true, false]) {
      const hand = byHand();
      const { connect, connections } = world(hand.stages);
      const socket = connect();
      socket.send(Buffer.concat(sequence(4).map((number) => request(number))));
      const give = (number: number): void => hand.give.get(number)?.(echoOf({ number, load: noLoad }));
      if (early) give(2);
      hand.fail.get(1)?.(failure);
      await settled();
      assert.deepEqual([socket.answers, socket.closed], [[], false]);
      give(3);
      give(0);
      await settled();
      assert.deepEqual([socket.answers, socket.closed, connections.count], [[0], true, 0]);
      if (!early) give(2);
      await settled();
      assert.deepEqual(socket.answers, [0]);
    }
  });

  it("an assertion that fails stops the process: nothing more is answered", async () => {
    const { connect, bugs } = world({
      decide: (asked) => {
        if (asked.number === 1) throw new AssertionFailure("two and two are four");
        return echoOf(asked);
      },
    });
    const socket = connect();
    socket.send(Buffer.concat([request(1), request(2)]));
    await settled();
    assert.equal(bugs[0]?.message, "two and two are four");
    assert.deepEqual(socket.writes, []);
  });
});

describe("what a client can make us hold", () => {
  it("a client that does not read its answers gets no further request begun, and goes on where it stopped", () => {
    const load = new Uint8Array(20_000);
    const decided: number[] = [];
    const { connect } = world(
      {
        decide: (asked) => {
          decided.push(asked.number);
          return echoOf(asked, load);
        },
      },
      { "holdfast.connection.response.bytes.max": "200000", "holdfast.connection.requests.max": "200" },
    );
    const socket = connect();
    socket.reads = false;
    socket.send(Buffer.concat(sequence(100).map((number) => request(number))));
    assert.equal(socket.paused, true);
    assert.equal(decided.length, 10);
    assert.ok(socket.pendingBytes < 200_000 + 20_100);
    while (decided.length < 100) {
      const before = decided.length;
      socket.drain();
      assert.ok(decided.length > before);
    }
    socket.drain();
    assert.equal(socket.paused, false);
    assert.deepEqual(socket.answers, sequence(100));
  });

  it("lent memory is given back when everything has left, and never while a slow client still reads", async () => {
    const memory = new ReusedMemory(1 << 20);
    const { connect } = world({
      decide: (asked) => {
        const loan = memory.take(4096);
        assert.ok(loan !== null);
        loan.hold();
        const part = loan.bytes.subarray(0, 3000);
        lend(part, loan);
        return echoOf(asked, part);
      },
    });
    const socket = connect();
    socket.reads = false;
    socket.send(request(1));
    await settled();
    socket.send(request(2));
    await settled();
    assert.equal(socket.writes.length, 2);
    assert.equal(memory.freeBytes, 0);
    socket.drain();
    assert.equal(memory.freeBytes, 2 * 4096);
    socket.send(request(3));
    await settled();
    const freeBytes = memory.freeBytes;
    socket.destroy();
    socket.drain();
    assert.equal(memory.freeBytes, freeBytes, "of what a connection held that was cut, nothing is known");
  });

  it("no more requests than the bound are begun, also when they come all at once", async () => {
    const hand = byHand();
    const socket = world(hand.stages, { "holdfast.connection.requests.max": "4" }).connect();
    socket.send(Buffer.concat(sequence(9).map((number) => request(number))));
    assert.deepEqual(hand.decided, [0, 1, 2, 3]);
    for (const number of sequence(9)) {
      hand.give.get(number)?.(echoOf({ number, load: noLoad }));
      await settled();
    }
    assert.deepEqual(socket.answers, sequence(9));
    assert.equal(socket.paused, false);
  });

  it("reading pauses at the number of requests and at their bytes, and one larger than the bound still arrives", async () => {
    const hand = byHand();
    const { connect } = world(hand.stages, {
      "holdfast.connection.requests.max": "4",
      "holdfast.connection.request.bytes.max": "4096",
    });
    const [many, large] = [connect(), connect()];
    for (const number of sequence(3)) many.send(request(number));
    assert.equal(many.paused, false);
    many.send(request(3));
    assert.equal(many.paused, true);
    hand.give.get(0)?.(echoOf({ number: 0, load: noLoad }));
    await settled();
    assert.equal(many.paused, false);

    const big = request(50, new Uint8Array(20_000));
    large.send(big.subarray(0, 10_000));
    assert.equal(large.paused, false);
    large.send(big.subarray(10_000));
    assert.equal(large.paused, true);
    hand.give.get(50)?.(echoOf({ number: 50, load: noLoad }));
    await settled();
    assert.equal(large.paused, false);
    assert.deepEqual(large.answers, [50]);
  });

  it("at the bound of all connections everybody stops reading; the request that lacks least may end; all come through", async () => {
    const hand = byHand();
    const { connect } = world(hand.stages, { "queued.max.request.bytes": "10000" });
    const sockets = sequence(5).map(() => connect());
    const whole = sockets.map((_, index) => request(index, new Uint8Array(3000)));
    const sent = sockets.map(() => 0);
    const send = (index: number, bytes: number): void => {
      const from = sent[index] as number;
      sockets[index]?.send((whole[index] as Uint8Array).subarray(from, from + bytes));
      sent[index] = Math.min((whole[index] as Uint8Array).byteLength, from + bytes);
    };
    for (const index of sequence(5)) send(index, 1500 + index * 350);
    assert.deepEqual(
      sockets.map((socket) => socket.paused),
      [true, true, true, true, false],
    );
    for (let turns = 0; hand.decided.length < 5 && turns < 50; turns++) {
      const index = sockets.findIndex(
        (socket, at) => !socket.paused && (sent[at] as number) < (whole[at] as Uint8Array).byteLength,
      );
      assert.notEqual(index, -1, "somebody may always read");
      send(index, 400);
      for (const [number, give] of hand.give) give(echoOf({ number, load: noLoad }));
      await settled();
    }
    assert.deepEqual(
      sockets.flatMap((socket) => socket.answers).sort((a, b) => a - b),
      sequence(5),
    );
    assert.ok(sockets.every((socket) => !socket.paused));
  });

  it("when nothing was answered for a while, those that hold most are given up until others can read", async () => {
    const { connect, advance, log } = world(
      { decide: (asked) => echoOf(asked) },
      { "queued.max.request.bytes": "10000" },
    );
    const hostile = sequence(6).map(() => connect());
    const [small, honest] = [connect(), connect()];
    const claim = Buffer.alloc(1900);
    claim.writeInt32BE(50_000_000);
    small.send(claim.subarray(0, 10));
    for (const socket of hostile) socket.send(claim);
    assert.equal(honest.paused, true);
    advance(10_000);
    await settled();
    assert.equal(hostile.filter((socket) => socket.closed).length, 3);
    assert.match(String(log[0]?.facts["reason"]), /held memory/);
    assert.deepEqual([small.closed, honest.closed], [false, false]);
    assert.equal(honest.paused, false);
    honest.send(request(1));
    assert.deepEqual(honest.answers, [1]);
  });

  it("clients that wait for their answers do not keep half-received requests from going on", async () => {
    const hand = byHand();
    const { connect } = world(hand.stages, { "queued.max.request.bytes": "10000" });
    const [waiting, half] = [connect(), connect()];
    waiting.send(request(1));
    const large = request(2, new Uint8Array(12_000));
    half.send(large.subarray(0, 11_000));
    assert.deepEqual([waiting.paused, half.paused], [true, false]);
    half.send(large.subarray(11_000));
    assert.deepEqual(hand.decided, [1, 2]);
  });

  it("while requests that are worked on fill the memory, nobody reads and nobody is given up", async () => {
    const hand = byHand();
    const { connect, advance } = world(hand.stages, { "queued.max.request.bytes": "10000" });
    const [working, half] = [connect(), connect()];
    half.send(request(2, new Uint8Array(3000)).subarray(0, 1000));
    working.send(request(1, new Uint8Array(9500)));
    assert.deepEqual([working.paused, half.paused], [true, true]);
    advance(60_000);
    assert.deepEqual([working.closed, half.closed], [false, false]);
    hand.give.get(1)?.(echoOf({ number: 1, load: noLoad }));
    await settled();
    assert.deepEqual([working.paused, half.paused], [false, false]);
  });

  it("a connection that ends gives everything back", async () => {
    const hand = byHand();
    const { connect } = world(hand.stages, { "queued.max.request.bytes": "5000" });
    for (const round of sequence(20)) {
      const socket = connect();
      socket.send(request(round, new Uint8Array(3000)));
      socket.send(request(99, new Uint8Array(3000)).subarray(0, 1900));
      if (round % 2 === 0) hand.give.get(round)?.(echoOf({ number: round, load: noLoad }));
      socket.destroy();
      await settled();
      hand.give.get(round)?.(echoOf({ number: round, load: noLoad }));
      await settled();
    }
    const socket = connect();
    socket.send(request(1));
    assert.equal(socket.paused, false);
  });
});

describe("the life of a connection", () => {
  it("the most connections, over all and from one address, are kept to", () => {
    const { connect, log, connections, advance } = world(
      { decide: (asked) => echoOf(asked) },
      { "max.connections": "3", "max.connections.per.ip": "2" },
    );
    const first = connect("10.0.0.1");
    connect("10.0.0.1");
    assert.equal(connect("10.0.0.1").closed, true);
    advance(2_000);
    connect("10.0.0.2");
    assert.equal(connect("10.0.0.3").closed, true);
    assert.equal(connections.count, 3);
    assert.deepEqual(
      log.map(({ facts }) => facts["reason"]),
      ["max.connections.per.ip (2) is reached", "max.connections (3) is reached"],
    );
    first.destroy();
    assert.equal(connect("10.0.0.1").closed, false);
  });

  it("an idle one is closed, one whose request is in the works is not", async () => {
    const hand = byHand();
    const { connect, advance } = world(hand.stages, { "connections.max.idle.ms": "1000" });
    const [idle, busy] = [connect(), connect()];
    busy.send(request(1));
    advance(1_600);
    assert.deepEqual([idle.closed, busy.closed], [true, false]);
    hand.give.get(1)?.(echoOf({ number: 1, load: noLoad }));
    await settled();
    advance(1_600);
    assert.equal(busy.closed, true);
  });

  it("a peer that has ended its side still gets its answers, and whoever waits on its behalf is told", async () => {
    let told = 0;
    const hand = byHand();
    const { connect } = world({
      decide: (asked, context: RequestContext) => {
        context.connection.onClose(() => told++);
        return hand.stages.decide(asked, context);
      },
    });
    const socket = connect();
    socket.send(request(1));
    socket.sendEnd();
    assert.equal(told, 1);
    assert.equal(socket.closed, false);
    hand.give.get(1)?.(echoOf({ number: 1, load: noLoad }));
    await settled();
    assert.deepEqual(socket.answers, [1]);
    assert.equal(socket.ended, true);
    assert.equal(told, 1);
  });

  it("what a peer sent before it ended its side is served, also what waits behind a preparation", async () => {
    let go = (): void => {};
    const decided: number[] = [];
    const { connect } = world({
      prepare: (asked) =>
        asked.number === 0
          ? new Promise((resolve) => {
              go = () => resolve(asked);
            })
          : undefined,
      decide: (asked) => {
        decided.push(asked.number);
        return asked.number === 1 ? null : echoOf(asked);
      },
    });
    const socket = connect();
    socket.send(Buffer.concat(sequence(3).map((number) => request(number))));
    socket.sendEnd();
    await settled();
    assert.equal(socket.closed, false);
    go();
    await settled();
    assert.deepEqual(decided, [0, 1, 2]);
    assert.deepEqual(socket.answers, [0, 2]);
    assert.equal(socket.ended, true);
  });

  it("when the broker stops, what was begun is answered, nothing new is begun, and stragglers are cut off", async () => {
    const hand = byHand();
    const { connect, connections, advance } = world(hand.stages);
    const [answered, straggler, quiet] = [connect(), connect(), connect()];
    answered.send(request(1));
    straggler.send(request(2));
    const drained = connections.drain(1_000);
    answered.send(request(3));
    assert.equal(connect().closed, true);
    hand.give.get(1)?.(echoOf({ number: 1, load: noLoad }));
    await settled();
    assert.deepEqual([answered.ended, quiet.ended, straggler.closed], [true, true, false]);
    assert.deepEqual(answered.answers, [1]);
    assert.deepEqual(hand.decided, [1, 2]);
    advance(1_000);
    await drained;
    assert.equal(connections.count, 0);
  });
});
