/** What a consumer can be told, with defaults and bounds; everything that can be wrong about it is said here, before a byte is sent. */
import type { LossReason } from "./consumer-errors.ts";
import { OptionError } from "./errors.ts";

/**
 * Where to begin: the first record that exists, behind the last one, at an offset, at the first record
 * that is not older than `timeMs` (ms since 1970), or `last` offsets before the end (of each partition).
 */
export type StartingPoint =
  | "start"
  | "end"
  | number
  | { readonly timeMs: number }
  | { readonly last: number };

/** One partition; the topic may be left out when the consumer reads only one. */
export interface PartitionRef {
  readonly topic?: string;
  readonly partition: number;
}

export interface Assignment {
  readonly topic: string;
  readonly partition: number;
  /** Default: the consumer's `from`. */
  readonly from?: StartingPoint;
}

/** Reading does not get on, and is tried again. */
export interface RetryNotice {
  /** What is tried, as "fetch from 127.0.0.1:9092". */
  readonly operation: string;
  readonly topic?: string;
  readonly partition?: number;
  /** Since the last success, in ms. */
  readonly failingMs: number;
  readonly attempts: number;
  readonly cause: Error;
}

/** Offsets [from, to) were not handed out, because the consumer was told to go on in such a case. */
export interface SkipNotice {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  readonly to: number;
  readonly reason: LossReason | "damaged";
}

export interface ConsumerOptions {
  /** All partitions of these topics, also those that are added later; or those that `partitions` names. */
  readonly topic?: string | readonly string[] | undefined;
  readonly partitions?: readonly number[] | undefined;
  /** Instead of `topic`: exactly these. */
  readonly assignment?: readonly Assignment[] | undefined;
  /** Default "start": nothing is passed over that was not asked to be. */
  readonly from?: StartingPoint | undefined;
  /** "end": stop, each partition at the end that it had when reading began. Default: go on for ever. */
  readonly until?: "end" | undefined;
  /** "committed" (default) leaves out what aborted transactions wrote, and waits for open ones. */
  readonly isolation?: "committed" | "uncommitted" | undefined;
  /** What to do when the records at the position are gone; "start" and "end" go on there and tell `onSkipped`. Default "error". */
  readonly onLostPosition?: "error" | "start" | "end" | undefined;
  /** What to do with records that cannot be read; "skip" tells `onSkipped`. Default "error". */
  readonly onDamage?: "error" | "skip" | undefined;
  readonly onSkipped?: ((notice: SkipNotice) => void) | undefined;
  /** Told once when something has failed for `retryNoticeMs`, and every `retryNoticeMs` from then on. */
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
  /** Default 5,000. */
  readonly retryNoticeMs?: number | undefined;
  /** Bytes that are read ahead, as they are stored (compressed). One batch at least is read, whatever its size. Default 32 MiB. */
  readonly prefetchBytesMax?: number | undefined;
  /** Bytes of one answer. Default 4 MiB. */
  readonly fetchBytesMax?: number | undefined;
  /** Bytes of one partition in one answer. Default 2 MiB. */
  readonly partitionBytesMax?: number | undefined;
  /** How long the broker may hold back an answer that has nothing to tell. Default 500. */
  readonly maxWaitMs?: number | undefined;
  /** How often to look for partitions that were added, in ms. Default 60,000. */
  readonly refreshMs?: number | undefined;
}

export interface ConsumerSettings {
  readonly topics: readonly string[];
  /** Null: all. */
  readonly partitions: readonly number[] | null;
  readonly assignment: readonly Assignment[] | null;
  readonly from: StartingPoint;
  readonly until: "end" | "never";
  readonly isolation: "committed" | "uncommitted";
  readonly onLostPosition: "error" | "start" | "end";
  readonly onDamage: "error" | "skip";
  readonly onSkipped: (notice: SkipNotice) => void;
  readonly onRetry: (notice: RetryNotice) => void;
  readonly retryNoticeMs: number;
  readonly prefetchBytesMax: number;
  readonly fetchBytesMax: number;
  readonly partitionBytesMax: number;
  readonly maxWaitMs: number;
  readonly refreshMs: number;
}

