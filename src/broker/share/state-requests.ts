/**
 * What the five requests about share states have in common: each names partitions of topics for one group, and
 * each of these is decided where its state is, by itself. A broker of this cluster asks again; of anybody else
 * the request waits until the states are read.
 */
import type { PartitionIndex, TopicId } from "../../base/ids.ts";
import type { ShareStateKey, ShareStateTurn } from "../../coordinator/share/records.ts";
import type { Judged, ShareStateShard } from "../../coordinator/share/shard.ts";
import type { Api } from "../../protocol/api.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { RequestContext } from "../context.ts";
import { type AnyHandler, handle } from "../handle.ts";
import { weighChange } from "./persister.ts";

interface Asked {
  readonly partition: PartitionIndex;
  readonly stateBatches?: readonly unknown[];
}
interface Request<Part extends Asked> {
  readonly groupId: string;
  readonly topics: readonly { readonly topicId: TopicId; readonly partitions: readonly Part[] }[];
}
/** Of one partition, before what was told. */
export interface Answered {
  readonly partition: PartitionIndex;
  readonly errorCode: ErrorCode;
  readonly errorMessage: string | null;
}
interface Response<Answer extends Answered> {
  readonly results: readonly { readonly topicId: TopicId; readonly partitions: readonly Answer[] }[];
}

/** `answer`: what is told of it; with an error, of nothing (`undefined`). */
export function handleStates<Part extends Asked, Answer extends Answered, T>(
  api: Api<Request<Part>, Response<Answer>>,
  decide: (shard: ShareStateShard, turn: ShareStateTurn, key: ShareStateKey, asked: Part) => Judged<T>,
  answer: (code: Answered, told: T | undefined) => Answer,
): AnyHandler {
  async function one(key: ShareStateKey, asked: Part, context: RequestContext): Promise<Answer> {
    const { shareStates: states, tail } = context.services;
    const { partition } = key;
    const refuse = (errorCode: ErrorCode, errorMessage: string | null): Answer =>
      answer({ partition, errorCode, errorMessage }, undefined);
    if (key.groupId === "") return refuse(ErrorCode.INVALID_REQUEST, "The group id must not be empty.");
    const bytes = weighChange(key, asked.stateBatches?.length ?? 0);
    await tail.admit(bytes);
    const away = states.away(key);
    if (away !== null) {
      tail.dismiss(bytes);
      return refuse(away, null);
    }
    const judged = await states.run(key, (shard, turn) => decide(shard, turn, key, asked), bytes);
    if (judged.kind === "refused") return refuse(judged.errorCode, judged.errorMessage);
    return answer({ partition, errorCode: ErrorCode.NONE, errorMessage: null }, judged.value);
  }

  return handle(api, {
    prepare(request, { services, connection }) {
      if (connection.peer !== null) return undefined;
      return services.shareStates.enter(keysOf(request))?.then(() => request);
    },
    async decide({ groupId, topics }, context) {
      const results = topics.map(async ({ topicId, partitions }) => ({
        topicId,
        partitions: await Promise.all(
          partitions.map((asked) => one({ groupId, topicId, partition: asked.partition }, asked, context)),
        ),
      }));
      return { results: await Promise.all(results) };
    },
  });
}

function keysOf({ groupId, topics }: Request<Asked>): ShareStateKey[] {
  return topics.flatMap(({ topicId, partitions }) =>
    partitions.map(({ partition }) => ({ groupId, topicId, partition })),
  );
}
