/**
 * Mutants by the million against whole brokers in memory:
 *
 *   node test/tough/fuzz.ts [--mutants 10000000] [--round 40000] [--seed 1] [--workers 2]
 *   node test/tough/fuzz.ts --replay SEED [--round 40000] [--at DELIVERY]     one round, told delivery by delivery
 *
 * Each round has a seed of its own, a fresh broker and an honest client. A round fails when the broker stops,
 * an answer is wrong in form or order, the honest client misses a record, something is still held when all
 * attackers are gone, or a delivery takes more than 100 ms of CPU time. Workers are processes, so that a
 * crash is seen as one.
 */
import { parseArgs } from "node:util";
import { start } from "../../tools/processes.ts";
import { type Expense, type RoundReport, runRound } from "./attack.ts";

export const cpuMsMax = 100;
/** JS heap that a round may leave behind: compiled code and caches with bounds. */
export const heapGrowthBytesMax = 8 * 1024 * 1024;

export interface FuzzReport {
  readonly rounds: number;
  readonly frames: number;
  readonly mutants: number;
  readonly beforeFirstAnswer: number;
  readonly answers: number;
  readonly connections: number;
  readonly closedByBroker: number;
  readonly honestRecords: number;
  readonly worstCpuMs: number;
  /** Frames, or several that were sent at once, above 50 ms. */
  readonly above50Ms: number;
  readonly heapGrowthBytesMax: number;
}

/** Throws with the line that replays it. */
export function judge(report: RoundReport, frames: number): void {
  const replay = `node --expose-gc test/tough/fuzz.ts --replay ${report.seed} --round ${frames}`;
  const [worst] = report.worst;
  if (worst !== undefined && worst.cpuMs > cpuMsMax)
    throw new Error(`${describe(worst)}; ${replay} --at ${worst.at}`);
  if ((report.heapGrowthBytes ?? 0) > heapGrowthBytesMax) {
    throw new Error(`seed ${report.seed} left ${report.heapGrowthBytes} bytes in the heap; ${replay}`);
  }
}

const describe = ({ seed, at, cpuMs, what, bytes }: Expense): string =>
  `seed ${seed}, delivery ${at}: ${what} of ${bytes} bytes took ${cpuMs.toFixed(1)} ms of CPU time`;

export async function run(options: {
  readonly mutants: number;
  readonly framesPerRound: number;
  readonly firstSeed: number;
  readonly workers: number;
  readonly onRound?: (total: FuzzReport) => void;
}): Promise<FuzzReport> {
  const { framesPerRound, firstSeed, workers } = options;
  let total: FuzzReport = {
    rounds: 0,
    frames: 0,
    mutants: 0,
    beforeFirstAnswer: 0,
    answers: 0,
    connections: 0,
    closedByBroker: 0,
    honestRecords: 0,
    worstCpuMs: 0,
    above50Ms: 0,
    heapGrowthBytesMax: 0,
  };
  let failure: unknown = null;
  const children = Array.from({ length: workers }, (_, index) => {
    const args = { worker: firstSeed + index, step: workers, round: framesPerRound };
    const given = Object.entries(args).flatMap(([name, value]) => [`--${name}`, String(value)]);
    return start(process.execPath, ["--expose-gc", import.meta.filename, ...given], {
      onLine: (line) => {
        if (!line.startsWith("{")) return;
        const report = JSON.parse(line) as RoundReport;
        total = added(total, report);
        options.onRound?.(total);
        try {
          judge(report, framesPerRound);
        } catch (cause) {
          failure ??= cause;
        }
        if (failure !== null || total.mutants >= options.mutants)
          for (const child of children) child.signal("SIGKILL");
      },
    });
  });
  const ended = await Promise.all(children.map((child) => child.ended));
  if (failure !== null) throw failure;
  const early = ended.find(({ signal }) => signal !== "SIGKILL");
  if (early !== undefined) throw new Error(`a round failed:\n${early.stderr}`);
  return total;
}

function added(total: FuzzReport, round: RoundReport): FuzzReport {
  return {
    rounds: total.rounds + 1,
    frames: total.frames + round.frames,
    mutants: total.mutants + round.mutants,
    beforeFirstAnswer: total.beforeFirstAnswer + round.beforeFirstAnswer,
    answers: total.answers + round.answers,
    connections: total.connections + round.connections,
    closedByBroker: total.closedByBroker + round.closed,
    honestRecords: total.honestRecords + round.honestRecords,
    worstCpuMs: Math.max(total.worstCpuMs, Math.round(round.worst[0]?.cpuMs ?? 0)),
    above50Ms: total.above50Ms + round.worst.filter(({ cpuMs }) => cpuMs > 50).length,
    heapGrowthBytesMax: Math.max(total.heapGrowthBytesMax, round.heapGrowthBytes ?? 0),
  };
}

async function work(firstSeed: number, step: number, frames: number): Promise<void> {
  let running = firstSeed;
  process.on("exit", (code) => {
    if (code === 13) console.error(`seed ${running}: the round waits for something that never comes`);
  });
  for (let seed = firstSeed; ; seed += step) {
    running = seed;
    try {
      console.log(JSON.stringify(await runRound({ seed, frames })));
    } catch (cause) {
      console.error(
        `seed ${seed}; node --expose-gc test/tough/fuzz.ts --replay ${seed} --round ${frames}`,
        cause,
      );
      process.exit(1);
    }
  }
}

async function replay(seed: number, frames: number, at: number): Promise<void> {
  const report = await runRound({
    seed,
    frames,
    onDelivery: (delivery, what, bytes) => {
      if (delivery !== at) return;
      console.log(
        `${delivery}: ${what}, ${bytes.byteLength} bytes: ${Buffer.from(bytes.subarray(0, 400)).toString("hex")}`,
      );
    },
  });
  console.log(report);
  judge(report, frames);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      mutants: { type: "string", default: "10000000" },
      round: { type: "string", default: "40000" },
      seed: { type: "string", default: "1" },
      workers: { type: "string", default: "2" },
      replay: { type: "string" },
      at: { type: "string", default: "-1" },
      worker: { type: "string" },
      step: { type: "string", default: "1" },
    },
  });
  const framesPerRound = Number(values.round);
  if (values.worker !== undefined) await work(Number(values.worker), Number(values.step), framesPerRound);
  else if (values.replay !== undefined)
    await replay(Number(values.replay), framesPerRound, Number(values.at));
  else {
    const begun = performance.now();
    let told = begun;
    const report = await run({
      mutants: Number(values.mutants),
      framesPerRound,
      firstSeed: Number(values.seed),
      workers: Number(values.workers),
      onRound: ({ mutants, worstCpuMs }) => {
        if (performance.now() - told < 30_000) return;
        told = performance.now();
        console.log(`${mutants} mutants, worst ${worstCpuMs} ms`);
      },
    });
    console.log(JSON.stringify(report), `${Math.round((performance.now() - begun) / 1000)} s`);
  }
}
