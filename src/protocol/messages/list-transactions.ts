/** The transactional ids that a coordinator knows (KIP-664), filtered by state, producer, age (KIP-994) and pattern (KIP-1152). */
import type { ProducerId } from "../../base/ids.ts";
import {
  array,
  branded,
  clamped64,
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

export const ListTransactions = api({
  key: 66,
  name: "ListTransactions",
  versions: [0, 2],
  flexibleFrom: 0,
  request: struct({
    /** Empty: all; so of all filters. */
    stateFilters: array(string),
    producerIdFilters: array(branded<ProducerId>(int64)),
    /** In ms; only transactions that have been open for longer. Below 0: all. */
    durationFilter: from(1, orElse(-1, clamped64)),
    /** A regular expression in the syntax of RE2/J. Null or empty: all. */
    transactionalIdPattern: from(2, orElse(null, nullable(string, 2))),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    unknownStateFilters: array(string),
    transactionStates: array(
      struct({ transactionalId: string, producerId: branded<ProducerId>(int64), transactionState: string }),
    ),
  }),
});
export interface ListTransactionsRequest extends Decoded<typeof ListTransactions.request> {}
export interface ListTransactionsResponse extends Decoded<typeof ListTransactions.response> {}
