/**
 * What can be set for one group of KIP-848 beside what holds for all of them. It stands in the journal as
 * configuration of a resource of the group's name, also before there is such a group and after it is gone.
 */
import type { ClusterState } from "../metadata/state.ts";
import type { BrokerConfig, BrokerSettingName } from "./config.ts";
import { InvalidSettingError, int } from "./setting.ts";

type Configs = Pick<ClusterState, "brokerConfigs">;

export interface GroupSetting {
  /** The broker's key that holds where nothing is set for the group. */
  readonly synonym: string;
  /** The broker's keys between which a value must lie. */
  readonly bounds?: { readonly min: BrokerSettingName; readonly max: BrokerSettingName };
}

export const groupSettings = {
  /** Without effect, as the broker's: members are told at once. */
  "consumer.assignment.interval.ms": { synonym: "group.consumer.assignment.interval.ms" },
  "consumer.heartbeat.interval.ms": {
    synonym: "group.consumer.heartbeat.interval.ms",
    bounds: {
      min: "group.consumer.min.heartbeat.interval.ms",
      max: "group.consumer.max.heartbeat.interval.ms",
    },
  },
  "consumer.session.timeout.ms": {
    synonym: "group.consumer.session.timeout.ms",
    bounds: { min: "group.consumer.min.session.timeout.ms", max: "group.consumer.max.session.timeout.ms" },
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

const milliseconds = int({ default: 1, min: 0, text: "" });

/** The sentence that refuses a value, or null. */
export function refuseGroupSetting(name: string, value: string, config: BrokerConfig): string | null {
  if (!isGroupSetting(name)) return `There is no group setting ${name}.`;
  const { bounds }: GroupSetting = groupSettings[name];
  try {
    const given = milliseconds.read(value);
    if (bounds === undefined) return null;
    const [min, max] = [config.get(bounds.min) as number, config.get(bounds.max) as number];
    if (given >= min && given <= max) return null;
    return `${name} must lie between ${min} (${bounds.min}) and ${max} (${bounds.max}), not at ${given}.`;
  } catch (error) {
    if (error instanceof InvalidSettingError) return `${name} ${error.message}.`;
    throw error;
  }
}

/** After so many ms without a heartbeat a member of the group is out. */
export const sessionTimeoutMs = (groupId: string, state: Configs, config: BrokerConfig): number =>
  ownMs("consumer.session.timeout.ms", groupId, state) ?? config.get("group.consumer.session.timeout.ms");

/** How often a member of the group is told to say that it is alive, in ms. */
export const heartbeatMs = (groupId: string, state: Configs, config: BrokerConfig): number =>
  ownMs("consumer.heartbeat.interval.ms", groupId, state) ??
  config.get("group.consumer.heartbeat.interval.ms");

/** Undefined also for what a later version may have written, and this one cannot read. */
function ownMs(name: GroupSettingName, groupId: string, state: Configs): number | undefined {
  const ms = Number(ownGroupConfigs(groupId, state).get(name) ?? Number.NaN);
  return Number.isSafeInteger(ms) && ms > 0 ? ms : undefined;
}
