/**
 * What other people's clients, tools and test suites did against this broker: the shape of
 * `docs/compatibility-results.json`, and where runs of `test/interop` and `test/conformance` leave the newest
 * results.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface InteropResults {
  /** sample or full. */
  readonly scale: string;
  readonly results: readonly InteropResult[];
}

export interface InteropResult {
  readonly client: string;
  readonly version: string;
  readonly language: string;
  /** What the reader of the table must know beside it, as a sentence. */
  readonly remark?: string;
  /** The broker: holdfast or kafka. */
  readonly target: string;
  /**
   * An exchange of the data set, a newcomer's first steps, what an operator does with Kafka's own tools, work in
   * consumer groups and in share groups, what these tools say here and of Apache Kafka, a case of the client's own test suite, copying in transactions, or
   * what one of Kafka's frameworks did (test/conformance).
   */
  readonly kind:
    | "write"
    | "read"
    | "tour"
    | "admin"
    | "groups"
    | "shares"
    | "transactions"
    | "same"
    | "suite"
    | "framework";
  /** Of an exchange, the client that wrote; else what was done. */
  readonly what: string;
  /** The broker got `kill -9` half-way and was started again. */
  readonly killed: boolean;
  readonly passed: boolean;
  /** A case of a suite that does not run here, with the suite's own reason. */
  readonly skipped?: string;
  readonly seconds: number;
  /** When it ended, and what was tested. */
  readonly at: string;
  readonly commit: string;
  /** Why it did not pass. */
  readonly failure?: string;
  /** Of what was written. */
  readonly recordCount?: number;
  readonly valueBytes?: number;
  readonly codecs?: readonly string[];
}

export const resultsPath = "docs/compatibility-results.json";
/** Of three brokers. */
export const clusterResultsPath = "docs/compatibility-results-cluster.json";

const kept = join(".cache", "interop", "results");

/** Puts results in the place of older ones of the same cases, in a file of its own; others of another scale go. */
export function keepNewest(file: string, { scale, results }: InteropResults): void {
  const path = join(kept, `${file}.json`);
  const known = existsSync(path) ? read(path) : undefined;
  const newest = new Map(
    (known?.scale === scale ? known.results : []).map((each) => [caseOf(each), each] as const),
  );
  for (const result of results) newest.set(caseOf(result), result);
  mkdirSync(kept, { recursive: true });
  writeFileSync(path, `${JSON.stringify({ scale, results: [...newest.values()] }, undefined, 2)}\n`);
}

function caseOf({ client, version, target, kind, what }: InteropResult): string {
  return [target, kind, client, version, what].join(" · ");
}

/** What was tested; "unknown" outside a clone. */
export function testedCommit(): string {
  try {
    return execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" }).trim();
  } catch {
    return "unknown";
  }
}

/**
 * Puts the newest results in the place of published ones, of the published scale: of one broker all of a kind, of
 * three brokers each case.
 */
export function takeResults(): void {
  const published = read(resultsPath);
  const taken = newestOf(published.scale).filter(({ target }) => !isCluster(target));
  const kinds = new Set(taken.map(({ kind }) => kind));
  write(resultsPath, {
    scale: published.scale,
    results: [...published.results.filter(({ kind }) => !kinds.has(kind)), ...taken],
  });
  const { scale, results } = read(clusterResultsPath);
  const ofClusters = [...results, ...newestOf(scale).filter(({ target }) => isCluster(target))];
  write(clusterResultsPath, {
    scale,
    results: [...new Map(ofClusters.map((each) => [caseOf(each), each] as const)).values()],
  });
}

const isCluster = (target: string): boolean => target.startsWith("cluster");

function newestOf(scale: string): readonly InteropResult[] {
  const interop = join(".cache", "interop");
  const files = ["results.json", "results-cluster.json", "results-cluster-minio.json"].map((file) =>
    join(interop, file),
  );
  if (existsSync(kept)) for (const file of readdirSync(kept).toSorted()) files.push(join(kept, file));
  return files
    .filter((file) => existsSync(file))
    .map(read)
    .filter((of) => of.scale === scale)
    .flatMap(({ results }) => results);
}

function write(path: string, results: InteropResults): void {
  writeFileSync(path, `${JSON.stringify(results, undefined, 2)}\n`);
}

function read(path: string): InteropResults {
  return JSON.parse(readFileSync(path, "utf8")) as InteropResults;
}
