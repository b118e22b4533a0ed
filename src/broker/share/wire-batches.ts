/** State batches as brokers send them to each other, and what they weigh as records. */
import { NO_PRODUCER } from "../../base/ids.ts";
import type { StateBatch } from "../../coordinator/share/state-batch.ts";
import type { WriteShareGroupStateRequest } from "../../protocol/messages/write-share-group-state.ts";

type WireBatch = WriteShareGroupStateRequest["topics"][number]["partitions"][number]["stateBatches"][number];

const recordBytes = 128;
const batchBytes = 24;

export function weighChange({ groupId }: { readonly groupId: string }, batches: number): number {
  return recordBytes + groupId.length + batches * batchBytes;
}

export function toWireBatch({ first, last, state, deliveryCount, letter }: StateBatch): WireBatch {
  return {
    firstOffset: first,
    lastOffset: last,
    deliveryState: state,
    deliveryCount,
    letterProducerId: letter?.producerId ?? NO_PRODUCER,
    letterSequence: letter?.sequence ?? -1,
  };
}

/** Whether its state is one that there is, the shard judges. */
export function fromWireBatch(batch: WireBatch): StateBatch {
  return {
    first: batch.firstOffset,
    last: batch.lastOffset,
    state: batch.deliveryState as StateBatch["state"],
    deliveryCount: batch.deliveryCount,
    letter:
      batch.letterProducerId === NO_PRODUCER
        ? null
        : { producerId: batch.letterProducerId, sequence: batch.letterSequence },
  };
}
