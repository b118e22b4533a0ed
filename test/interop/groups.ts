/**
 * Plays a story to a consumer group: a broker and the members as processes, records written all the while by
 * our own producer, events as the story tells them, and at the end everything committed. What the members print
 * and the broker says is judged; the broker's own end counts as well.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "../../src/entry/client.ts";
import { type Broker, type BrokerKind, isHoldfast, startBroker } from "../../tools/brokers.ts";
import { Cast } from "./cast.ts";
import { type GroupCounts, GroupJudge } from "./group-judge.ts";
import type { GroupEvent, GroupStory } from "./group-story.ts";
import { writing } from "./input.ts";
import type { GroupProtocol, Member } from "./members.ts";

export interface GroupPlay {
  readonly member: Member;
  readonly protocol: GroupProtocol;
  readonly story: GroupStory;
  readonly target: BrokerKind;
  /** An empty directory. */
  readonly directory: string;
  readonly sessionMs: number;
  readonly pauseMs: number;
  readonly recordsPerSecond: number;
  /** How long everything may take to be committed at the end. */
  readonly drainMs: number;
}

export interface GroupOutcome extends GroupCounts {
  readonly violations: readonly string[];
  readonly seconds: number;
}

const partitionCount = 16;
const topic = "records";
const group = "workers";
/** So often the broker is asked, and so long lines may take from a member's pipe to here. */
const askMs = 400;
const moreMs = 3_000;
/** A broker that is killed is there again within this. */
const sendMs = 60_000;

export async function playGroup(play: GroupPlay): Promise<GroupOutcome> {
  const begun = performance.now();
  const broker = await startBroker(play.target, {
    directory: play.directory,
    settings: shortSessions(play.target, play.sessionMs),
  });
  const judge = new GroupJudge(partitionCount, play.member.aheadMax);
  const faults: string[] = [];
  const cast = castOf(play, broker.address, judge, faults);
  try {
    await perform(play, broker, cast, judge, faults);
  } finally {
    cast.dismiss();
    await broker.dismiss();
  }
  return {
    ...judge.counts,
    violations: [...faults, ...judge.violations],
    seconds: Math.round(performance.now() - begun) / 1000,
  };
}

async function perform(
  play: GroupPlay,
  broker: Broker,
  cast: Cast,
  judge: GroupJudge,
  faults: string[],
): Promise<void> {
  await using client = createClient({ bootstrap: broker.address });
  const admin = client.admin();
  await admin.createTopic({ topic, partitions: partitionCount });
  const watch = watching(judge, () => admin.listGroupOffsets(group));
  const producer = client.producer({ lingerMs: 5, deliveryTimeoutMs: sendMs });
  const load = writing(producer, topic, partitionCount, play.recordsPerSecond);
  // Nobody writes or asks on after a play that failed: the process would not end.
  using _ended = {
    [Symbol.dispose]: () => {
      load.stop();
      watch.stop();
    },
  };
  for (const { afterMs, event } of play.story) {
    await sleep(afterMs);
    await happen(event, play, broker, cast);
  }
  await cast.resumed();
  const ends = await load.end();
  const deadline = performance.now() + play.drainMs;
  const missing = (): string[] =>
    ends.flatMap((end, partition) => {
      const committed = watch.committed(partition);
      return committed === end ? [] : [`${partition}: ${committed} of ${end}`];
    });
  let nextMs = performance.now() + moreMs;
  while (missing().length > 0 && cast.isWorking && performance.now() < deadline) {
    await sleep(100);
    if (performance.now() < nextMs) continue;
    // A commit that was refused in a rebalance is made up for by the next one, which needs a record.
    await load.more();
    nextMs = performance.now() + moreMs;
  }
  if (missing().length > 0) {
    const why = cast.isWorking ? `after ${play.drainMs} ms` : "and no member is left";
    faults.push(`not everything is committed ${why}: partition ${missing().join(", ")}`);
  }
  await cast.end();
  await watch.end();
  judge.finish(ends);
  await client.close();
  const ended = await broker.stop();
  if (isHoldfast(play.target) && ended.code !== 0) {
    faults.push(`the broker ended with ${ended.code ?? ended.signal}: ${ended.stderr.slice(-2000)}`);
  }
}

async function happen(
  event: GroupEvent,
  { member, protocol }: GroupPlay,
  broker: Broker,
  cast: Cast,
): Promise<void> {
  if (event.kind === "broker") {
    await broker.kill();
    await broker.start();
    return;
  }
  const spared = member.spared[protocol];
  const kind = spared?.event === event.kind ? spared.instead : event.kind;
  if (kind === "join") await cast.join(event.member);
  else if (kind === "leave") cast.leave(event.member);
  else if (kind === "kill") cast.kill(event.member);
  else cast.pause(event.member);
}

function castOf(play: GroupPlay, address: string, judge: GroupJudge, faults: string[]): Cast {
  const { member: of, protocol, sessionMs, pauseMs } = play;
  return new Cast({
    command: (member) =>
      of.command({
        address,
        topic,
        group,
        protocol,
        commits: member % 2 === 0 ? "sync" : "async",
        sessionMs,
      }),
    hear: (member, line) => judge.line(member, line),
    fault: (fault) => faults.push(fault),
    tellsLeaving: of.tellsLeaving,
    pauseMs,
  });
}

/** Short sessions, so that a dead member is missed soon; the members of KIP-848 are told theirs by the broker. */
export function shortSessions(target: BrokerKind, sessionMs: number): string[] {
  const settings = {
    "group.min.session.timeout.ms": 1_000,
    "group.initial.rebalance.delay.ms": 200,
    "group.consumer.session.timeout.ms": sessionMs,
    "group.consumer.heartbeat.interval.ms": sessionMs / 10,
    ...(isHoldfast(target)
      ? {}
      : {
          "group.consumer.min.session.timeout.ms": 1_000,
          "group.consumer.min.heartbeat.interval.ms": 100,
          "offsets.topic.num.partitions": 4,
        }),
  };
  return Object.entries(settings).flatMap(([name, value]) =>
    isHoldfast(target) ? ["--set", `${name}=${value}`] : [`${name}=${value}`],
  );
}

/** Asks for what is committed again and again, and lets it be judged when the lines from before have arrived. */
function watching(
  judge: GroupJudge,
  ask: () => Promise<readonly { readonly partition: number; readonly offset: number }[]>,
): { committed(partition: number): number; stop(): void; end(): Promise<void> } {
  const newest = new Map<number, number>();
  let isEnding = false;
  const work = (async () => {
    while (!isEnding) {
      const mark = judge.mark();
      await sleep(askMs);
      judge.settle(mark);
      try {
        const committed = await ask();
        judge.asked(committed);
        for (const { partition, offset } of committed) newest.set(partition, offset);
      } catch {
        // The broker is being started again.
      }
    }
  })();
  return {
    committed: (partition) => newest.get(partition) ?? 0,
    stop: () => {
      isEnding = true;
    },
    end: async () => {
      isEnding = true;
      await work;
    },
  };
}
