/**
 * ElectLeaders: nothing is elected here. The store keeps the copies of a partition, so whoever owns it can
 * lead it without losing a record, and an owner that is lost is replaced by itself.
 */
import { ErrorCode } from "../../protocol/errors.ts";
import {
  ElectionType,
  ElectLeaders,
  type ElectLeadersResponse,
} from "../../protocol/messages/elect-leaders.ts";
import { handle } from "../handle.ts";
import { type Refusal, refusal } from "../refusal.ts";

type Result = ElectLeadersResponse["replicaElectionResults"][number];

/** Type 0 was the only one before. */
const types: readonly number[] = Object.values(ElectionType);

export const electLeaders = handle(ElectLeaders, {
  decide({ electionType, topicPartitions }, { services }) {
    const isType = types.includes(electionType);
    const judge = (topic: string, index: number): Refusal => {
      if (!isType) {
        return refusal(ErrorCode.INVALID_REQUEST, `There is no type ${electionType} of elections.`);
      }
      const partitions = services.topics.byName(topic)?.partitions;
      // The last two are Kafka's words: its tools show them.
      if (partitions?.[index] !== undefined) return refusal(ErrorCode.ELECTION_NOT_NEEDED);
      const absent = partitions === undefined ? `topic as ${topic}` : `partition as ${topic}-${index}`;
      return refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `No such ${absent}`);
    };
    return {
      throttleTimeMs: 0,
      errorCode: isType ? ErrorCode.NONE : ErrorCode.INVALID_REQUEST,
      // For all partitions, what was elected is told, and that is none.
      replicaElectionResults: (topicPartitions ?? []).map(
        ({ topic, partitions }): Result => ({
          topic,
          partitionResult: partitions.map((partitionId) => ({ partitionId, ...judge(topic, partitionId) })),
        }),
      ),
    };
  },
});