/** Throws `OptionError`. */
export function settingsOf(options: ConsumerOptions): ConsumerSettings {
  const from = options.from ?? "start";
  checkStartingPoint(from);
  const assignment = options.assignment ?? null;
  if (assignment !== null) checkAssignment(assignment, options);
  const topics =
    assignment === null ? topicList(options.topic) : [...new Set(assignment.map(({ topic }) => topic))];
  const partitions = options.partitions ?? null;
  if (partitions !== null && (topics.length !== 1 || partitions.length === 0)) {
    throw new OptionError(
      "partitions names at least one partition of one topic; for several topics use assignment.",
    );
  }
  for (const partition of partitions ?? []) checkPartition(partition);
  const prefetchBytesMax = bound("prefetchBytesMax", options.prefetchBytesMax, 32 << 20, 1024);
  const fetchBytesMax = bound("fetchBytesMax", options.fetchBytesMax, 4 << 20, 1024);
  const partitionBytesMax = bound("partitionBytesMax", options.partitionBytesMax, 2 << 20, 1024);
  const ignore = (): void => undefined;
  return {
    topics,
    partitions,
    assignment,
    from,
    until: options.until ?? "never",
    isolation: options.isolation ?? "committed",
    onLostPosition: options.onLostPosition ?? "error",
    onDamage: options.onDamage ?? "error",
    onSkipped: options.onSkipped ?? ignore,
    onRetry: options.onRetry ?? ignore,
    retryNoticeMs: bound("retryNoticeMs", options.retryNoticeMs, 5_000, 0),
    prefetchBytesMax,
    fetchBytesMax: Math.min(fetchBytesMax, prefetchBytesMax),
    partitionBytesMax: Math.min(partitionBytesMax, prefetchBytesMax),
    maxWaitMs: bound("maxWaitMs", options.maxWaitMs, 500, 0),
    refreshMs: bound("refreshMs", options.refreshMs, 60_000, 100),
  };
}

function topicList(topic: ConsumerOptions["topic"]): readonly string[] {
  const topics = typeof topic === "string" ? [topic] : [...new Set(topic)];
  if (topics.length === 0 || topics.includes("")) {
    throw new OptionError("A consumer needs a topic, several, or an assignment of partitions.");
  }
  return topics;
}

function checkAssignment(assignment: readonly Assignment[], options: ConsumerOptions): void {
  if (options.topic !== undefined || options.partitions !== undefined) {
    throw new OptionError("A consumer is given either topics or an assignment, not both.");
  }
  if (assignment.length === 0) throw new OptionError("The assignment names no partition.");
  const seen = new Set<string>();
  for (const { topic, partition, from } of assignment) {
    checkPartition(partition);
    if (from !== undefined) checkStartingPoint(from);
    const name = `${topic}/${partition}`;
    if (seen.has(name)) throw new OptionError(`${name} is assigned twice.`);
    seen.add(name);
  }
}

function checkPartition(partition: number): void {
  if (!Number.isInteger(partition) || partition < 0 || partition > 0x7fff_ffff) {
    throw new OptionError(`A partition is a number from 0 on, not ${String(partition)}.`);
  }
}

/** Throws `OptionError`. */
export function checkStartingPoint(from: StartingPoint): void {
  if (from === "start" || from === "end") return;
  const [what, value] =
    typeof from === "number"
      ? ["An offset", from]
      : "timeMs" in from
        ? ["timeMs", from.timeMs]
        : ["last", from.last];
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new OptionError(`${what} is a whole number from 0 on, not ${String(value)}.`);
  }
}

function bound(name: string, value: number | undefined, standard: number, min: number): number {
  if (value === undefined) return standard;
  if (!Number.isInteger(value) || value < min || value > 0x7fff_ffff) {
    throw new OptionError(`${name} is a whole number of at least ${min}, not ${String(value)}.`);
  }
  return value;
}
