/**
 * What all brokers of a cluster agree to do (KIP-584): which levels of each feature there are, and which one
 * is in force. Clients hear of both in ApiVersions and choose by them how they speak; whatever they choose
 * is served. A level that was set stands in the journal, as configuration of a resource of its own; while
 * none was, the highest is in force. The format of what brokers write is a feature, too: its level is the
 * journal's own, begins at what the cluster was begun with, and only rises.
 */
import { formatLevel } from "../metadata/journal.ts";
import type { ClusterState } from "../metadata/state.ts";
import type { AnyApi } from "../protocol/api.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { ConsumerGroupHeartbeat } from "../protocol/messages/consumer-group-heartbeat.ts";
import { EndTxn } from "../protocol/messages/end-txn.ts";
import { ShareGroupHeartbeat } from "../protocol/messages/share-group-heartbeat.ts";
import { UpdateFeatures } from "../protocol/messages/update-features.ts";
import type { Services } from "./context.ts";
import type { AnyHandler } from "./handle.ts";
import { refusal } from "./refusal.ts";

interface Feature {
  readonly levelMin: number;
  readonly levelMax: number;
  /** Nothing is said of the feature where this is not served. */
  readonly carriedBy: AnyApi;
}

const features = {
  /** 1: groups of KIP-848 are served; 0: they are refused. */
  "group.version": { levelMin: 0, levelMax: 1, carriedBy: ConsumerGroupHeartbeat as AnyApi },
  /** 1: share groups are served (KIP-932); 2: with dead letters (KIP-1191); 0: they are refused. */
  "share.version": { levelMin: 0, levelMax: 2, carriedBy: ShareGroupHeartbeat as AnyApi },
  /** 2: clients end each transaction with a new epoch, and add to it by writing (KIP-890); below: as before. */
  "transaction.version": { levelMin: 0, levelMax: 2, carriedBy: EndTxn as AnyApi },
  /** 2: partitions move, brokers drain; software that does not know it refuses to start. */
  "holdfast.format": { levelMin: 1, levelMax: formatLevel, carriedBy: UpdateFeatures as AnyApi },
} as const satisfies { readonly [name: string]: Feature };

export type FeatureName = keyof typeof features;
/** In the order in which they are told. */
const names = Object.keys(features) as readonly FeatureName[];

/** The name, in the journal, of what is configured by feature; no node id is like it. */
export const featuresResource = "features";

export function featureNames(handlers: readonly AnyHandler[]): readonly FeatureName[] {
  return names.filter((name) => handlers.some(({ api }) => api === features[name].carriedBy));
}

/** The format level of the journal (I14). */
export const formatFeature = "holdfast.format" satisfies FeatureName;

export const levelMin = (name: FeatureName): number => features[name].levelMin;
export const levelMax = (name: FeatureName): number => features[name].levelMax;

/** The level in force. A later version of the software may have set one that is not known here. */
export function levelOf(name: FeatureName, state: Pick<ClusterState, "brokerConfigs" | "level">): number {
  if (name === formatFeature) return state.level;
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

/** Why share groups are not served; null: they are. */
export function shareGroupsOff({ journal }: Pick<Services, "journal">): ReturnType<typeof refusal> | null {
  if (levelOf("share.version", journal.state) > 0) return null;
  return refusal(ErrorCode.UNSUPPORTED_VERSION, "The feature share.version is set to 0: no share groups.");
}

/** Whether dead letters of share groups are written. */
export const writesDeadLetters = ({ journal }: Pick<Services, "journal">): boolean =>
  levelOf("share.version", journal.state) >= 2;
