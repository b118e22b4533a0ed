/**
 * What all brokers of a cluster agree to do (KIP-584): which levels of each feature there are, and which one
 * is in force. Clients hear of both in ApiVersions and choose by them how they speak; whatever they choose
 * is served. A level that was set stands in the journal, as configuration of a resource of its own; while
 * none was, the highest is in force.
 */
import type { ClusterState } from "../metadata/state.ts";
import type { AnyApi } from "../protocol/api.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { ConsumerGroupHeartbeat } from "../protocol/messages/consumer-group-heartbeat.ts";
import { EndTxn } from "../protocol/messages/end-txn.ts";
import type { Services } from "./context.ts";
import type { AnyHandler } from "./handle.ts";
import { refusal } from "./refusal.ts";

interface Feature {
  readonly levelMax: number;
  /** Nothing is said of the feature where this is not served. */
  readonly carriedBy: AnyApi;
}

const features = {
  /** 1: groups of KIP-848 are served; 0: they are refused. */
  "group.version": { levelMax: 1, carriedBy: ConsumerGroupHeartbeat as AnyApi },
  /** 2: clients end each transaction with a new epoch, and add to it by writing (KIP-890); below: as before. */
  "transaction.version": { levelMax: 2, carriedBy: EndTxn as AnyApi },
} as const satisfies { readonly [name: string]: Feature };

export type FeatureName = keyof typeof features;
/** In the order in which they are told. */
const names = Object.keys(features) as readonly FeatureName[];

/** The name, in the journal, of what is configured by feature; no node id is like it. */
export const featuresResource = "features";

export function featureNames(handlers: readonly AnyHandler[]): readonly FeatureName[] {
  return names.filter((name) => handlers.some(({ api }) => api === features[name].carriedBy));
}

export const levelMax = (name: FeatureName): number => features[name].levelMax;

/** The level in force. A later version of the software may have set one that is not known here. */
export function levelOf(name: FeatureName, state: Pick<ClusterState, "brokerConfigs">): number {
  const set = state.brokerConfigs.get(featuresResource)?.get(name);
  return set === undefined ? levelMax(name) : Math.min(Number(set), levelMax(name));
}

/** Why groups of KIP-848 are not served; null: they are. */
export function groupsOff({ journal }: Pick<Services, "journal">): ReturnType<typeof refusal> | null {
  if (levelOf("group.version", journal.state) > 0) return null;
  return refusal(
    ErrorCode.UNSUPPORTED_VERSION,
    "The feature group.version is set to 0: no groups of KIP-848.",
  );
}
