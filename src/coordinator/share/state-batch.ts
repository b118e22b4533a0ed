/** What is kept of a run of offsets of a share-partition: the words that the share state, the deliveries and the wire have in common. */
import { NO_PRODUCER, type Offset, type ProducerId } from "../../base/ids.ts";
import type { stateBatches } from "../../protocol/fields.ts";
import type { Decoded } from "../../schema/types.ts";

/** As Kafka numbers them: available, acknowledged, archiving (its dead letter is under way), archived. Acquired (1) is never kept. */
export type KeptState = 0 | 2 | 3 | 4;
export const keptStates: readonly KeptState[] = [0, 2, 3, 4];

/** As whom the dead letters of a run are written, so that a second attempt is a duplicate and not a second letter. */
export interface LetterIdentity {
  readonly producerId: ProducerId;
  /** Of the first letter of the run; the others follow. */
  readonly sequence: number;
}

export interface StateBatch {
  readonly first: Offset;
  /** Inclusive. */
  readonly last: Offset;
  readonly state: KeptState;
  readonly deliveryCount: number;
  /** Of state 3 only; null or absent: nothing was given out yet. */
  readonly letter?: LetterIdentity | null;
}

/** As it lies in records, and as brokers send it to each other. */
export type EncodedBatch = Decoded<typeof stateBatches>[number];

export function encodedBatch({ first, last, state, deliveryCount, letter }: StateBatch): EncodedBatch {
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
export function decodedBatch(batch: EncodedBatch): StateBatch {
  return {
    first: batch.firstOffset,
    last: batch.lastOffset,
    state: batch.deliveryState as KeptState,
    deliveryCount: batch.deliveryCount,
    letter:
      batch.letterProducerId === NO_PRODUCER
        ? null
        : { producerId: batch.letterProducerId, sequence: batch.letterSequence },
  };
}
