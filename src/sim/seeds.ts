/**
 * Worlds from seed to seed, in this thread or in several: what the programs of the simulation share. The first
 * violation ends the process with 1, the line that replays it, and what was found in the worlds before it. A thread is
 * the same program once more, with the same arguments.
 */
import { isMainThread, parentPort, Worker } from "node:worker_threads";

export interface SeedReport {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly traceHash: string;
  readonly trace: readonly string[];
}

export interface Seeds<R extends SeedReport> {
  /** Of the program: `import.meta.url`. */
  readonly program: string;
  readonly first: number;
  /** Default: until it is enough. */
  readonly count?: number;
  /** Whether what was counted so far is enough; asked before each world. */
  readonly isEnough?: () => boolean;
  readonly workers: number;
  /** Each twice, comparing traces. */
  readonly twice: boolean;
  /** Whether a failure comes with its trace. */
  readonly showsTrace: boolean;
  /** After so many worlds it is told how far it is. */
  readonly tellEach: number;
  readonly run: (seed: number) => Promise<R>;
  /** Counts a world without violations. */
  readonly add: (report: R) => void;
  /** What was counted so far. */
  readonly describe: () => string;
  /** The command that runs this seed alone. */
  readonly replay: (seed: number) => string;
}

const violationsTold = 20;
const violationChars = 600;

/** Resolves in the main thread when all worlds are over, and never in the others. */
export async function runSeeds<R extends SeedReport>(seeds: Seeds<R>): Promise<void> {
  if (!isMainThread) return serve(seeds);
  const { first, count = Number.POSITIVE_INFINITY, isEnough } = seeds;
  let next = first;
  let worlds = 0;
  const over = (report: R): void => {
    if (report.violations.length > 0) fail(seeds, report);
    seeds.add(report);
    worlds++;
    if (worlds % seeds.tellEach === 0) console.error(seeds.describe());
  };
  const nextSeed = (): number | null => (next < first + count && isEnough?.() !== true ? next++ : null);
  const workers = Math.min(seeds.workers, count);
  if (workers <= 1)
    for (let seed = nextSeed(); seed !== null; seed = nextSeed()) over(await run(seeds, seed));
  else await Promise.all(Array.from({ length: workers }, () => runInThread(seeds.program, nextSeed, over)));
}

/** In a thread: runs what it is told, as long as the main thread lets it live. */
function serve<R extends SeedReport>(seeds: Seeds<R>): Promise<never> {
  parentPort?.on(
    "message",
    (seed: number) => void run(seeds, seed).then((report) => parentPort?.postMessage(report)),
  );
  return new Promise(() => undefined);
}

/** Resolves when there is no next seed. */
function runInThread<R>(
  program: string,
  nextSeed: () => number | null,
  over: (report: R) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(program), { argv: process.argv.slice(2) });
    const goOn = (): void => {
      const seed = nextSeed();
      if (seed === null) void worker.terminate().then(() => resolve());
      else worker.postMessage(seed);
    };
    worker.on("error", reject);
    worker.on("message", (report: R) => {
      over(report);
      goOn();
    });
    goOn();
  });
}

async function run<R extends SeedReport>(seeds: Seeds<R>, seed: number): Promise<R> {
  try {
    const report = await seeds.run(seed);
    if (!seeds.twice) return report;
    const again = await seeds.run(seed);
    if (again.traceHash === report.traceHash) return report;
    return { ...report, violations: [`two runs differ: ${report.traceHash} and ${again.traceHash}`] };
  } catch (cause) {
    console.error(cause);
    console.error(`✗ ${String(cause)}`);
    console.error(replayLine(seeds, seed));
    throw cause;
  }
}

function fail<R extends SeedReport>(seeds: Seeds<R>, { seed, violations, trace }: R): never {
  if (seeds.showsTrace) console.error(trace.join("\n"));
  for (const violation of violations.slice(0, violationsTold))
    console.error(`✗ ${violation.replace(/x{9,}/g, "x…").slice(0, violationChars)}`);
  console.error(replayLine(seeds, seed));
  console.error(`Without this world: ${seeds.describe()}`);
  process.exit(1);
}

const replayLine = <R extends SeedReport>({ replay }: Seeds<R>, seed: number): string =>
  `seed ${seed} failed; replay: ${replay(seed)}`;

/** The sums of what worlds count. */
export class Totals<Name extends string> {
  readonly #sums = new Map<Name, number>();
  worlds = 0;

  add(counts: { readonly [name in Name]: number }): void {
    this.worlds++;
    for (const [name, count] of Object.entries(counts) as [Name, number][])
      this.#sums.set(name, this.of(name) + count);
  }

  of(name: Name): number {
    return this.#sums.get(name) ?? 0;
  }
}
