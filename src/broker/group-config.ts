/**
 * What can be set for one group of KIP-848, or one share group, beside what holds for all of them. It stands in
 * the journal as configuration of a resource of the group's name, also before there is such a group and after it
 * is gone.
 */
import type { ClusterState } from "../metadata/state.ts";
import type { BrokerConfig, BrokerSettingName } from "./config.ts";
import { readOffsetReset } from "./share/offset-reset.ts";
import { boolean, InvalidSettingError, int, oneOf, type Setting, text } from "./setting.ts";
import { refuseTopicName } from "./topics.ts";

export type Configs = Pick<ClusterState, "brokerConfigs">;

export interface GroupSetting {
  /** Type and range; its default counts where there is no synonym. */
  readonly setting: Setting<unknown>;
  /** The broker's key that holds where nothing is set for the group. */
  readonly synonym?: string;
  /** The broker's keys between which a value must lie. */
  readonly bounds?: { readonly min: BrokerSettingName; readonly max: BrokerSettingName };
}

/** Those that are a broker's setting of their own have their default and text there. */
const number = int({ default: 1, min: 0, text: "" });

export const groupSettings = {
  /** Without effect, as the broker's: members are told at once. */
  "consumer.assignment.interval.ms": { setting: number, synonym: "group.consumer.assignment.interval.ms" },
  "consumer.heartbeat.interval.ms": {
    setting: number,
    synonym: "group.consumer.heartbeat.interval.ms",
    bounds: {
      min: "group.consumer.min.heartbeat.interval.ms",
      max: "group.consumer.max.heartbeat.interval.ms",
    },
  },
  "consumer.session.timeout.ms": {
    setting: number,
    synonym: "group.consumer.session.timeout.ms",
    bounds: { min: "group.consumer.min.session.timeout.ms", max: "group.consumer.max.session.timeout.ms" },
  },
  /** Kafka's default is false: by the time that somebody looks, retention may have taken the record itself. */
  "errors.deadletterqueue.copy.record.enable": {
    setting: boolean({
      default: true,
      text: "Whether a dead letter is the whole record, with its key, value and headers; else it has only the headers that say which record it was, and why.",
    }),
  },
  "errors.deadletterqueue.topic.name": {
    setting: text({
      default: "",
      text: "The topic for the share group's dead letters (KIP-1191); empty: records that are rejected, or delivered too often, are archived and counted, and nothing else remains of them.",
    }),
  },
  /** Without effect, as the broker's: see `ShareGroup`. */
  "share.assignment.interval.ms": { setting: number, synonym: "group.share.assignment.interval.ms" },
  "share.auto.offset.reset": {
    setting: {
      type: "string",
      default: "latest",
      dynamic: true,
      text: "Where a share group begins in a partition that it has never read: latest, earliest, or by_duration: with a time in ISO 8601 (by_duration:PT1H), the first record that is not older.",
      read: readOffsetReset,
    },
  },
  "share.delivery.count.limit": {
    setting: number,
    synonym: "group.share.delivery.count.limit",
    bounds: { min: "group.share.min.delivery.count.limit", max: "group.share.max.delivery.count.limit" },
  },
  "share.heartbeat.interval.ms": {
    setting: number,
    synonym: "group.share.heartbeat.interval.ms",
    bounds: { min: "group.share.min.heartbeat.interval.ms", max: "group.share.max.heartbeat.interval.ms" },
  },
  "share.isolation.level": {
    setting: oneOf(["read_committed", "read_uncommitted"], {
      default: "read_uncommitted",
      text: "Whether a share group is given records of transactions only once they are committed.",
    }),
  },
  "share.partition.max.record.locks": {
    setting: number,
    synonym: "group.share.partition.max.record.locks",
    bounds: {
      min: "group.share.min.partition.max.record.locks",
      max: "group.share.max.partition.max.record.locks",
    },
  },
  "share.record.lock.duration.ms": {
    setting: number,
    synonym: "group.share.record.lock.duration.ms",
    bounds: {
      min: "group.share.min.record.lock.duration.ms",
      max: "group.share.max.record.lock.duration.ms",
    },
  },
  "share.renew.acknowledge.enable": {
    setting: boolean({
      default: true,
      text: "Whether members may make the lock of a record last longer (RENEW).",
    }),
  },
  "share.session.timeout.ms": {
    setting: number,
    synonym: "group.share.session.timeout.ms",
    bounds: { min: "group.share.min.session.timeout.ms", max: "group.share.max.session.timeout.ms" },
  },
} as const satisfies { readonly [name: string]: GroupSetting };

