/**
 * The settings of a topic, under Kafka's names and with Kafka's defaults. A value is the topic's own, else
 * the broker's under the name that Kafka pairs with it, else the default. What is set is checked before it
 * is written to the journal, so that what is read back always has a value.
 */
import { type CompressionType, type LogConfig, logConfigDefaults } from "../log/log-config.ts";
import { type BrokerConfig, type BrokerSettingName, brokerSettings } from "./config.ts";
import {
  boolean,
  ConfigSource,
  InvalidSettingError,
  list,
  type ResolvedSetting,
  type Setting,
  type SettingValue,
} from "./setting.ts";

/** A topic setting is its broker setting under another name, or stands alone. */
interface TopicSetting<T> extends Setting<T> {
  /** Names at the broker, first found first, with the factor that turns their unit into the topic's. */
  readonly synonyms: readonly { readonly name: BrokerSettingName; readonly factor: number }[];
}

type Broker = typeof brokerSettings;

function as<Name extends BrokerSettingName>(
  name: Name,
  ...others: { readonly name: BrokerSettingName; readonly factor: number }[]
): TopicSetting<SettingValue<Broker[Name]>> {
  const setting = brokerSettings[name] as unknown as Setting<SettingValue<Broker[Name]>>;
  return { ...setting, dynamic: true, synonyms: [{ name, factor: 1 }, ...others] };
}

const alone = <T>(setting: Setting<T>): TopicSetting<T> => ({ ...setting, dynamic: true, synonyms: [] });

const minuteMs = 60_000;
const hourMs = 3_600_000;

export const topicSettings = {
  "cleanup.policy": as("log.cleanup.policy"),
  "compression.gzip.level": as("compression.gzip.level"),
  "compression.lz4.level": as("compression.lz4.level"),
  "compression.type": as("compression.type"),
  "compression.zstd.level": as("compression.zstd.level"),
  "delete.retention.ms": as("log.cleaner.delete.retention.ms"),
  "errors.deadletterqueue.group.enable": alone(
    boolean({ default: false, text: "Whether share groups may write dead letters to the topic." }),
  ),
  "file.delete.delay.ms": as("log.segment.delete.delay.ms"),
  "flush.messages": as("log.flush.interval.messages"),
  "flush.ms": as("log.flush.interval.ms"),
  "follower.replication.throttled.replicas": alone(
    list({ default: "", text: "Accepted and shown; there are no followers." }),
  ),
  "index.interval.bytes": as("log.index.interval.bytes"),
  "leader.replication.throttled.replicas": alone(
    list({ default: "", text: "Accepted and shown; there are no followers." }),
  ),
  "local.retention.bytes": as("log.local.retention.bytes"),
  "local.retention.ms": as("log.local.retention.ms"),
  "max.compaction.lag.ms": as("log.cleaner.max.compaction.lag.ms"),
  "max.decompressed.message.bytes": as("max.decompressed.message.bytes"),
  "max.message.bytes": as("message.max.bytes"),
  "message.timestamp.after.max.ms": as("log.message.timestamp.after.max.ms"),
  "message.timestamp.before.max.ms": as("log.message.timestamp.before.max.ms"),
  "message.timestamp.type": as("log.message.timestamp.type"),
  "min.cleanable.dirty.ratio": as("log.cleaner.min.cleanable.ratio"),
  "min.compaction.lag.ms": as("log.cleaner.min.compaction.lag.ms"),
  "min.insync.replicas": as("min.insync.replicas"),
  preallocate: as("log.preallocate"),
  "remote.copy.lag.bytes": as("log.remote.copy.lag.bytes"),
  "remote.copy.lag.ms": as("log.remote.copy.lag.ms"),
  "remote.log.copy.disable": alone(boolean({ default: false, text: "Accepted and shown." })),
  "remote.log.delete.on.disable": alone(boolean({ default: false, text: "Accepted and shown." })),
  "remote.storage.enable": alone(boolean({ default: false, text: "Accepted and shown." })),
  "retention.bytes": as("log.retention.bytes"),
  "retention.ms": {
    ...as(
      "log.retention.ms",
      { name: "log.retention.minutes", factor: minuteMs },
      { name: "log.retention.hours", factor: hourMs },
    ),
    default: String(168 * hourMs),
  },
  "segment.bytes": as("log.segment.bytes"),
  "segment.index.bytes": as("log.index.size.max.bytes"),
  "segment.jitter.ms": as("log.roll.jitter.ms"),
  "segment.ms": as("log.roll.ms", { name: "log.roll.hours", factor: hourMs }),
  "unclean.leader.election.enable": as("unclean.leader.election.enable"),
} as const satisfies { readonly [name: string]: TopicSetting<unknown> };

