/**
 * InitProducerId: an id that no other producer ever had, for idempotence (KIP-98); with a transactional id
 * the producer that has it, in a new epoch, so that whoever had it before is fenced.
 */
import { NO_PRODUCER, NO_PRODUCER_EPOCH, producerEpoch } from "../../base/ids.ts";
import { coordinatorCode } from "../../coordinator/transaction/codes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  InitProducerId,
  type InitProducerIdRequest,
  type InitProducerIdResponse,
} from "../../protocol/messages/init-producer-id.ts";
import type { RequestContext, Services } from "../context.ts";
import { handle } from "../handle.ts";
import { attempt } from "../refusal.ts";

export const initProducerId = handle(InitProducerId, {
  prepare(request, { services }) {
    const { transactionalId } = request;
    return transactionalId === null
      ? undefined
      : services.transactions.enter(transactionalId)?.then(() => request);
  },
  async decide(request, context) {
    const { transactionalId, producerId, producerEpoch: epoch } = request;
    // A producer that goes on after an error (KIP-360) names id and epoch, both or none.
    if ((producerId === NO_PRODUCER) !== (epoch === NO_PRODUCER_EPOCH)) {
      return refuse(ErrorCode.INVALID_REQUEST);
    }
    if (transactionalId === null) return idempotent(context.services);
    return transactional({ ...request, transactionalId }, context);
  },
});

async function idempotent(services: Services): Promise<InitProducerIdResponse> {
  const taken = await attempt(() => services.producerIds.take());
  // Producers try again on this code; on the one of a full disk some give up.
  if (taken === null || typeof taken === "object") return refuse(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
  return {
    throttleTimeMs: 0,
    errorCode: ErrorCode.NONE,
    producerId: taken,
    producerEpoch: producerEpoch(0),
  };
}

async function transactional(
  request: InitProducerIdRequest & { readonly transactionalId: string },
  { services, apiVersion }: RequestContext,
): Promise<InitProducerIdResponse> {
  const { transactionalId, transactionTimeoutMs: timeoutMs, producerId, producerEpoch } = request;
  const expected = producerId === NO_PRODUCER ? null : { producerId, producerEpoch };
  const told = await attempt(() => services.transactions.init({ transactionalId, timeoutMs, expected }));
  if (!("tookFreshId" in told)) return refuse(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
  return {
    throttleTimeMs: 0,
    errorCode: coordinatorCode("InitProducerId", apiVersion, told.errorCode),
    producerId: told.producerId,
    producerEpoch: told.producerEpoch,
  };
}

function refuse(errorCode: ErrorCode): InitProducerIdResponse {
  return { throttleTimeMs: 0, errorCode, producerId: NO_PRODUCER, producerEpoch: NO_PRODUCER_EPOCH };
}
