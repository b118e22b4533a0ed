/**
 * What one share group obeys, read from its own settings and the broker's. A value that a later version wrote, and
 * that cannot be read here, counts as not set; one that lies beyond the broker's bounds counts as the bound, since
 * those may have been narrowed after it was set.
 */
import type { BrokerConfig, BrokerSettingName } from "../config.ts";
import {
  type Configs,
  type GroupSetting,
  type GroupSettingName,
  groupSettings,
  ownGroupConfigs,
  ownNumber,
  refuseDeadLetterTopic,
} from "../group-config.ts";
import { InvalidSettingError } from "../setting.ts";
import type { OffsetReset } from "./offset-reset.ts";

export interface ShareSettings {
  /** Where it begins in a partition of which it has no state. */
  readonly offsetReset: OffsetReset;
  readonly isolation: "read_committed" | "read_uncommitted";
  /** How long a delivered record belongs to its member. */
  readonly lockDurationMs: number;
  /** After so many deliveries a record is archived, or a dead letter. */
  readonly deliveryCountLimit: number;
  /** Most records of one partition that are delivered and not acknowledged. */
  readonly partitionLocksMax: number;
  /** Whether members may renew locks. */
  readonly mayRenew: boolean;
  /** After so long without a heartbeat a member is out. */
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  /** Null: the group has none. The name may have become one that is refused (`refuseDeadLetterTopic`). */
  readonly deadLetterTopic: string | null;
  /** Why that topic can never be one for dead letters, in a sentence; null: its name is as it should be. */
  readonly deadLetterTopicWrong: string | null;
  /** Whether dead letters have the record's own key, value and headers. */
  readonly copiesRecords: boolean;
}

/** `state`: of the journal. Cheap enough to be asked for each request. */
export function shareSettingsOf(groupId: string, state: Configs, config: BrokerConfig): ShareSettings {
  const own = <T>(name: GroupSettingName): T => ownValue<T>(name, groupId, state);
  const bounded = (name: GroupSettingName): number => {
    const { synonym, bounds }: GroupSetting = groupSettings[name];
    const value = ownNumber(name, groupId, state);
    if (value === undefined || bounds === undefined)
      return config.get(synonym as BrokerSettingName) as number;
    return Math.min(Math.max(value, config.get(bounds.min) as number), config.get(bounds.max) as number);
  };
  const deadLetterTopic = own<string>("errors.deadletterqueue.topic.name");
  return {
    offsetReset: own("share.auto.offset.reset"),
    isolation: own("share.isolation.level"),
    lockDurationMs: bounded("share.record.lock.duration.ms"),
    deliveryCountLimit: bounded("share.delivery.count.limit"),
    partitionLocksMax: bounded("share.partition.max.record.locks"),
    mayRenew: own("share.renew.acknowledge.enable"),
    sessionTimeoutMs: bounded("share.session.timeout.ms"),
    heartbeatIntervalMs: bounded("share.heartbeat.interval.ms"),
    deadLetterTopic: deadLetterTopic === "" ? null : deadLetterTopic,
    deadLetterTopicWrong: refuseDeadLetterTopic(deadLetterTopic, config),
    copiesRecords: own("errors.deadletterqueue.copy.record.enable"),
  };
}

function ownValue<T>(name: GroupSettingName, groupId: string, state: Configs): T {
  const { setting }: GroupSetting = groupSettings[name];
  const value = ownGroupConfigs(groupId, state).get(name);
  const fallback = (): T => setting.read(setting.default ?? "") as T;
  if (value === undefined) return fallback();
  try {
    return setting.read(value) as T;
  } catch (error) {
    if (error instanceof InvalidSettingError) return fallback();
    throw error;
  }
}
