/**
 * Plays a story to a share group: a broker and the members as processes, records written all the while by our own
 * producer, events as the story tells them, and at the end everything accepted. What the members print is judged;
 * the broker's own end counts as well.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "../../src/entry/client.ts";
import { type Broker, type BrokerKind, isHoldfast, startBroker } from "../../tools/brokers.ts";
import { Cast } from "./cast.ts";
import type { GroupEvent, GroupStory } from "./group-story.ts";
import { writing } from "./input.ts";
import { type ShareCounts, ShareJudge } from "./share-judge.ts";
import type { ShareMember, ShareMode } from "./share-members.ts";

export interface SharePlay {
  readonly member: ShareMember;
  /** By turns, of the members in the order of joining. */
  readonly modes: readonly ShareMode[];
  readonly story: GroupStory;
  readonly target: BrokerKind;
  /** An empty directory. */
  readonly directory: string;
  readonly lockMs: number;
  readonly pauseMs: number;
  readonly recordsPerSecond: number;
  /** How long everything may take to be accepted at the end. */
  readonly drainMs: number;
}

export interface ShareOutcome extends ShareCounts {
  readonly written: number;
  readonly violations: readonly string[];
  readonly seconds: number;
}

const partitionCount = 4;
const topic = "jobs";
const group = "workers";
export const deliveriesMax = 10;
/** What is given to a member that runs is printed within this, on a machine that is busy. */
const slackMs = 2_500;
/** A broker that is killed is there again within this. */
const sendMs = 60_000;
/** Lines of members may take so long after everything is accepted; what is given out wrongly then shows too. */
const quietMs = 3_000;

export async function playShareGroup(play: SharePlay): Promise<ShareOutcome> {
  const begun = performance.now();
  const settings = shareSettings(play.target, play.lockMs);
  const broker = await startBroker(play.target, { directory: play.directory, settings });
  const judge = new ShareJudge({ partitionCount, deliveriesMax, slackMs });
  const faults: string[] = [];
  const cast = castOf(play, broker.address, judge, faults);
  let written = 0;
  try {
    written = await perform(play, broker, cast, judge, faults);
  } finally {
    cast.dismiss();
    await broker.dismiss();
  }
  const seconds = Math.round(performance.now() - begun) / 1000;
  return { written, ...judge.counts, violations: [...faults, ...judge.violations], seconds };
}

async function perform(
  play: SharePlay,
  broker: Broker,
  cast: Cast,
  judge: ShareJudge,
  faults: string[],
): Promise<number> {
  await using client = createClient({ bootstrap: broker.address });
  const admin = client.admin();
  await admin.createTopic({ topic, partitions: partitionCount });
  // Records are written before the group has its first member.
  await admin.alterConfigs([{ group, set: { "share.auto.offset.reset": "earliest" } }]);
  const producer = client.producer({ lingerMs: 5, deliveryTimeoutMs: sendMs });
  const load = writing(producer, topic, partitionCount, play.recordsPerSecond);
  try {
    for (const { afterMs, event } of play.story) {
      await sleep(afterMs);
      await happen(event, play, broker, cast, judge);
    }
    await cast.resumed();
  } catch (cause) {
    load.stop();
    throw cause;
  }
  const ends = await load.end();
  const deadline = performance.now() + play.drainMs;
  while (judge.missing(ends) > 0 && cast.isWorking && performance.now() < deadline) await sleep(200);
  if (!cast.isWorking) faults.push("no member is left");
  await sleep(quietMs);
  await cast.end();
  judge.finish(ends);
  await client.close();
  const ended = await broker.stop();
  if (isHoldfast(play.target) && ended.code !== 0) {
    faults.push(`the broker ended with ${ended.code ?? ended.signal}: ${ended.stderr.slice(-2000)}`);
  }
  return ends.reduce((sum, end) => sum + end, 0);
}

async function happen(
  event: GroupEvent,
  { pauseMs }: SharePlay,
  broker: Broker,
  cast: Cast,
  judge: ShareJudge,
): Promise<void> {
  if (event.kind === "broker") {
    await broker.kill();
    await broker.start();
    return;
  }
  const { member } = event;
  if (event.kind === "join") await cast.join(member);
  else if (event.kind === "leave") cast.leave(member);
  else if (event.kind === "kill") cast.kill(member);
  else {
    judge.paused(member, Date.now());
    cast.pause(member);
    setTimeout(() => judge.resumed(member, Date.now()), pauseMs);
  }
}

function castOf(play: SharePlay, address: string, judge: ShareJudge, faults: string[]): Cast {
  const { member: of, modes, pauseMs } = play;
  return new Cast({
    command: (member) =>
      of.command({ address, topic, group, mode: modes[member % modes.length] ?? "explicit" }),
    hear: (member, line) => judge.line(member, line),
    fault: (fault) => faults.push(fault),
    tellsLeaving: true,
    pauseMs,
  });
}

/** Short locks, so that what a dead member held is given out again soon. */
export function shareSettings(target: BrokerKind, lockMs: number): string[] {
  const settings = {
    "group.share.min.record.lock.duration.ms": 1_000,
    "group.share.record.lock.duration.ms": lockMs,
    "group.share.max.delivery.count.limit": deliveriesMax,
    "group.share.delivery.count.limit": deliveriesMax,
    "share.coordinator.state.topic.num.partitions": 4,
    ...(isHoldfast(target)
      ? {}
      : {
          "share.coordinator.state.topic.replication.factor": 1,
          "share.coordinator.state.topic.min.isr": 1,
          "offsets.topic.num.partitions": 4,
        }),
  };
  return Object.entries(settings).flatMap(([name, value]) =>
    isHoldfast(target) ? ["--set", `${name}=${value}`] : [`${name}=${value}`],
  );
}
