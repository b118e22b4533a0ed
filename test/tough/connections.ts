/**
 * A real broker process, an honest client, and thousands of connections that do nothing or little:
 *
 *   node test/tough/connections.ts [--idle 5000] [--slow 1000] [--flood 0] [--seconds 8] [--rss 2000]
 *
 * The slow ones are of four kinds in equal parts: a byte of a request at a time; requests whose answers are
 * never read; half a request and then silence; a request and then half a close. Reports how long the honest
 * client's acknowledgements take alone and beside them, and how much memory an idle connection costs the
 * broker. The attackers run in a process of their own (`--attack`), so that they do not slow down the clock.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { NO_TOPIC_ID, nodeId, partitionIndex, producerEpoch, producerId } from "../../src/base/ids.ts";
import type { Api } from "../../src/protocol/api.ts";
import { decodeResponse, encodeRequest } from "../../src/protocol/frame.ts";
import { ApiVersions } from "../../src/protocol/messages/api-versions.ts";
import { CreateTopics } from "../../src/protocol/messages/create-topics.ts";
import { InitProducerId } from "../../src/protocol/messages/init-producer-id.ts";
import { Metadata } from "../../src/protocol/messages/metadata.ts";
import { Produce } from "../../src/protocol/messages/produce.ts";
import { buildBatch } from "../../src/record/builder.ts";
import { startBroker } from "../../tools/brokers.ts";
import { start, useOf } from "../../tools/processes.ts";
import { cacheDirectory, loopback } from "../../tools/toolbox.ts";

const topic = "honest";
/** What an idle connection may cost the broker. */
const idleBytesMax = 20_000;
/** Below this a p99 says more about the machine than about the broker. */
const noticedMs = 2;

function requestBytes<Req, Res>(
  api: Api<Req, Res>,
  apiVersion: number,
  request: Req,
  correlationId = 1,
): Buffer {
  return Buffer.concat(encodeRequest(api, { apiVersion, correlationId, clientId: "tough" }, request));
}

const versionsRequest = requestBytes(ApiVersions, 3, {
  clientSoftwareName: "tough",
  clientSoftwareVersion: "1",
  clusterId: null,
  nodeId: nodeId(-1),
});
const metadataRequest = requestBytes(Metadata, 9, {
  topics: null,
  allowAutoTopicCreation: false,
  includeClusterAuthorizedOperations: false,
  includeTopicAuthorizedOperations: false,
});

// ── The attackers' process ──

async function connect(port: number): Promise<Socket> {
  const socket = createConnection({ port, host: loopback, allowHalfOpen: true });
  socket.on("error", () => undefined);
  await new Promise<void>((resolve) => {
    socket.once("connect", () => resolve());
    socket.once("close", () => resolve());
  });
  return socket;
}

function keepSlow(socket: Socket, kind: number): void {
  switch (kind % 4) {
    case 0: {
      let at = 0;
      const timer = setInterval(() => {
        if (socket.destroyed) return clearInterval(timer);
        socket.write(metadataRequest.subarray(at, at + 1));
        at = (at + 1) % metadataRequest.byteLength;
      }, 200);
      socket.resume();
      return;
    }
    case 1: {
      socket.pause();
      for (let left = 200; left > 0; left--) socket.write(metadataRequest);
      return;
    }
    case 2:
      socket.write(metadataRequest.subarray(0, metadataRequest.byteLength >> 1));
      return;
    default:
      socket.write(versionsRequest);
      socket.end();
  }
}

/** Asks as fast as answers come, 64 in flight. */
function flood(socket: Socket): void {
  const many = Buffer.concat(Array.from({ length: 64 }, () => versionsRequest));
  socket.on("data", () => {
    if (socket.writableLength === 0) socket.write(many);
  });
  socket.write(many);
}

