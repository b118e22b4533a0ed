/** InitProducerId: an id that no other producer ever had, for idempotence (KIP-98). Transactions are not served. */
import { NO_PRODUCER, NO_PRODUCER_EPOCH, producerEpoch } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  InitProducerId,
  type InitProducerIdRequest,
  type InitProducerIdResponse,
} from "../../protocol/messages/init-producer-id.ts";
import { handle } from "../handle.ts";
import { attempt } from "../refusal.ts";

export const initProducerId = handle(InitProducerId, {
  async decide(request, { services }) {
    const refused = check(request);
    if (refused !== null) return refuse(refused);
    const taken = await attempt(() => services.producerIds.take());
    // Producers try again on this code; on the one of a full disk some give up.
    if (typeof taken === "object") return refuse(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      producerId: taken,
      producerEpoch: producerEpoch(0),
    };
  },
});

/** A producer that goes on after an error (KIP-360) names id and epoch, both or none; it gets another id. */
function check({ transactionalId, producerId, producerEpoch }: InitProducerIdRequest): ErrorCode | null {
  if (transactionalId !== null) return ErrorCode.INVALID_REQUEST;
  if ((producerId === NO_PRODUCER) !== (producerEpoch === NO_PRODUCER_EPOCH))
    return ErrorCode.INVALID_REQUEST;
  return null;
}

function refuse(errorCode: ErrorCode): InitProducerIdResponse {
  return { throttleTimeMs: 0, errorCode, producerId: NO_PRODUCER, producerEpoch: NO_PRODUCER_EPOCH };
}
