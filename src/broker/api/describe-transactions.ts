/** DescribeTransactions: what the coordinator knows of transactional ids (KIP-664). */
import { DescribeTransactions } from "../../protocol/messages/describe-transactions.ts";
import { undescribed } from "../../coordinator/transaction/shard.ts";
import { handle } from "../handle.ts";

export const describeTransactions = handle(DescribeTransactions, {
  prepare: (request, { services }) =>
    services.transactions.enter(request.transactionalIds)?.then(() => request),
  async decide({ transactionalIds }, { services }) {
    const transactionStates = await Promise.all(
      transactionalIds.map((id) =>
        services.transactions.run(
          id,
          (shard) => shard.describe(id),
          (errorCode) => undescribed(id, errorCode),
        ),
      ),
    );
    return { throttleTimeMs: 0, transactionStates };
  },
});