async function attack(port: number, counts: { idle: number; slow: number; flood: number }): Promise<void> {
  const total = counts.idle + counts.slow + counts.flood;
  let dead = 0;
  for (let made = 0; made < total; ) {
    const group = Math.min(50, total - made);
    const sockets = await Promise.all(Array.from({ length: group }, () => connect(port)));
    for (const socket of sockets) {
      socket.once("close", () => dead++);
      if (made < counts.idle) {
        socket.resume();
        socket.write(versionsRequest);
      } else if (made < counts.idle + counts.slow) keepSlow(socket, made);
      else flood(socket);
      made++;
    }
  }
  console.log(`open ${total - dead}`);
  await new Promise(() => setInterval(() => undefined, 60_000));
}

// ── The honest client ──

class Honest {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #resolve: (frame: Buffer) => void = () => undefined;
  #sequence = 0;
  #producer = producerId(-1);

  constructor(port: number) {
    this.#socket = createConnection({ port, host: loopback, noDelay: true });
    this.#socket.on("data", (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      if (this.#received.byteLength < 4 || this.#received.byteLength < 4 + this.#received.readInt32BE(0))
        return;
      const frame = this.#received.subarray(4);
      this.#received = Buffer.alloc(0);
      this.#resolve(frame);
    });
  }

  async ask<Req, Res>(api: Api<Req, Res>, version: number, request: Req): Promise<Res> {
    const answered = new Promise<Buffer>((resolve) => {
      this.#resolve = resolve;
    });
    this.#socket.write(requestBytes(api, version, request));
    return decodeResponse(api, version, await answered);
  }

  async begin(): Promise<void> {
    await this.ask(CreateTopics, 5, {
      topics: [{ name: topic, numPartitions: 1, replicationFactor: -1, assignments: [], configs: [] }],
      timeoutMs: 1000,
      validateOnly: false,
    });
    const { producerId: id } = await this.ask(InitProducerId, 4, {
      transactionalId: null,
      transactionTimeoutMs: 60_000,
      producerId: producerId(-1),
      producerEpoch: producerEpoch(-1),
    });
    this.#producer = id;
  }

  /** Ms until the acknowledgement, for each record of so many seconds, one at a time. */
  async measure(seconds: number): Promise<number[]> {
    const took: number[] = [];
    const endMs = performance.now() + seconds * 1000;
    while (performance.now() < endMs) {
      const identity = {
        producerId: this.#producer,
        producerEpoch: producerEpoch(0),
        baseSequence: this.#sequence++,
      };
      const records = [buildBatch([{ value: "x".repeat(1000) }], identity)];
      const begun = performance.now();
      const { responses } = await this.ask(Produce, 9, {
        transactionalId: null,
        acks: -1,
        timeoutMs: 10_000,
        topicData: [
          { name: topic, topicId: NO_TOPIC_ID, partitionData: [{ index: partitionIndex(0), records }] },
        ],
      });
      if (responses[0]?.partitionResponses[0]?.errorCode !== 0)
        throw new Error("an honest record was refused");
      took.push(performance.now() - begun);
      await sleep(4);
    }
    return took.sort((a, b) => a - b);
  }

  close(): void {
    this.#socket.destroy();
  }
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
const quantiles = (sorted: readonly number[]) => ({
  p50: at(sorted, 0.5),
  p99: at(sorted, 0.99),
  count: sorted.length,
});

// ── The run ──

export interface ConnectionsOptions {
  readonly idle: number;
  readonly slow: number;
  readonly flood: number;
  /** Of each stretch of measuring: alone, beside, alone. */
  readonly seconds: number;
  /** Idle connections whose memory is measured; 0: none. */
  readonly rss: number;
}

export interface ConnectionsReport {
  readonly openConnections: number;
  readonly aloneP50Ms: number;
  readonly aloneP99Ms: number;
  readonly besideP50Ms: number;
  readonly besideP99Ms: number;
  /** Of one core. */
  readonly aloneCpuShare: number;
  readonly besideCpuShare: number;
  readonly bytesPerIdleConnection: number;
  readonly residentMiBBeside: number;
}

