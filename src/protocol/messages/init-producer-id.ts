/** A producer id and epoch for idempotence (KIP-98, KIP-360). Version 6 (KIP-939) is unstable in Kafka 4.4 and not spoken. */
import { NO_PRODUCER, NO_PRODUCER_EPOCH, type ProducerEpoch, type ProducerId } from "../../base/ids.ts";
import {
  branded,
  type Decoded,
  from,
  int16,
  int32,
  int64,
  nullable,
  orElse,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const InitProducerId = api({
  key: 22,
  name: "InitProducerId",
  versions: [0, 5],
  flexibleFrom: 2,
  request: struct({
    transactionalId: nullable(string),
    transactionTimeoutMs: int32,
    /** Both −1: a producer that starts; else one that goes on after an error. */
    producerId: from(3, orElse(NO_PRODUCER, branded<ProducerId>(int64))),
    producerEpoch: from(3, orElse(NO_PRODUCER_EPOCH, branded<ProducerEpoch>(int16))),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    producerId: orElse(NO_PRODUCER, branded<ProducerId>(int64)),
    producerEpoch: branded<ProducerEpoch>(int16),
  }),
});
export interface InitProducerIdRequest extends Decoded<typeof InitProducerId.request> {}
export interface InitProducerIdResponse extends Decoded<typeof InitProducerId.response> {}