export type TopicSettingName = keyof typeof topicSettings;
type ValueOf<Name extends TopicSettingName> = SettingValue<(typeof topicSettings)[Name]>;

export const topicSettingNames = Object.keys(topicSettings) as TopicSettingName[];

export function isTopicSetting(name: string): name is TopicSettingName {
  return Object.hasOwn(topicSettings, name);
}

/** Checks one setting; the sentence that refuses it, or null. */
export function refuseTopicSetting(name: string, value: string | null): string | null {
  if (!isTopicSetting(name)) return `There is no topic setting ${name}.`;
  if (value === null) return `${name} needs a value.`;
  try {
    topicSettings[name].read(value);
    return null;
  } catch (error) {
    if (error instanceof InvalidSettingError) return `${name} ${error.message}.`;
    throw error;
  }
}

/** Checks settings that would stand together; the sentence that refuses them, or null. */
export function refuseTopicSettings(own: ReadonlyMap<string, string>, broker: BrokerConfig): string | null {
  for (const [name, value] of own) {
    const refusal = refuseTopicSetting(name, value);
    if (refusal !== null) return refusal;
  }
  if (topicValue("min.compaction.lag.ms", own, broker) > topicValue("max.compaction.lag.ms", own, broker)) {
    return "min.compaction.lag.ms must not be greater than max.compaction.lag.ms.";
  }
  return null;
}

/** Every place where a value is set, the one that counts first, the default last: what DescribeConfigs lists as synonyms. */
export function topicSynonyms(
  name: TopicSettingName,
  own: ReadonlyMap<string, string>,
  broker: BrokerConfig,
): readonly ResolvedSetting[] {
  const setting: TopicSetting<unknown> = topicSettings[name];
  const found: ResolvedSetting[] = [];
  const value = own.get(name);
  if (value !== undefined) found.push({ name, value, source: ConfigSource.topic });
  for (const synonym of setting.synonyms) {
    const explicit = broker.explicit(synonym.name);
    if (explicit !== undefined) found.push({ ...explicit, value: scaled(explicit.value, synonym.factor) });
  }
  found.push({
    name: setting.synonyms[0]?.name ?? name,
    value: setting.default,
    source: ConfigSource.default,
  });
  return found;
}

/** Negative means "without limit" in every unit. */
function scaled(value: string | null, factor: number): string | null {
  if (value === null || factor === 1) return value;
  return Number(value) < 0 ? "-1" : String(Number(value) * factor);
}

export function resolveTopicSetting(
  name: TopicSettingName,
  own: ReadonlyMap<string, string>,
  broker: BrokerConfig,
): ResolvedSetting {
  return topicSynonyms(name, own, broker)[0] as ResolvedSetting;
}

export function topicValue<Name extends TopicSettingName>(
  name: Name,
  own: ReadonlyMap<string, string>,
  broker: BrokerConfig,
): ValueOf<Name> {
  const { value } = resolveTopicSetting(name, own, broker);
  return topicSettings[name].read(value as string) as ValueOf<Name>;
}

/** What the log obeys. `own`: the topic's settings in the journal. */
export function logConfigOf(own: ReadonlyMap<string, string>, broker: BrokerConfig): LogConfig {
  const value = <Name extends TopicSettingName>(name: Name): ValueOf<Name> => topicValue(name, own, broker);
  const policies: readonly string[] = value("cleanup.policy");
  return {
    ...logConfigDefaults,
    deletes: policies.includes("delete"),
    compacts: policies.includes("compact"),
    retentionMs: value("retention.ms"),
    retentionBytes: value("retention.bytes"),
    messageBytesMax: value("max.message.bytes"),
    timestampType: value("message.timestamp.type") === "LogAppendTime" ? "log-append" : "create",
    timestampBeforeMaxMs: value("message.timestamp.before.max.ms"),
    timestampAfterMaxMs: value("message.timestamp.after.max.ms"),
    compressionType: value("compression.type") satisfies CompressionType,
    gzipLevel: value("compression.gzip.level"),
    zstdLevel: value("compression.zstd.level"),
    deleteRetentionMs: value("delete.retention.ms"),
    compactionLagMinMs: value("min.compaction.lag.ms"),
    compactionLagMaxMs: value("max.compaction.lag.ms"),
    dirtyRatioMin: value("min.cleanable.dirty.ratio"),
  };
}
