/** Configurations as clients see them: every key that Kafka knows, with value, source, type and text. */
import { ConfigType } from "../protocol/messages/describe-configs.ts";
import { type BrokerConfig, brokerSettings, isBrokerSetting } from "./config.ts";
import { type GroupSetting, groupSettingNames, groupSettings } from "./group-config.ts";
import { type KafkaKeyType, kafkaKeys } from "./kafka-keys.ts";
import { ConfigSource, type ResolvedSetting, type Setting } from "./setting.ts";
import { topicSettingNames, topicSettings, topicSynonyms } from "./topic-config.ts";

export interface ConfigEntry {
  readonly name: string;
  /** Null: none, or not to be shown. */
  readonly value: string | null;
  readonly readOnly: boolean;
  readonly configSource: number;
  readonly isSensitive: boolean;
  /** Where it is set, the place that counts first, the default last. */
  readonly synonyms: readonly {
    readonly name: string;
    readonly value: string | null;
    readonly source: number;
  }[];
  /** One of `ConfigType`. */
  readonly configType: number;
  readonly documentation: string;
}

/** All settings of a topic; `own`: those that it has itself. */
export function topicEntries(own: ReadonlyMap<string, string>, broker: BrokerConfig): readonly ConfigEntry[] {
  return topicSettingNames.map((name) => {
    const setting: Setting<unknown> = topicSettings[name];
    return entry(name, setting, topicSynonyms(name, own, broker));
  });
}

const brokerKeys: readonly string[] = [...Object.keys(brokerSettings), ...kafkaKeys.keys()].sort();
const isBrokerKey = (name: string): boolean => isBrokerSetting(name) || kafkaKeys.has(name);

export function brokerEntries(config: BrokerConfig): readonly ConfigEntry[] {
  return brokerKeys.map((name) => {
    const key = keyOf(name);
    const fallback = { name, value: key.default, source: ConfigSource.default };
    return entry(name, key, [...config.places(name), fallback]);
  });
}

/** What was set for all brokers at run time, and nothing else, as Kafka shows the resource without a name. */
export function clusterEntries(all: ReadonlyMap<string, string>): readonly ConfigEntry[] {
  return Array.from(all, ([name, value]) =>
    entry(name, keyOf(name), [{ name, value, source: ConfigSource.dynamicDefaultBroker }]),
  );
}

/** All settings of a group; `own`: those that it has itself. */
export function groupEntries(own: ReadonlyMap<string, string>, config: BrokerConfig): readonly ConfigEntry[] {
  return groupSettingNames.map((name) => {
    const { setting, synonym }: GroupSetting = groupSettings[name];
    const value = own.get(name);
    const set = value === undefined ? [] : [{ name, value, source: ConfigSource.group }];
    const key = synonym === undefined ? setting : keyOf(synonym);
    const fallback = { name: synonym ?? name, value: key.default, source: ConfigSource.default };
    const places = synonym === undefined ? [] : config.places(synonym);
    const all = [...set, ...places, fallback];
    const shown = entry(name, { ...key, dynamic: true }, all);
    // What no key of the broker stands behind has its own default among them, other than a topic's.
    return synonym === undefined ? { ...shown, synonyms: all } : shown;
  });
}

interface Key {
  readonly type: KafkaKeyType;
  readonly default: string | null;
  readonly dynamic: boolean;
  readonly text: string;
}

/** A key that this version does not know can be in the journal: a later one may have put it there. */
const unknownKey: Key = { type: "string", default: null, dynamic: true, text: "Unknown to this version." };

/** Shown without a value unless someone gave one, as Kafka does: another key has the default. */
const defaultElsewhere: ReadonlySet<string> = new Set([
  "log.flush.interval.ms",
  "log.retention.minutes",
  "log.retention.ms",
  "log.roll.jitter.ms",
  "log.roll.ms",
]);

function keyOf(name: string): Key {
  if (!isBrokerSetting(name)) return kafkaKeys.get(name) ?? unknownKey;
  const setting: Setting<unknown> = brokerSettings[name];
  return defaultElsewhere.has(name) ? { ...setting, default: null } : setting;
}

/** Kafka tells a default as a synonym only where a key of the broker has it. */
const isSynonym = ({ name, source }: ResolvedSetting): boolean =>
  source !== ConfigSource.default || (isBrokerKey(name) && keyOf(name).default !== null);

/** Whether the values of a broker's key are lists, to which can be appended. */
export const isListKey = (name: string): boolean => keyOf(name).type === "list";

function entry(name: string, key: Key, places: readonly ResolvedSetting[]): ConfigEntry {
  const isSensitive = key.type === "password";
  const shown = isSensitive ? places.map((place) => ({ ...place, value: null })) : places;
  const counts = shown[0] as ResolvedSetting;
  return {
    name,
    value: counts.value,
    readOnly: !key.dynamic,
    configSource: counts.source,
    isSensitive,
    synonyms: shown.filter(isSynonym),
    configType: ConfigType[key.type],
    documentation: key.text,
  };
}
