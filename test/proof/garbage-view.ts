/** A cluster's state as far as garbage asks it: who lives, what was released, who depends on what. */
import { brokerEpoch, walPosition } from "../../src/base/ids.ts";
import type { BrokerState, ClusterState, Dependency, TopicState } from "../../src/metadata/state.ts";

export interface BrokerFacts {
  readonly status: BrokerState["status"];
  readonly released?: number;
  readonly end?: number;
  readonly below?: number;
}

export function aClusterState(facts: {
  readonly brokers: { readonly [epoch: number]: BrokerFacts };
  /** [epoch, from, to] of one partition each. */
  readonly dependencies?: readonly (readonly [number, number, number])[];
}): ClusterState {
  const brokers = new Map(
    Object.entries(facts.brokers).map(([key, { status, released = 0, end, below = 0 }]) => {
      const epoch = brokerEpoch(Number(key));
      const broker: Partial<BrokerState> = {
        epoch,
        status,
        released: walPosition(released),
        below,
        end: end === undefined ? null : walPosition(end),
      };
      return [epoch, broker];
    }),
  );
  const partitions = (facts.dependencies ?? []).map(([epoch, from, to]) => ({
    dependencies: [
      { epoch: brokerEpoch(epoch), from: walPosition(from), to: walPosition(to) },
    ] satisfies readonly Dependency[],
  }));
  const topics = new Map([["t", { id: "t", partitions } as unknown as TopicState]]);
  return { brokers, topics } as unknown as ClusterState;
}
