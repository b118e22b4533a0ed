/**
 * ElectLeaders: of copies nothing is elected. The store keeps those, so whoever owns a partition can lead it
 * without losing a record, and an owner that is lost is replaced by itself. What can be asked for is that the
 * preferred owner has it: that is under way already wherever it is not so, and is waited for.
 */
import type { PartitionIndex } from "../../base/ids.ts";
import type { PartitionState, TopicState } from "../../metadata/state.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  ElectionType,
  ElectLeaders,
  type ElectLeadersRequest,
  type ElectLeadersResponse,
} from "../../protocol/messages/elect-leaders.ts";
import type { Services } from "../context.ts";
import { handle } from "../handle.ts";
import { pendingMove, whenMoved } from "../reassignment.ts";
import { accepted, type Refusal, refusal } from "../refusal.ts";

type Result = ElectLeadersResponse["replicaElectionResults"][number];
type Wanted = NonNullable<ElectLeadersRequest["topicPartitions"]>[number];

/** Type 0 was the only one before. */
const types: readonly number[] = Object.values(ElectionType);
/** Nobody waits for longer, whatever the request allows. */
const waitMsMax = 60_000;

export const electLeaders = handle(ElectLeaders, {
  async decide({ electionType, topicPartitions, timeoutMs }, { services }) {
    const isType = types.includes(electionType);
    const endMs = services.env.clock.monotonicMs() + Math.min(timeoutMs, waitMsMax);
    const elect = (name: string, index: PartitionIndex): Promise<Refusal> | Refusal => {
      if (!isType) {
        return refusal(ErrorCode.INVALID_REQUEST, `There is no type ${electionType} of elections.`);
      }
      const topic = services.topics.byName(name);
      const partition = topic?.partitions[index];
      // These are Kafka's words: its tools show them.
      if (topic === undefined)
        return refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `No such topic as ${name}`);
      if (partition === undefined) {
        return refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `No such partition as ${name}-${index}`);
      }
      if (electionType !== ElectionType.preferred) return refusal(ErrorCode.ELECTION_NOT_NEEDED);
      return elected(topic, partition, endMs, services);
    };
    const results = (topicPartitions ?? allPending(services)).map(
      async ({ topic, partitions }): Promise<Result> => ({
        topic,
        partitionResult: await Promise.all(
          partitions.map(async (partitionId) => ({ partitionId, ...(await elect(topic, partitionId)) })),
        ),
      }),
    );
    return {
      throttleTimeMs: 0,
      errorCode: isType ? ErrorCode.NONE : ErrorCode.INVALID_REQUEST,
      replicaElectionResults: await Promise.all(results),
    };
  },
});

/** Of all partitions, only what has to be elected is told. */
function allPending({ topics, journal }: Services): readonly Wanted[] {
  const pending = Array.from(topics.all(), ({ name, partitions }) => ({
    topic: name,
    partitions: partitions
      .filter((each) => pendingMove(each, journal.state) !== null)
      .map(({ index }) => index),
  }));
  return pending.filter(({ partitions }) => partitions.length > 0);
}

async function elected(
  topic: TopicState,
  partition: PartitionState,
  endMs: number,
  { journal, env }: Services,
): Promise<Refusal> {
  const move = pendingMove(partition, journal.state);
  if (move === null) return refusal(ErrorCode.ELECTION_NOT_NEEDED);
  if (!move.isPossible) return refusal(ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE);
  const isMoved = await whenMoved(topic, partition.index, move.to, { clock: env.clock, journal, endMs });
  return isMoved ? accepted : refusal(ErrorCode.REQUEST_TIMED_OUT);
}
