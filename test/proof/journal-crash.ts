/**
 * The journal over a directory: the power fails, or the process is killed, at every moment of a life with
 * several chapters, and every disk call fails once, with each error. Every command that was answered is in
 * the journal of the next start with that answer, none has effect twice, what the journal refers to is
 * there, a full disk is told as such and mended by trying again, and any other failure closes the journal.
 */
import type { Env } from "../../src/base/ports.ts";
import { DiskError, HoldfastError } from "../../src/base/errors.ts";
import { sha256 } from "../../src/io/sha256.ts";
import type { Command } from "../../src/metadata/commands.ts";
import { JournalClosedError } from "../../src/metadata/errors.ts";
import { Journal } from "../../src/metadata/journal.ts";
import { SimDisk } from "../../src/sim/disk.ts";
import { Violation } from "./journal-truth.ts";
import { aBroker, aFlush, aFlushRow, aSegment, aTopic, aTopicId, aWorld } from "./journal-world.ts";
import { keptSubsets, openStore, type StoreMaker } from "./store-crash.ts";

export interface JournalCrashOptions {
  readonly sample: boolean;
  /** A deliberate mistake: the segment is published before its put is known durable. */
  readonly publishEarly?: boolean;
  /** A deliberate mistake in the store. */
  readonly variant?: StoreMaker;
}

interface Truth {
  /** Names of topics whose command was answered as applied. */
  readonly topics: Set<string>;
  /** Names of topics whose command was refused for certain: by a full disk, and not tried again. */
  readonly refused: Set<string>;
  producerIds: number;
  flushed: number;
  closed: boolean;
}

const aTruth = (): Truth => ({
  topics: new Set(),
  refused: new Set(),
  producerIds: 0,
  flushed: 0,
  closed: false,
});
const copyOf = (truth: Truth): Truth => ({
  ...truth,
  topics: new Set(truth.topics),
  refused: new Set(truth.refused),
});

export async function run(
  options: JournalCrashOptions,
): Promise<{ readonly name: string; readonly counts: { readonly [name: string]: number } }> {
  const counts = { moments: 0, crashes: 0, kills: 0, "failed calls": 0, "full disks survived": 0 };
  if (options.publishEarly !== true) await failEveryCall(options, counts);
  await crashEverywhere(options, counts);
  return { name: "power loss, kill and failing calls under the journal", counts };
}

async function crashEverywhere(
  options: JournalCrashOptions,
  counts: { moments: number; crashes: number; kills: number },
): Promise<void> {
  const disk = new SimDisk();
  const truth = aTruth();
  const moments: { disk: SimDisk; truth: Truth }[] = [];
  const note = () => moments.push({ disk: disk.clone(), truth: copyOf(truth) });
  disk.onStep = note;
  await live(disk, truth, { ...options, note });
  for (const [index, moment] of moments.entries()) {
    if (options.sample && index % 23 !== 0 && index < moments.length - 2) continue;
    counts.moments++;
    const where = `moment ${index}`;
    for (const keep of keptSubsets(moment.disk.pending().length, options.sample ? 3 : 8)) {
      counts.crashes++;
      const after = moment.disk.clone();
      after.crash((_, at) => keep(at));
      await judge(after, moment.truth, `${where}, power loss`);
    }
    counts.kills++;
    const killed = moment.disk.clone();
    killed.kill();
    await judge(killed, moment.truth, `${where}, kill`);
    killed.crash(() => false);
    await judge(killed, moment.truth, `${where}, kill and then power loss`);
  }
}

async function failEveryCall(
  options: JournalCrashOptions,
  counts: { "failed calls": number; "full disks survived": number },
): Promise<void> {
  const measure = new SimDisk();
  await live(measure, aTruth(), options);
  const errors = ["EIO", "ENOSPC"] as const;
  for (let failing = 0; failing < measure.calls; failing += options.sample ? 11 : 1) {
    for (const errno of errors) {
      const disk = new SimDisk();
      disk.fault = ({ number }) => (number === failing ? { kind: "error", errno } : undefined);
      const truth = aTruth();
      await live(disk, truth, options);
      counts["failed calls"]++;
      if (!truth.closed && errno === "ENOSPC") counts["full disks survived"]++;
      for (const keep of [() => true, () => false]) {
        const after = disk.clone();
        after.crash(keep);
        await judge(after, truth, `call ${failing} failed with ${errno}`);
      }
    }
  }
}

