/** ListTransactions: every transactional id, on request only some (KIP-664, KIP-994, KIP-1152). */
import { listFilter } from "../../coordinator/transaction/listing.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  ListTransactions,
  type ListTransactionsResponse,
} from "../../protocol/messages/list-transactions.ts";
import { handle } from "../handle.ts";

export const listTransactions = handle(ListTransactions, {
  prepare: (request, { services }) => services.transactions.whenListable()?.then(() => request),
  async decide(request, { services }) {
    const { transactions, env } = services;
    const filter = listFilter(request, transactions.idCharacters);
    if (typeof filter === "string") return answer(ErrorCode.INVALID_REGULAR_EXPRESSION, []);
    const wallMs = env.clock.wallMs();
    const { isComplete } = transactions;
    const listed = await transactions.runAll((shard) => shard.list(filter, wallMs));
    // What is not read yet is not denied: whoever asks for all of it asks again.
    const errorCode = isComplete ? ErrorCode.NONE : ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
    return answer(errorCode, filter.unknownStates, listed.flat());
  },
});

function answer(
  errorCode: ErrorCode,
  unknownStateFilters: readonly string[],
  transactionStates: ListTransactionsResponse["transactionStates"] = [],
): ListTransactionsResponse {
  return { throttleTimeMs: 0, errorCode, unknownStateFilters, transactionStates };
}
