/**
 * The one mutable copy of the cluster's state. `apply.ts` changes it and `snapshot.ts` fills it; everybody
 * else sees it as `ClusterState`. What lies in its maps is replaced whole, never changed in place, so a
 * part that someone holds is at worst outdated.
 */
import { type BrokerEpoch, type ProducerId, producerId, type TopicId } from "../base/ids.ts";
import type { BrokerState, ClusterState, PartitionState, TopicState } from "./state.ts";

/** As `TopicState`, with the array of partitions open for replacing single ones: thousands are not copied for one. */
export interface TopicImage extends TopicState {
  readonly partitions: PartitionState[];
}

export class ClusterImage implements ClusterState {
  clusterId = "";
  level = 0;
  walKind: "file" | "object" = "file";
  /** 1 before INIT: the chapter of slot 0 is 0 whatever comes. */
  chapterSlots = 1;
  nextSlot = 0;
  readonly brokers = new Map<BrokerEpoch, BrokerState>();
  readonly topics = new Map<TopicId, TopicImage>();
  readonly topicIds = new Map<string, TopicId>();
  readonly brokerConfigs = new Map<string, ReadonlyMap<string, string>>();
  nextProducerId: ProducerId = producerId(0);
  previousHash: Uint8Array = new Uint8Array(0);
}
