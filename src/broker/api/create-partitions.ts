/** CreatePartitions: more partitions for a topic. Answered when they can be written. */
import { ErrorCode } from "../../protocol/errors.ts";
import { CreatePartitions, type CreatePartitionsRequest } from "../../protocol/messages/create-partitions.ts";
import { isInternalTopic, refuseNodes } from "../cluster-view.ts";
import type { Services } from "../context.ts";
import { handle } from "../handle.ts";
import { PartitionRoom } from "../partition-room.ts";
import { accepted, attempt, type Refusal, refusal, repeated, voidRefusal } from "../refusal.ts";

type Wanted = CreatePartitionsRequest["topics"][number];

export const createPartitions = handle(CreatePartitions, {
  async decide({ topics, validateOnly }, { services }) {
    const twice = repeated(topics.map(({ name }) => name));
    const room = new PartitionRoom(services);
    const once = new Map(topics.map((topic) => [topic.name, topic])).values();
    const results = await Promise.all(
      Array.from(once, async (wanted) => {
        const outcome = twice.has(wanted.name)
          ? refusal(ErrorCode.INVALID_REQUEST, "The topic is named twice in the request.")
          : await add(wanted, validateOnly, room, services);
        return { name: wanted.name, ...outcome };
      }),
    );
    return { throttleTimeMs: 0, results };
  },
});

async function add(
  wanted: Wanted,
  validateOnly: boolean,
  room: PartitionRoom,
  services: Services,
): Promise<Refusal> {
  const { topics } = services;
  const topic = topics.byName(wanted.name);
  if (topic === undefined) return refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  if (isInternalTopic(wanted.name)) {
    // The number of partitions says where the state of a group lies.
    return refusal(ErrorCode.POLICY_VIOLATION, `The partitions of '${wanted.name}' never change.`);
  }
  const wrong =
    check(wanted, topic.partitions.length, services) ?? room.take(wanted.count - topic.partitions.length);
  if (wrong !== null || validateOnly) return wrong ?? accepted;
  const owners = wanted.assignments?.flatMap(({ brokerIds }) => brokerIds.slice(0, 1)) ?? [];
  const outcome = await attempt(() => topics.addPartitions(topic.id, wanted.count, owners));
  if ("errorCode" in outcome) return outcome;
  return outcome.kind === "done" ? accepted : voidRefusal(outcome.reason);
}

function check({ name, count, assignments }: Wanted, current: number, services: Services): Refusal | null {
  const added = count - current;
  if (added === 0)
    return refusal(ErrorCode.INVALID_PARTITIONS, `Topic '${name}' already has ${current} partition(s).`);
  if (added < 0) {
    return refusal(
      ErrorCode.INVALID_PARTITIONS,
      `Topic '${name}' has ${current} partition(s); ${count} would not be an increase.`,
    );
  }
  if (assignments === null) return null;
  if (assignments.length !== added) {
    return refusal(
      ErrorCode.INVALID_REPLICA_ASSIGNMENT,
      `${added} partition(s) are added, and ${assignments.length} are assigned.`,
    );
  }
  if (assignments.some(({ brokerIds }) => brokerIds.length === 0 || repeated(brokerIds).size > 0)) {
    return refusal(
      ErrorCode.INVALID_REPLICA_ASSIGNMENT,
      "Each partition must be assigned to at least one broker, and to each once.",
    );
  }
  const unknown = refuseNodes(
    assignments.flatMap(({ brokerIds }) => brokerIds),
    services,
  );
  return unknown === null ? null : refusal(ErrorCode.INVALID_REPLICA_ASSIGNMENT, unknown);
}
