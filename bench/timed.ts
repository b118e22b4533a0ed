/**
 * A client program that writes or reads for a time. It says "measuring" when its clock starts and one line of
 * JSON when it ends, and the broker's CPU time is read at these two moments: rate and cost are of the same
 * window, and neither the client's start nor what is under way at its end counts.
 */
import { start, useOf } from "../tools/processes.ts";

export interface ClientSaid {
  readonly records: number;
  readonly seconds: number;
  readonly mbPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of an average batch on the wire, 0 where the client does not tell. */
  readonly batchKb: number;
}

export interface TimedRun {
  readonly said: readonly ClientSaid[];
  /** Of the watched process within the window. */
  readonly cpuSeconds: number;
  /** Nothing was acknowledged for so long that the client was ended; the rate counts that time. */
  readonly wasCut: boolean;
}

export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs the same program in several processes at a time; the window is from the first start to the last end. */
export async function runTimed(
  program: Program,
  processCount: number,
  watchedPid: number,
  timeoutMs: number,
): Promise<TimedRun> {
  let cpuBegun: number | undefined;
  let cpuEnded = 0;
  const runOne = async (): Promise<ClientSaid> => {
    let said: ClientSaid | undefined;
    const process = start(program.command, program.args, {
      timeoutMs,
      ...(program.env === undefined ? {} : { env: program.env }),
      onLine: (line) => {
        if (line === "measuring") cpuBegun ??= useOf(watchedPid).cpuSeconds;
        if (!line.startsWith("{")) return;
        said = JSON.parse(line) as ClientSaid;
        cpuEnded = useOf(watchedPid).cpuSeconds;
      },
    });
    const ended = await process.ended;
    if (said === undefined || ended.code !== 0)
      throw new Error(`${program.args.join(" ")} ended with ${ended.code}\n${ended.stderr.slice(-4000)}`);
    return said;
  };
  const cpuAtStart = useOf(watchedPid).cpuSeconds;
  const said = await Promise.all(Array.from({ length: processCount }, runOne));
  return {
    said,
    cpuSeconds: cpuEnded - (cpuBegun ?? cpuAtStart),
    wasCut: said.some(({ records }) => records === 0),
  };
}
