/**
 * `holdfast bucket check`: tries whether a store does what records rest on. Writes a few dozen objects under `probe/`
 * and takes them away; touches nothing else. Ends with 1 when something is wrong or can lose records, or when it
 * could not be found out.
 */
import { existsSync, readdirSync, rmdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { RefusedError } from "../../base/errors.ts";
import type { ObjectStore } from "../../base/ports.ts";
import { systemClock } from "../../io/clock.ts";
import { openDisk } from "../../io/disk.ts";
import { openMeter } from "../../io/meter.ts";
import { systemRandom } from "../../io/random.ts";
import { BucketError } from "../../io/s3/bucket-error.ts";
import type { AddressStyle } from "../../io/s3/location.ts";
import { openS3Store } from "../../io/s3/open.ts";
import { probeBucket } from "../../io/s3/probe.ts";
import { DirectoryStore } from "../../store/directory-store.ts";
import { probeStore, type ProbeOptions, type ProbeVerdict } from "../../store/probe.ts";
import type { Invocation } from "../declare.ts";
import { statuses } from "../doctor/verdict.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { paintFor } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

export interface BucketCheckOptions {
  readonly endpoint?: string;
  readonly region?: string;
  readonly style?: AddressStyle;
  readonly json?: boolean;
  /** For tests: how much is tried. */
  readonly probe?: Pick<ProbeOptions, "rounds" | "largeBytes" | "trialMs">;
}

/** As many views of a directory as race for a name. */
const writersMax = 16;

const colors = { ok: "green", note: "cyan", unknown: "yellow", risk: "red", wrong: "red" } as const;
const wordWidth = Math.max(...Object.values(statuses).map(({ word }) => word.length));

export async function bucketCheck({
  terminal,
  args,
  options,
}: Invocation<BucketCheckOptions>): Promise<ExitCode> {
  const [name = ""] = args;
  const paint = paintFor(terminal.stdout, terminal.env);
  let failed = 0;
  let unknown = 0;
  for await (const verdict of verdictsOf(name, options, terminal.env)) {
    const { status, about, text } = verdict;
    if (about === "access" || verdict.facts?.["timedOut"] === true) unknown++;
    else if (statuses[status].fails) failed++;
    const { word } = statuses[status];
    await terminal.stdout.write(
      options.json === true
        ? `${JSON.stringify(verdict)}\n`
        : `${paint(colors[status], word.padEnd(wordWidth))}  ${about}: ${text}\n`,
    );
  }
  const isSound = failed + unknown === 0;
  if (options.json !== true) await terminal.stdout.write(`\n${summary(name, failed, unknown)}\n`);
  return isSound ? exitCodes.done.code : exitCodes.failed.code;
}

function summary(name: string, failed: number, unknown: number): string {
  if (failed > 0) return `${name} must not keep records as it is.`;
  return unknown > 0 ? `${name} could not be tried.` : `${name} does what records need.`;
}

async function* verdictsOf(
  name: string,
  options: BucketCheckOptions,
  env: { readonly [name: string]: string | undefined },
): AsyncGenerator<ProbeVerdict, void, void> {
  if (name.startsWith("file:")) return yield* ofDirectory(name.slice("file:".length), options);
  if (!name.startsWith("s3:")) {
    throw new UsageError(`"${name}" names no store: write s3://BUCKET/PREFIX or file:DIR.`);
  }
  const { endpoint, region, style } = options;
  const ports = { clock: systemClock, random: systemRandom(), log: silent, meter: openMeter() };
  const store = await openS3Store(name, { endpoint, region, style }, env, ports);
  try {
    yield* probeBucket(store, ports, options.probe ?? {});
  } catch (error) {
    if (!(error instanceof BucketError)) throw error;
    yield { status: "wrong", about: "access", text: error.message, facts: { trouble: error.trouble } };
  } finally {
    store.close();
  }
}

const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

async function* ofDirectory(
  path: string,
  options: BucketCheckOptions,
): AsyncGenerator<ProbeVerdict, void, void> {
  const directory = resolve(path);
  if (!existsSync(directory)) {
    throw new RefusedError(`${directory} does not exist: make it, or name another directory.`);
  }
  const ports = { clock: systemClock, random: systemRandom() };
  // In a directory of its own: what is there already is neither read nor touched.
  const own = `.holdfast-check-${process.pid}`;
  const disk = openDisk(directory);
  const stores: DirectoryStore[] = [];
  for (let at = 0; at < writersMax; at++) {
    stores.push(await DirectoryStore.open(disk, { directory: own, random: ports.random, shared: true }));
  }
  try {
    yield* probeStore({ store: asOne(stores), ...ports, ...options.probe });
  } finally {
    for (const store of stores) store.close();
    removeEmpty(join(directory, own));
  }
}

/** One store keeps its own creations apart; a race between several is one of the file system. */
function asOne(stores: readonly DirectoryStore[]): ObjectStore {
  let turn = 0;
  const next = (): DirectoryStore => stores[turn++ % stores.length] as DirectoryStore;
  return {
    get: (key, range, into) => next().get(key, range, into),
    putIfAbsent: (key, chunks, length) => next().putIfAbsent(key, chunks, length),
    list: (prefix) => next().list(prefix),
    delete: (key) => next().delete(key),
  };
}

/** What the probe took away leaves directories. */
function removeEmpty(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) removeEmpty(join(directory, entry.name));
  }
  if (readdirSync(directory).length === 0) rmdirSync(directory);
}
