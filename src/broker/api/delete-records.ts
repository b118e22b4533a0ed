/**
 * DeleteRecords (KIP-107): moves the log start of partitions forward. The answer leaves when the move is
 * durable, because what a client was told is deleted must not come back; it names the first offset that is
 * left. The bytes go later, by retention and garbage collection.
 */
import { type Offset, offset } from "../../base/ids.ts";
import type { AppendSession } from "../../log/memory-tail.ts";
import type { Partition } from "../../log/partition.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  DeleteRecords,
  type DeleteRecordsRequest,
  type DeleteRecordsResponse,
} from "../../protocol/messages/delete-records.ts";
import { isInternalTopic } from "../cluster-view.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";
import { placeOf } from "../placement.ts";

type PartitionRequest = DeleteRecordsRequest["topics"][number]["partitions"][number];
type PartitionResponse = DeleteRecordsResponse["topics"][number]["partitions"][number];

/** In place of an offset: everything that can be read now. */
const highWatermark = -1;
const noOffset = offset(-1);

export const deleteRecords = handle(DeleteRecords, {
  // Stage one: no await in here, so that "everything" is what was there when the request arrived.
  decide(request, context) {
    const { partitions, wal } = context.services;
    const session = partitions.begin();
    let awaited = 0;
    const trims = request.topics.map((topic) => ({
      name: topic.name,
      partitions: topic.partitions.map((wanted) => {
        const trimmed = trim(topic.name, wanted, session, context);
        awaited = Math.max(awaited, trimmed.walNumber);
        return trimmed;
      }),
    }));
    session.commit();
    const answer = (): DeleteRecordsResponse => ({
      throttleTimeMs: 0,
      topics: trims.map(({ name, partitions: trimmed }) => ({ name, partitions: trimmed.map(toResponse) })),
    });
    // Stage two: I1.
    return awaited <= wal.durable ? answer() : wal.whenDurable(awaited).then(answer);
  },
});

type Trimmed =
  | { readonly wanted: PartitionRequest; readonly partition: Partition; readonly walNumber: number }
  | { readonly wanted: PartitionRequest; readonly errorCode: ErrorCode; readonly walNumber: number };

function trim(
  name: string,
  wanted: PartitionRequest,
  session: AppendSession,
  { services }: RequestContext,
): Trimmed {
  const refuse = (errorCode: ErrorCode): Trimmed => ({ wanted, errorCode, walNumber: 0 });
  // State that the broker keeps there would be lost with the records.
  if (isInternalTopic(name)) return refuse(ErrorCode.INVALID_TOPIC_EXCEPTION);
  const partition = placeOf(services.topics.idOf(name), wanted.partitionIndex, "owner", services);
  if (typeof partition === "number") return refuse(partition);
  // In a topic that is only compacted the newest value of each key stays, whatever its offset.
  if (!partition.config.deletes) return refuse(ErrorCode.POLICY_VIOLATION);
  const start: Offset = wanted.offset === highWatermark ? partition.highWatermark : wanted.offset;
  const outcome = partition.trim(session, start, services.env.clock.wallMs());
  if (outcome.kind === "out-of-range") return refuse(ErrorCode.OFFSET_OUT_OF_RANGE);
  return { wanted, partition, walNumber: outcome.walNumber };
}

/** The log start as it is now, which another trim may have moved further. */
function toResponse(trimmed: Trimmed): PartitionResponse {
  const { partitionIndex } = trimmed.wanted;
  return "partition" in trimmed
    ? { partitionIndex, lowWatermark: trimmed.partition.logStart, errorCode: ErrorCode.NONE }
    : { partitionIndex, lowWatermark: noOffset, errorCode: trimmed.errorCode };
}
