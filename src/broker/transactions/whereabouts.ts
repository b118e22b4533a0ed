/**
 * Where a partition that takes part in a transaction is at this moment, as far as this broker knows: its view
 * of the journal may lag, so "away" is where to ask, and never proof. "gone" is: what took part was known here
 * or to whoever had the transaction before, and a topic that was known is missing only once it is deleted.
 */
import type { BrokerEpoch } from "../../base/ids.ts";
import type { TransactionPartition } from "../../coordinator/transaction/transaction.ts";
import type { Partition } from "../../log/partition.ts";
import type { Partitions } from "../../log/partitions.ts";
import type { Topics } from "../topics.ts";

export type Whereabouts =
  /** It takes appends here. */
  | { readonly kind: "here"; readonly partition: Partition }
  /** The broker that the journal names. */
  | { readonly kind: "away"; readonly owner: BrokerEpoch }
  /** Ours, but it is still read, or about to be given to somebody else. */
  | { readonly kind: "between" }
  | { readonly kind: "gone" };

const between: Whereabouts = { kind: "between" };
const gone: Whereabouts = { kind: "gone" };

export interface Surroundings {
  readonly topics: Topics;
  readonly partitions: Partitions;
  /** Of this broker. */
  readonly epoch: BrokerEpoch;
}

export function whereaboutsOf(
  { topic: name, partition: index }: TransactionPartition,
  { topics, partitions, epoch }: Surroundings,
): Whereabouts {
  const topic = topics.byName(name);
  const state = topic?.partitions[index];
  if (topic === undefined || state === undefined) return gone;
  const partition = partitions.get(topic.id, index);
  if (partition?.takesAppends === true) return { kind: "here", partition };
  return state.owner === epoch ? between : { kind: "away", owner: state.owner };
}
