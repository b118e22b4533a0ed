/**
 * Plays a story to a group of copiers (copy-scene.ts) before a broker of its own: copiers and broker are killed as the
 * story tells.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Broker, type BrokerKind, isHoldfast, startBroker } from "../../tools/brokers.ts";
import type { Copier } from "./copiers.ts";
import type { CopyCounts } from "./copy-judge.ts";
import { CopyScene } from "./copy-scene.ts";
import type { Follower } from "./followers.ts";
import type { GroupEvent, GroupStory } from "./group-story.ts";
import { shortSessions } from "./groups.ts";

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

/**
 * With several brokers, as with Apache Kafka, a commit is answered when its intention is durable, and markers may wait
 * for the next owner of a partition.
 */
const markersMs = 20_000;

export async function playCopy(play: CopyPlay): Promise<CopyOutcome> {
  const begun = performance.now();
  const { target, directory, story, ...how } = play;
  const broker = await startBroker(target, { directory, settings: settingsOf(play) });
  try {
    const scene = await CopyScene.start({
      ...how,
      name: "copiers",
      address: broker.address,
      markersMs: target.startsWith("cluster") ? markersMs : 0,
    });
    const { judge } = scene;
    try {
      for (const { afterMs, event } of story) {
        await sleep(afterMs);
        play.tell?.(JSON.stringify(event));
        await happen(event, broker, scene);
      }
      const { records, hidden } = await scene.end();
      const ended = await broker.stop();
      if (isHoldfast(target) && ended.code !== 0) {
        judge.accuse(`the broker ended with ${ended.code ?? ended.signal}: ${ended.stderr.slice(-2000)}`);
      }
      const seconds = Math.round(performance.now() - begun) / 1000;
      return { ...judge.counts, violations: judge.violations, records, hidden, seconds };
    } finally {
      await scene.dismiss();
    }
  } finally {
    await broker.dismiss();
  }
}

async function happen(event: GroupEvent, broker: Broker, scene: CopyScene): Promise<void> {
  switch (event.kind) {
    case "broker":
      await broker.kill();
      await broker.start();
      return;
    case "join":
      await scene.join(event.member);
      return;
    case "leave":
      scene.leave(event.member);
      return;
    case "kill":
      scene.kill(event.member);
      return;
    case "pause":
      scene.pause(event.member);
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
