/** A fetch plan as a Fetch request, and the partition that each part of an answer belongs to. */
import { leaderEpoch, NO_TOPIC_ID, nodeId, offset, partitionIndex } from "../base/ids.ts";
import type { FetchRequest, FetchResponse } from "../protocol/messages/fetch.ts";
import type { AssignedPartition } from "./assigned-partition.ts";
import type { FetchPlan } from "./fetch-plan.ts";

/** Topics are named by their ids from version 13 on; a broker that gives none is asked in this one. */
export const versionWithoutIds = 12;

export interface Asked {
  readonly partition: AssignedPartition;
  /** Its generation when it was asked. */
  readonly generation: number;
}

type TopicWish = FetchRequest["topics"][number];
type PartitionWish = TopicWish["partitions"][number];

export type PartitionAnswer = FetchResponse["responses"][number]["partitions"][number];

const unknownEpoch = leaderEpoch(-1);
const unknownOffset = offset(-1);

export class FetchQuestion {
  readonly request: FetchRequest;
  readonly asked: readonly Asked[];
  readonly versionMax: number | undefined;
  readonly #byTopic = new Map<string, Map<number, Asked>>();

  constructor(plan: FetchPlan, isolation: "committed" | "uncommitted") {
    const asked: Asked[] = [];
    const topics = new Map<string, TopicWish & { readonly partitions: PartitionWish[] }>();
    for (const { partition, bytesMax } of plan.wishes) {
      const one = { partition, generation: partition.generation };
      asked.push(one);
      this.#remember(one);
      let topic = topics.get(partition.topic);
      if (topic === undefined) {
        topic = { topic: partition.topic, topicId: partition.topicId, partitions: [] };
        topics.set(partition.topic, topic);
      }
      topic.partitions.push({
        partition: partitionIndex(partition.partition),
        currentLeaderEpoch: partition.leaderEpoch,
        fetchOffset: partition.fetchOffset,
        // The broker compares it with its own history: a log that was cut and grew again is noticed.
        lastFetchedEpoch: partition.fetchEpoch,
        logStartOffset: unknownOffset,
        partitionMaxBytes: bytesMax,
        replicaDirectoryId: NO_TOPIC_ID,
        highWatermark: 0x7fff_ffff_ffff_ffffn,
      });
    }
    this.asked = asked;
    const hasIds = plan.wishes.every(({ partition }) => partition.topicId !== NO_TOPIC_ID);
    this.versionMax = hasIds ? undefined : versionWithoutIds;
    this.request = {
      clusterId: null,
      replicaId: nodeId(-1),
      replicaState: { replicaId: nodeId(-1), replicaEpoch: -1 },
      maxWaitMs: plan.maxWaitMs,
      minBytes: 1,
      maxBytes: plan.bytesMax,
      isolationLevel: isolation === "committed" ? 1 : 0,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [...topics.values()],
      forgottenTopicsData: [],
      rackId: "",
    };
  }

  #remember(one: Asked): void {
    for (const name of [one.partition.topic, one.partition.topicId]) {
      let topic = this.#byTopic.get(name);
      if (topic === undefined) {
        topic = new Map();
        this.#byTopic.set(name, topic);
      }
      topic.set(one.partition.partition, one);
    }
  }

  /** Each part of the answer with who asked for it; what nobody asked for is left out. */
  *match(answer: FetchResponse): Generator<{ readonly asked: Asked; readonly part: PartitionAnswer }> {
    for (const topic of answer.responses) {
      const partitions = this.#byTopic.get(topic.topic === "" ? topic.topicId : topic.topic);
      for (const part of topic.partitions) {
        const asked = partitions?.get(part.partitionIndex);
        if (asked !== undefined) yield { asked, part };
      }
    }
  }
}

/** Whether the answer says that the log is not the one that was read so far (KIP-595). */
export function diverges(part: PartitionAnswer): boolean {
  return part.divergingEpoch.epoch > unknownEpoch || part.divergingEpoch.endOffset >= 0;
}
