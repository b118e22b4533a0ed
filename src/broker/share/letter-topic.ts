/**
 * Where the dead letters of a share group go, as the journal has it now, or why nowhere. A topic takes letters only
 * if its owner allows it (`errors.deadletterqueue.group.enable`), is not compacted, and is not what they come from.
 */
import type { BrokerEpoch, PartitionIndex } from "../../base/ids.ts";
import type { Partition } from "../../log/partition.ts";
import type { Partitions } from "../../log/partitions.ts";
import type { TopicState } from "../../metadata/state.ts";
import type { BrokerConfig } from "../config.ts";
import type { DiskFloor } from "../disk-floor.ts";
import { topicValue } from "../topic-config.ts";
import type { Topics } from "../topics.ts";
import { type Whereabouts, whereaboutsOf } from "../transactions/whereabouts.ts";
import type { ShareSettings } from "./settings.ts";

export interface LetterRoom {
  readonly topics: Topics;
  readonly partitions: Partitions;
  readonly config: BrokerConfig;
  readonly diskFloor: Pick<DiskFloor, "refusing">;
  /** Of this broker. */
  readonly epoch: BrokerEpoch;
}

export type LetterTopic =
  | { readonly kind: "ready"; readonly topic: TopicState }
  /** The group has none: its dead are dropped, and counted. */
  | { readonly kind: "none" }
  /** It can be made. */
  | { readonly kind: "missing"; readonly name: string }
  /** One sentence. The dead wait until that is put right. */
  | { readonly kind: "wrong"; readonly why: string };

export function letterTopicOf(settings: ShareSettings, source: string, room: LetterRoom): LetterTopic {
  const { deadLetterTopic: name, deadLetterTopicWrong } = settings;
  const { topics, config, diskFloor } = room;
  if (name === null) return { kind: "none" };
  if (deadLetterTopicWrong !== null) return wrong(deadLetterTopicWrong);
  if (name === source) return wrong(`The dead-letter topic ${name} is the topic that the dead come from.`);
  const topic = topics.byName(name);
  if (topic === undefined) {
    if (config.get("errors.deadletterqueue.auto.create.topics.enable")) return { kind: "missing", name };
    return wrong(
      `There is no topic ${name}; create it, or set errors.deadletterqueue.auto.create.topics.enable to true.`,
    );
  }
  if (!topicValue("errors.deadletterqueue.group.enable", topic.configs, config)) {
    return wrong(
      `The topic ${name} takes no dead letters; set errors.deadletterqueue.group.enable to true for it.`,
    );
  }
  if (topics.logConfig(topic.configs).compacts) {
    return wrong(
      `The topic ${name} is compacted, and would lose dead letters; set its cleanup.policy to delete.`,
    );
  }
  if (diskFloor.refusing) return wrong("The disk is nearly full, and dead letters wait as producers do.");
  return { kind: "ready", topic };
}

const wrong = (why: string): LetterTopic => ({ kind: "wrong", why });

/** For letters that leave in one frame with what archives them: where Kafka writes them if that is here, else any that is; null: none is. */
export function letterPartitionHere(
  topic: TopicState,
  source: PartitionIndex,
  room: LetterRoom,
): Partition | null {
  const preferred = room.partitions.get(topic.id, letterIndex(topic, source));
  if (preferred?.takesAppends === true) return preferred;
  return room.partitions.ofTopic(topic.id).find(({ takesAppends }) => takesAppends) ?? null;
}

/** As Kafka places them: always the same, so that a second attempt finds the first. */
export function letterPlace(topic: TopicState, source: PartitionIndex, room: LetterRoom): Whereabouts {
  return whereaboutsOf({ topic: topic.name, partition: letterIndex(topic, source) }, room);
}

export function letterIndex(topic: TopicState, source: PartitionIndex): PartitionIndex {
  return (topic.partitions[source % topic.partitions.length]?.index ?? source) satisfies PartitionIndex;
}
