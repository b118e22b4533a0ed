/**
 * EndTxn: commits or aborts a transaction, and answers when that can not be otherwise any more. Who asks
 * from version 5 on goes on in a new epoch, so that what is late of this transaction is refused (KIP-890).
 */
import { NO_PRODUCER, NO_PRODUCER_EPOCH } from "../../base/ids.ts";
import { coordinatorCode } from "../../coordinator/transaction/codes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { EndTxn } from "../../protocol/messages/end-txn.ts";
import { handle } from "../handle.ts";
import { attempt } from "../refusal.ts";

const newEpochVersionMin = 5;

export const endTxn = handle(EndTxn, {
  prepare: (request, { services }) =>
    services.transactions.enter(request.transactionalId)?.then(() => request),
  async decide(request, { services, apiVersion }) {
    const { transactionalId, producerId, producerEpoch, committed } = request;
    const clientVersion = apiVersion >= newEpochVersionMin ? 2 : 0;
    const told = await attempt(() =>
      services.transactions.end(
        { transactionalId, producerId, producerEpoch },
        { outcome: committed ? "commit" : "abort", clientVersion },
      ),
    );
    // The last epoch of a producer id wants another id, for which the disk has no room: clients ask again.
    if (!("tookFreshId" in told)) {
      const errorCode = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
      return { throttleTimeMs: 0, errorCode, producerId: NO_PRODUCER, producerEpoch: NO_PRODUCER_EPOCH };
    }
    return {
      throttleTimeMs: 0,
      errorCode: coordinatorCode("EndTxn", apiVersion, told.errorCode),
      producerId: told.producerId,
      producerEpoch: told.producerEpoch,
    };
  },
});
