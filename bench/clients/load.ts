/**
 * What the three client programs share: their arguments, values, and the clock. A program writes or reads
 * without a pause and counts; the clock says when counting begins ("measuring") and prints the result.
 *
 *   PROGRAM produce|consume ADDRESS TOPIC PARTITIONS BYTES WARMUP_MS MEASURE_MS SETTING
 */
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";

/** One of the settings that are tried for the best one, as JSON; each program reads the fields that it knows. */
export interface Setting {
  /** Sends that are under way at a time, each to partitions of its own; an idempotent producer needs that. */
  readonly workers?: number;
  /** Payload of one send to one partition, in 10^3 bytes. */
  readonly batchKb?: number;
  readonly lingerMs?: number;
  /** Records that are under way at a time, where each has a promise of its own. */
  readonly recordsUnderWay?: number;
  /** How records are handed over: one by one, or in lots. */
  readonly by?: "record" | "lot";
  readonly partitionsAtOnce?: number;
  readonly highWaterMark?: number;
}

export interface Task {
  readonly address: string;
  readonly topic: string;
  readonly partitionCount: number;
  readonly recordBytes: number;
  readonly setting: Setting;
  /** Adds to what was acknowledged or read. */
  readonly count: (records: number) => void;
  /** Values as the Go program makes them: noise in 64 variants. */
  readonly valueOf: (number: number) => Buffer;
}

export interface ClientProgram {
  produce(task: Task): Promise<void>;
  consume(task: Task): Promise<void>;
}

/** Runs for the time that the arguments say and ends the process. */
export async function runClientProgram(program: ClientProgram): Promise<void> {
  const [action, address = "", topic = "", ...rest] = process.argv.slice(2);
  const [partitionCount = 0, recordBytes = 0, warmupMs = 0, measureMs = 0] = rest.slice(0, 4).map(Number);
  if (action !== "produce" && action !== "consume")
    throw new Error(`Cannot read the arguments ${process.argv.slice(2).join(" ")}`);
  const values = Array.from({ length: 64 }, () => randomBytes(recordBytes));
  let records = 0;
  let isStarted = false;
  const startClock = (): void => {
    isStarted = true;
    setTimeout(() => {
      const [before, begun, cpu] = [records, performance.now(), process.cpuUsage()];
      console.log("measuring");
      setTimeout(() => {
        const seconds = (performance.now() - begun) / 1000;
        const done = records - before;
        const { user, system } = process.cpuUsage(cpu);
        const line = {
          records: done,
          seconds,
          mbPerSecond: (done * recordBytes) / seconds / 1e6,
          p50Ms: 0,
          p99Ms: 0,
          batchKb: 0,
          clientCpuSeconds: (user + system) / 1e6,
          clientRssMb: process.memoryUsage.rss() / 1e6,
        };
        process.stdout.write(`${JSON.stringify(line)}\n`, () => process.exit(0));
      }, measureMs);
    }, warmupMs);
  };
  await program[action]({
    address,
    topic,
    partitionCount,
    recordBytes,
    setting: JSON.parse(rest[4] ?? "{}") as Setting,
    // Connecting, and joining a group where a client needs one, is before the clock.
    count: (more) => {
      records += more;
      if (!isStarted) startClock();
    },
    valueOf: (number) => values[number % values.length] as Buffer,
  });
}

export interface PlacedValue {
  readonly partition: number;
  readonly value: Buffer;
}

/**
 * Keeps `setting.workers` sends under way. Each worker has partitions of its own and sends a batch to each of
 * them at a time; `send` resolves when all of it is acknowledged.
 */
export async function produceInLots(
  { partitionCount, recordBytes, setting, valueOf, count }: Task,
  send: (records: readonly PlacedValue[]) => Promise<unknown>,
): Promise<void> {
  const workers = Math.min(setting.workers ?? 1, partitionCount);
  const perPartition = Math.max(1, Math.floor(((setting.batchKb ?? 64) * 1000) / recordBytes));
  const work = async (worker: number): Promise<never> => {
    const own = Array.from({ length: partitionCount }, (_, partition) => partition).filter(
      (partition) => partition % workers === worker,
    );
    for (let number = 0; ; ) {
      const lot: PlacedValue[] = [];
      for (const partition of own) {
        for (let index = 0; index < perPartition; index += 1, number += 1)
          lot.push({ partition, value: valueOf(number) });
      }
      await send(lot);
      count(lot.length);
    }
  };
  await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
}

/** A package that tools/toolbox.ts installed outside this repository's dependencies. */
export function packageNamed(name: string): unknown {
  const packages = process.env["HOLDFAST_NODE_PACKAGES"];
  if (packages === undefined) throw new Error("HOLDFAST_NODE_PACKAGES names no directory");
  return createRequire(join(packages, "package.json"))(name);
}
