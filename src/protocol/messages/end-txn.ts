/** Commits or aborts a transaction (KIP-98); version 5 asks for the next epoch along with it (KIP-890). */
import { NO_PRODUCER, NO_PRODUCER_EPOCH, type ProducerEpoch, type ProducerId } from "../../base/ids.ts";
import {
  bool,
  branded,
  type Decoded,
  from,
  ignorable,
  int16,
  int32,
  int64,
  orElse,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const EndTxn = api({
  key: 26,
  name: "EndTxn",
  versions: [0, 5],
  flexibleFrom: 3,
  request: struct({
    transactionalId: string,
    producerId: branded<ProducerId>(int64),
    producerEpoch: branded<ProducerEpoch>(int16) /** False: aborted. */,
    committed: bool,
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    /** With which the producer goes on. */
    producerId: ignorable(from(5, orElse(NO_PRODUCER, branded<ProducerId>(int64)))),
    producerEpoch: ignorable(from(5, orElse(NO_PRODUCER_EPOCH, branded<ProducerEpoch>(int16)))),
  }),
});
export interface EndTxnRequest extends Decoded<typeof EndTxn.request> {}
export interface EndTxnResponse extends Decoded<typeof EndTxn.response> {}
