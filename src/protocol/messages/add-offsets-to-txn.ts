/** A group's committed offsets become part of a transaction (KIP-98); from transactions of version 2 on TxnOffsetCommit does it by itself. */
import type { ProducerEpoch, ProducerId } from "../../base/ids.ts";
import { branded, type Decoded, int16, int32, int64, string, struct } from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const AddOffsetsToTxn = api({
  key: 25,
  name: "AddOffsetsToTxn",
  versions: [0, 4],
  flexibleFrom: 3,
  request: struct({
    transactionalId: string,
    producerId: branded<ProducerId>(int64),
    producerEpoch: branded<ProducerEpoch>(int16),
    groupId: string,
  }),
  response: struct({ throttleTimeMs: int32, errorCode: branded<ErrorCode>(int16) }),
});
export interface AddOffsetsToTxnRequest extends Decoded<typeof AddOffsetsToTxn.request> {}
export interface AddOffsetsToTxnResponse extends Decoded<typeof AddOffsetsToTxn.response> {}
