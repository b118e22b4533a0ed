/** DeleteTopics: by name, or by id. What was deleted is gone for readers at once; its bytes follow later. */
import { NO_TOPIC_ID } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  DeleteTopics,
  type DeleteTopicsRequest,
  type DeleteTopicsResponse,
} from "../../protocol/messages/delete-topics.ts";
import { isInternalTopic } from "../cluster-view.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";
import { accepted, attempt, type Refusal, refusal, repeated, voidRefusal } from "../refusal.ts";

type Wanted = DeleteTopicsRequest["topics"][number];
type Result = DeleteTopicsResponse["responses"][number];

const topicIdVersionMin = 6;
/** Older clients do not know TOPIC_DELETION_DISABLED. */
const disabledVersionMin = 3;

export const deleteTopics = handle(DeleteTopics, {
  async decide(request, context) {
    const wanted =
      context.apiVersion >= topicIdVersionMin
        ? request.topics
        : request.topicNames.map((name) => ({ name, topicId: NO_TOPIC_ID }));
    const twice = repeated(wanted.map(({ name, topicId }) => name ?? `id ${topicId}`));
    const responses = await Promise.all(
      distinct(wanted).map(async (topic) =>
        twice.has(topic.name ?? `id ${topic.topicId}`)
          ? { ...topic, ...refusal(ErrorCode.INVALID_REQUEST, "The topic is named twice in the request.") }
          : remove(topic, context),
      ),
    );
    return { throttleTimeMs: 0, responses };
  },
});

function distinct(wanted: readonly Wanted[]): Wanted[] {
  return [...new Map(wanted.map((topic) => [topic.name ?? `id ${topic.topicId}`, topic])).values()];
}

async function remove(wanted: Wanted, context: RequestContext): Promise<Result> {
  const { topics, config } = context.services;
  const wrong = check(wanted);
  if (wrong !== null) return { ...wanted, ...wrong };
  const topic = wanted.name === null ? topics.byId(wanted.topicId) : topics.byName(wanted.name);
  if (topic === undefined) return { ...wanted, ...unknown(wanted) };
  if (!config.get("delete.topic.enable")) {
    const code =
      context.apiVersion >= disabledVersionMin
        ? ErrorCode.TOPIC_DELETION_DISABLED
        : ErrorCode.INVALID_REQUEST;
    return { ...wanted, ...refusal(code, "delete.topic.enable is false.") };
  }
  const { name, id } = topic;
  if (isInternalTopic(name)) {
    // The broker holds the state of these in memory: without their log it would be gone at the next start.
    return { ...wanted, ...refusal(ErrorCode.POLICY_VIOLATION, `'${name}' holds the broker's own state.`) };
  }
  const outcome = await attempt(() => topics.delete(id));
  return { name, topicId: id, ...told(outcome, wanted) };
}

function check({ name, topicId }: Wanted): Refusal | null {
  if ((name !== null) !== (topicId !== NO_TOPIC_ID)) return null;
  return refusal(
    ErrorCode.INVALID_REQUEST,
    "A topic is deleted by its name or by its id: one of them must be given.",
  );
}

function unknown({ name }: Wanted): Refusal {
  return refusal(name === null ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
}

function told(
  outcome: Awaited<ReturnType<RequestContext["services"]["topics"]["delete"]>> | Refusal,
  wanted: Wanted,
): Refusal {
  if (typeof outcome === "object") return outcome;
  if (outcome === "deleted") return accepted;
  return outcome === "unknown-topic" ? unknown(wanted) : voidRefusal(outcome);
}
