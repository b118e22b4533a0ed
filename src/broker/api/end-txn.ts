/**
 * EndTxn: commits or aborts a transaction, and answers when that can not be otherwise any more. Who asks
 * from version 5 on goes on in a new epoch, so that what is late of this transaction is refused (KIP-890).
 */
import { coordinatorCode } from "../../coordinator/transaction/codes.ts";
import { EndTxn } from "../../protocol/messages/end-txn.ts";
import { handle } from "../handle.ts";

const newEpochVersionMin = 5;

export const endTxn = handle(EndTxn, {
  prepare: (request, { services }) => services.transactions.enter()?.then(() => request),
  async decide(request, { services, apiVersion }) {
    const { transactionalId, producerId, producerEpoch, committed } = request;
    const told = await services.transactions.end(
      { transactionalId, producerId, producerEpoch },
      { outcome: committed ? "commit" : "abort", clientVersion: apiVersion >= newEpochVersionMin ? 2 : 0 },
    );
    return {
      throttleTimeMs: 0,
      errorCode: coordinatorCode("EndTxn", apiVersion, told.errorCode),
      producerId: told.producerId,
      producerEpoch: told.producerEpoch,
    };
  },
});
