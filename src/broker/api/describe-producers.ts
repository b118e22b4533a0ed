/** DescribeProducers: which producers a partition knows, and which of them have a transaction open (KIP-664). */
import type { ActiveProducer } from "../../log/producer-state.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  DescribeProducers,
  type DescribeProducersResponse,
} from "../../protocol/messages/describe-producers.ts";
import type { Services } from "../context.ts";
import { handle } from "../handle.ts";
import { placeOf } from "../placement.ts";

type PartitionResponse = DescribeProducersResponse["topics"][number]["partitions"][number];

export const describeProducers = handle(DescribeProducers, {
  async decide(request, { services }) {
    const { wal } = services;
    let awaited = 0;
    const described = request.topics.map(({ name, partitionIndexes }) => ({
      name,
      partitions: partitionIndexes.map((partitionIndex): PartitionResponse => {
        const partition = placeOf(services.topics.idOf(name), partitionIndex, "owner", services);
        if (partition === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) {
          return refuse(partitionIndex, partition, "There is no such partition.");
        }
        if (typeof partition === "number") {
          return refuse(partitionIndex, partition, "Another broker has this partition.");
        }
        if (partition.lastNumber > awaited) awaited = partition.lastNumber;
        return {
          partitionIndex,
          errorCode: ErrorCode.NONE,
          errorMessage: null,
          activeProducers: Array.from(partition.activeProducers(), toResponse),
        };
      }),
    }));
    // Its producers are ahead of what is durable (I1).
    await whenDurable(wal, awaited);
    return { throttleTimeMs: 0, topics: described };
  },
});

async function whenDurable(wal: Services["wal"], number: number): Promise<void> {
  if (number > wal.durable) await wal.whenDurable(number);
}

function toResponse(active: ActiveProducer): PartitionResponse["activeProducers"][number] {
  const { producerId, producerEpoch, lastSequence, coordinatorEpoch } = active;
  return {
    producerId,
    producerEpoch,
    lastSequence,
    lastTimestamp: active.lastTimestampMs,
    coordinatorEpoch,
    currentTxnStartOffset: active.openFrom,
  };
}

function refuse(
  partitionIndex: PartitionResponse["partitionIndex"],
  errorCode: ErrorCode,
  errorMessage: string,
): PartitionResponse {
  return { partitionIndex, errorCode, errorMessage, activeProducers: [] };
}
