/**
 * Plays a story to a group of copiers: records arrive in a topic, the group copies them to another one in
 * transactions, and copiers and broker are killed as the story tells. Somebody reads the copy meanwhile, and
 * another client when all is over; both must see every record once.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, createClient } from "../../src/entry/client.ts";
import { type Broker, type BrokerKind, isHoldfast, startBroker } from "../../tools/brokers.ts";
import { type Running, start } from "../../tools/processes.ts";
import { Cast } from "./cast.ts";
import type { Copier } from "./copiers.ts";
import { type CopyCounts, CopyJudge, CopyRead } from "./copy-judge.ts";
import type { Follower } from "./followers.ts";
import type { GroupEvent, GroupStory } from "./group-story.ts";
import { shortSessions } from "./groups.ts";
import { writing } from "./input.ts";

export interface CopyPlay {
  readonly copier: Copier;
  readonly story: GroupStory;
  readonly target: BrokerKind;
  /** An empty directory. */
  readonly directory: string;
  readonly sessionMs: number;
  /** Of a transaction; a paused copier sleeps longer. */
  readonly timeoutMs: number;
  readonly pauseMs: number;
  readonly recordsPerSecond: number;
  readonly recordsMax: number;
  /** How long everything may take to be copied at the end. */
  readonly drainMs: number;
  /** Who reads while the story is played, and who at its end. */
  readonly during: Follower;
  readonly after: Follower;
  /** Told what happens and what copiers print. */
  readonly tell: ((line: string) => void) | undefined;
}

export interface CopyOutcome extends CopyCounts {
  readonly violations: readonly string[];
  /** Of the input. */
  readonly records: number;
  /** That the output holds of transactions that were not committed. */
  readonly hidden: number;
  readonly seconds: number;
}

const partitionCount = 8;
const [input, output, group] = ["orders", "copies", "copiers"];
const askMs = 400;
/** A broker that is killed is there again within this. */
const sendMs = 60_000;
const readMs = 60_000;
/** Whoever has read all may read more than that. */
const extraMs = 1_000;
/**
 * With several brokers, as with Apache Kafka, a commit is answered when its intention is durable, and markers may wait
 * for the next owner of a partition.
 */
const markersMs = 20_000;

export async function playCopy(play: CopyPlay): Promise<CopyOutcome> {
  const begun = performance.now();
  const { copier, target, directory, sessionMs, timeoutMs, pauseMs } = play;
  const broker = await startBroker(target, { directory, settings: settingsOf(play) });
  const judge = new CopyJudge(partitionCount);
  const ids = new TransactionalIds();
  const cast = new Cast({
    command: (member) =>
      copier.command({
        address: broker.address,
        input,
        output,
        group,
        protocol: copier.protocol,
        transactionalId: ids.of(member),
        sessionMs,
        timeoutMs,
      }),
    hear: (member, line) => {
      play.tell?.(`${member} ${line}`);
      judge.line(member, line);
    },
    fault: (fault) => judge.accuse(fault),
    tellsLeaving: true,
    pauseMs,
  });
  try {
    const { records, hidden } = await perform(play, broker, cast, judge, ids);
    const seconds = Math.round(performance.now() - begun) / 1000;
    return { ...judge.counts, violations: judge.violations, records, hidden, seconds };
  } finally {
    cast.dismiss();
    await broker.dismiss();
  }
}

async function perform(
  play: CopyPlay,
  broker: Broker,
  cast: Cast,
  judge: CopyJudge,
  ids: TransactionalIds,
): Promise<{ records: number; hidden: number }> {
  await using client = createClient({ bootstrap: broker.address });
  for (const topic of [input, output])
    await client.admin().createTopic({ topic, partitions: partitionCount });
  const during = await following(play.during, broker.address, judge);
  const watch = watching(client, judge, play.target.startsWith("cluster") ? markersMs : 0);
  const producer = client.producer({ lingerMs: 5, deliveryTimeoutMs: sendMs });
  const load = writing(producer, input, partitionCount, play.recordsPerSecond, play.recordsMax);
  try {
    for (const { afterMs, event } of play.story) {
      await sleep(afterMs);
      play.tell?.(JSON.stringify(event));
      await happen(event, broker, cast, ids);
    }
    await cast.resumed();
    const ends = await load.end();
    const records = ends.reduce((sum, end) => sum + end, 0);
    await copied(play, cast, judge, () => watch.missing(ends));
    await cast.end();
    await watch.end();
    await during.hasRead(ends);
    const after = await following(play.after, broker.address, judge);
    await after.hasRead(ends);
    const written = await countOf(client, output);
    const ended = await broker.stop();
    if (isHoldfast(play.target) && ended.code !== 0) {
      judge.accuse(`the broker ended with ${ended.code ?? ended.signal}: ${ended.stderr.slice(-2000)}`);
    }
    return { records, hidden: written - records };
  } finally {
    load.stop();
    watch.stop();
    during.stop();
  }
}