/** A store, a journal, commands; what was answered goes into the truth. Ends early when something fails. */
function live(
  disk: SimDisk,
  truth: Truth,
  options: JournalCrashOptions & { readonly note?: () => void },
): Promise<void> {
  const { env, scheduler } = aWorld();
  return scheduler.runUntil(liveIn(env, disk, truth, options));
}

async function liveIn(
  env: Env,
  disk: SimDisk,
  truth: Truth,
  options: JournalCrashOptions & { readonly note?: () => void },
): Promise<void> {
  const note = options.note ?? (() => undefined);
  try {
    const store = await (options.variant ?? openStore)(disk);
    const journal = await Journal.open({ store, env, sha256, walKind: "file", chapterSlots: 3 });
    const epoch = await journal.register(aBroker);
    const give = async (command: Command): Promise<boolean> => {
      const outcome = await untilSpace(() => journal.append(command));
      return outcome.kind === "applied";
    };
    for (let number = 1; number <= 4; number++) {
      const together = [aTopic(number * 10, epoch), aTopic(number * 10 + 1, epoch)];
      await Promise.all(
        together.map(async (topic) => {
          if (await give(topic)) truth.topics.add(topic.name);
          note();
        }),
      );
      if (number === 1 && (await give(aTopic(1, epoch)))) truth.topics.add("topic-1");
      const from = truth.flushed;
      const segment = aSegment(from, from + 10, `seg/1/${number}`);
      const putting = untilSpace(() =>
        store.putIfAbsent(segment.object, [new Uint8Array(500).fill(number)], 500),
      );
      if (options.publishEarly !== true) await putting;
      if (
        await give(aFlush([aFlushRow({ topic: aTopicId(1), from, to: from + 10, segment })], number, number))
      ) {
        truth.flushed += 10;
      }
      note();
      await putting;
      truth.producerIds += (await untilSpace(() => journal.takeProducerIds()))?.count ?? 0;
      note();
    }
    await journal.close();
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    truth.closed = true;
  }
}

async function untilSpace<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (
        error instanceof JournalClosedError ||
        !(error instanceof DiskError) ||
        !error.retriable ||
        tries > 3
      ) {
        throw error;
      }
    }
  }
}

function judge(disk: SimDisk, truth: Truth, where: string): Promise<void> {
  const { env, scheduler } = aWorld(2);
  return scheduler.runUntil(judgeIn(env, disk, truth, where));
}

async function judgeIn(env: Env, disk: SimDisk, truth: Truth, where: string): Promise<void> {
  const store = await openStore(disk);
  let journal;
  try {
    journal = await Journal.open({ store, env, sha256, walKind: "file", chapterSlots: 3 });
    await journal.register(aBroker);
  } catch (error) {
    throw new Violation(`${where}: the next start fails: ${String(error)}`, { cause: error });
  }
  const { state } = journal;
  const found = [...state.topics.values()].map(({ name }) => name);
  for (const name of truth.topics) {
    if (!found.includes(name)) throw new Violation(`${where}: ${name} was answered and is gone`);
  }
  if (state.nextProducerId < truth.producerIds || state.nextProducerId > truth.producerIds + 1_000) {
    throw new Violation(
      `${where}: ${truth.producerIds} producer ids were given, next is ${state.nextProducerId}`,
    );
  }
  const partition = state.topics.get(aTopicId(1))?.partitions[0];
  const flushed = partition?.flushed ?? 0;
  if (flushed < truth.flushed || flushed > truth.flushed + 10) {
    throw new Violation(`${where}: flushed to ${truth.flushed}, the journal says ${flushed}`);
  }
  for (const { object } of partition?.recent ?? []) {
    if ((await store.get(object))?.byteLength !== 500) {
      throw new Violation(`${where}: the journal refers to ${object}, which is not there`);
    }
  }
  await journal.close();
}