export type GroupSettingName = keyof typeof groupSettings;
export const groupSettingNames = Object.keys(groupSettings) as readonly GroupSettingName[];
const isGroupSetting = (name: string): name is GroupSettingName => Object.hasOwn(groupSettings, name);

/** They stay in memory: so many groups may have settings of their own, each with a name of so many characters. */
export const configuredGroupsMax = 1_000;
export const configuredNameMax = 249;

const prefix = "group:";
/** In the journal; no node id is like it. */
export const groupResource = (groupId: string): string => prefix + groupId;

export function configuredGroups({ brokerConfigs }: Configs): readonly string[] {
  return Array.from(brokerConfigs.keys()).flatMap((name) =>
    name.startsWith(prefix) ? [name.slice(prefix.length)] : [],
  );
}

const nothing: ReadonlyMap<string, string> = new Map();
export function ownGroupConfigs(groupId: string, { brokerConfigs }: Configs): ReadonlyMap<string, string> {
  return brokerConfigs.get(groupResource(groupId)) ?? nothing;
}

/** The sentence that refuses a value, or null. */
export function refuseGroupSetting(name: string, value: string, config: BrokerConfig): string | null {
  if (!isGroupSetting(name)) return `There is no group setting ${name}.`;
  const { setting, bounds }: GroupSetting = groupSettings[name];
  try {
    const given = setting.read(value) as number;
    if (bounds === undefined) {
      return name === "errors.deadletterqueue.topic.name" ? refuseDeadLetterTopic(value, config) : null;
    }
    const [min, max] = [config.get(bounds.min) as number, config.get(bounds.max) as number];
    if (given >= min && given <= max) return null;
    return `${name} must lie between ${min} (${bounds.min}) and ${max} (${bounds.max}), not at ${given}.`;
  } catch (error) {
    if (error instanceof InvalidSettingError) return `${name} ${error.message}.`;
    throw error;
  }
}

/** The sentence that refuses a topic for dead letters, or null. Whether it is there is looked at when it is needed. */
export function refuseDeadLetterTopic(name: string, config: BrokerConfig): string | null {
  if (name === "") return null;
  const key = "errors.deadletterqueue.topic.name";
  if (name.startsWith("__")) return `${key} must not begin with __, as internal topics do: "${name}".`;
  const wrong = refuseTopicName(name);
  if (wrong !== null) return `${key} is no name of a topic: ${wrong}`;
  const required = config.get("errors.deadletterqueue.topic.name.prefix") ?? "";
  if (name.startsWith(required)) return null;
  return `${key} must begin with "${required}" (errors.deadletterqueue.topic.name.prefix): "${name}".`;
}

/** After so many ms without a heartbeat a member of the group is out. */
export const sessionTimeoutMs = (groupId: string, state: Configs, config: BrokerConfig): number =>
  ownNumber("consumer.session.timeout.ms", groupId, state) ?? config.get("group.consumer.session.timeout.ms");

/** How often a member of the group is told to say that it is alive, in ms. */
export const heartbeatMs = (groupId: string, state: Configs, config: BrokerConfig): number =>
  ownNumber("consumer.heartbeat.interval.ms", groupId, state) ??
  config.get("group.consumer.heartbeat.interval.ms");

/** Undefined also for what a later version may have written, and this one cannot read. */
export function ownNumber(name: GroupSettingName, groupId: string, state: Configs): number | undefined {
  const value = Number(ownGroupConfigs(groupId, state).get(name) ?? Number.NaN);
  return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}