/** Waits until the group has committed everything. */
async function copied(
  { drainMs }: CopyPlay,
  cast: Cast,
  judge: CopyJudge,
  missing: () => readonly string[],
): Promise<void> {
  const deadline = performance.now() + drainMs;
  while (missing().length > 0 && cast.isWorking && performance.now() < deadline) await sleep(100);
  if (missing().length === 0) return;
  const why = cast.isWorking ? `after ${drainMs} ms` : "and no copier is left";
  judge.accuse(`not everything is committed ${why}: partition ${missing().join(", ")}`);
}

async function happen(event: GroupEvent, broker: Broker, cast: Cast, ids: TransactionalIds): Promise<void> {
  switch (event.kind) {
    case "broker":
      await broker.kill();
      await broker.start();
      return;
    case "join":
      await cast.join(event.member);
      return;
    case "leave":
      cast.leave(event.member);
      return;
    case "kill":
      cast.kill(event.member);
      ids.free(event.member);
      return;
    case "pause":
      cast.pause(event.member);
  }
}

/** Whoever joins takes over the transactional id of one that was killed, and with it an open transaction. */
class TransactionalIds {
  readonly #members = new Map<number, number>();

  of(member: number): string {
    const taken = new Set(this.#members.values());
    let free = 0;
    while (taken.has(free)) free += 1;
    this.#members.set(member, free);
    return `copier-${free}`;
  }

  free(member: number): void {
    this.#members.delete(member);
  }
}

function settingsOf({ target, sessionMs }: CopyPlay): string[] {
  const settings = shortSessions(target, sessionMs);
  if (isHoldfast(target)) return settings;
  return [
    ...settings,
    "transaction.state.log.num.partitions=4",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
  ];
}

/** Starts a reader of the output. */
async function following(
  follower: Follower,
  address: string,
  judge: CopyJudge,
): Promise<{ hasRead(ends: readonly number[]): Promise<void>; stop(): void }> {
  const { command, env } = await follower.command(address, output);
  const [program, ...args] = command;
  const read = new CopyRead(judge, follower.client, partitionCount);
  const running: Running = start(program, args, {
    ...(env === undefined ? {} : { env }),
    onLine: (line) => read.line(line),
  });
  let isAsked = false;
  const stop = (): void => {
    isAsked = true;
    running.signal("SIGKILL");
  };
  void running.ended.then(({ code, signal, stderr }) => {
    if (!isAsked) judge.accuse(`${follower.client} ended with ${code ?? signal}: ${stderr.slice(-1500)}`);
  });
  return {
    stop,
    /** Gives it time to read all, and what must not be there. */
    hasRead: async (ends) => {
      const records = ends.reduce((sum, end) => sum + end, 0);
      const deadline = performance.now() + readMs;
      while (read.count < records && running.isRunning() && performance.now() < deadline) await sleep(50);
      await sleep(extraMs);
      stop();
      await running.ended;
      read.finish(ends);
    },
  };
}

/** Asks what the group has committed, again and again; a commit may take `lateMs` to be seen. */
function watching(
  client: Client,
  judge: CopyJudge,
  lateMs: number,
): { missing(ends: readonly number[]): string[]; stop(): void; end(): Promise<void> } {
  const admin = client.admin();
  const newest = new Map<number, number>();
  let isEnding = false;
  const marks: { readonly atMs: number; readonly mark: number }[] = [];
  const settle = (): void => {
    const nowMs = performance.now();
    marks.push({ atMs: nowMs, mark: judge.mark() });
    while (marks[0] !== undefined && marks[0].atMs + lateMs <= nowMs) judge.settle(marks.shift()?.mark);
  };
  const ask = async (): Promise<void> => {
    try {
      const committed = await admin.listGroupOffsets(group);
      judge.asked(committed);
      for (const { partition, offset } of committed) newest.set(partition, offset);
    } catch {
      // The broker is being started again.
    }
  };
  const work = (async () => {
    while (!isEnding) {
      settle();
      await ask();
      await sleep(askMs);
    }
  })();
  return {
    missing: (ends) =>
      ends.flatMap((end, partition) => {
        const committed = newest.get(partition) ?? 0;
        return committed === end ? [] : [`${partition}: ${committed} of ${end}`];
      }),
    stop: () => {
      isEnding = true;
    },
    end: async () => {
      isEnding = true;
      await work;
      judge.settle();
      await ask();
    },
  };
}

/** Records of a topic, whether committed or not. */
async function countOf(client: Client, topic: string): Promise<number> {
  let count = 0;
  const consumer = client.consumer({ topic, from: "start", until: "end", isolation: "uncommitted" });
  for await (const { records } of consumer.batches()) count += records.length;
  return count;
}
