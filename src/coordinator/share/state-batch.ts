/** What is kept of a run of offsets of a share-partition: the words that the share state, the deliveries and the wire have in common. */
import type { Offset, ProducerId } from "../../base/ids.ts";

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