async function attackers(port: number, options: { idle: number; slow?: number; flood?: number }) {
  const { idle, slow = 0, flood: flooding = 0 } = options;
  let open = 0;
  let opened = () => {};
  const ready = new Promise<void>((resolve) => {
    opened = resolve;
  });
  const args = { attack: port, idle, slow, flood: flooding };
  const given = Object.entries(args).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = start(process.execPath, [import.meta.filename, ...given], {
    onLine: (line) => {
      if (!line.startsWith("open ")) return;
      open = Number(line.slice(5));
      opened();
    },
  });
  await Promise.race([ready, child.ended]);
  return {
    open,
    end: async () => {
      child.signal("SIGKILL");
      await child.ended;
    },
  };
}

export async function run(options: ConnectionsOptions): Promise<ConnectionsReport> {
  mkdirSync(join(cacheDirectory, "tough"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "tough", "connections-"));
  const broker = await startBroker("holdfast", { directory });
  try {
    const port = Number(broker.address.split(":")[1]);
    const honest = new Honest(port);
    await honest.begin();
    await honest.measure(Math.min(3, options.seconds));
    const bytesPerIdleConnection = options.rss > 0 ? await idleBytes(broker.pid(), port, options.rss) : 0;
    const cpuShare = async (measured: () => Promise<number[]>): Promise<[number[], number]> => {
      const [begunMs, used] = [performance.now(), useOf(broker.pid()).cpuSeconds];
      const took = await measured();
      return [took, ((useOf(broker.pid()).cpuSeconds - used) * 1000) / (performance.now() - begunMs)];
    };
    const [before, aloneCpu] = await cpuShare(() => honest.measure(options.seconds));
    const crowd = await attackers(port, options);
    await sleep(500);
    const [during, besideCpu] = await cpuShare(() => honest.measure(options.seconds * 2));
    const beside = quantiles(during);
    const residentMiBBeside = Math.round(residentBytes(broker.pid()) / 1048576);
    await crowd.end();
    await sleep(1_000);
    const alone = quantiles([...before, ...(await honest.measure(options.seconds))].sort((a, b) => a - b));
    honest.close();
    if (beside.p99 >= 2 * Math.max(alone.p99, noticedMs)) {
      throw new Error(`p99 is ${beside.p99} ms beside others and ${alone.p99} ms alone`);
    }
    if (bytesPerIdleConnection > idleBytesMax) {
      throw new Error(`an idle connection takes ${bytesPerIdleConnection} bytes`);
    }
    const rounded = (ms: number) => Math.round(ms * 100) / 100;
    return {
      openConnections: crowd.open,
      aloneP50Ms: rounded(alone.p50),
      aloneP99Ms: rounded(alone.p99),
      besideP50Ms: rounded(beside.p50),
      besideP99Ms: rounded(beside.p99),
      aloneCpuShare: rounded(aloneCpu),
      besideCpuShare: rounded(besideCpu),
      bytesPerIdleConnection,
      residentMiBBeside,
    };
  } finally {
    await broker.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Resident memory that an idle connection adds; a few came and went before, so that the code is warm. */
async function idleBytes(pid: number, port: number, count: number): Promise<number> {
  const first = await attackers(port, { idle: 100 });
  await first.end();
  await sleep(2_000);
  const before = residentBytes(pid);
  const crowd = await attackers(port, { idle: count });
  await sleep(3_000);
  const bytes = residentBytes(pid) - before;
  await crowd.end();
  await sleep(1_000);
  return Math.round(bytes / count);
}

function residentBytes(pid: number): number {
  return useOf(pid).rssBytes;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      attack: { type: "string" },
      idle: { type: "string", default: "5000" },
      slow: { type: "string", default: "1000" },
      flood: { type: "string", default: "0" },
      seconds: { type: "string", default: "8" },
      rss: { type: "string", default: "2000" },
    },
  });
  const counts = { idle: Number(values.idle), slow: Number(values.slow), flood: Number(values.flood) };
  if (values.attack !== undefined) await attack(Number(values.attack), counts);
  else {
    const report = await run({ ...counts, seconds: Number(values.seconds), rss: Number(values.rss) });
    console.log(JSON.stringify(report));
    process.exit(0);
  }
}
