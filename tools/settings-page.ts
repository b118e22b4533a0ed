/** `docs/settings.md`, from the tables of settings in `src/broker/`. */
import { brokerSettings } from "../src/broker/config.ts";
import { configuredGroupsMax, type GroupSetting, groupSettings } from "../src/broker/group-config.ts";
import { InvalidSettingError, type Setting } from "../src/broker/setting.ts";
import { topicSettings } from "../src/broker/topic-config.ts";

export function settingsPage(): string {
  const broker: readonly (readonly [string, Setting<unknown>])[] = Object.entries(brokerSettings);
  return `# Settings

Made by \`npm run pages\` from [src/broker/config.ts](../src/broker/config.ts), [topic-config.ts](../src/broker/topic-config.ts) and [group-config.ts](../src/broker/group-config.ts); do not edit.

A broker's settings are given with \`--set KEY=VALUE\` or in a file (\`--config FILE\`, lines \`key=value\`); those marked "live" can be changed while it runs, for one broker or for all (\`kafka-configs --alter --entity-type brokers\`). Names and defaults are Kafka's where Kafka has the setting; \`holdfast.…\` are ours. Keys that Kafka has and that mean nothing here are accepted, shown and without effect: [kafka-keys.ts](../src/broker/kafka-keys.ts) says of each why. Names without effect are listed once in the log when the broker starts.

## Broker

| name | default | range | live | |
|---|---|---|---|---|
${broker.map(([name, setting]) => row(name, setting, setting.dynamic ? "live" : "")).join("\n")}

## Topic

Set when a topic is created or with \`kafka-configs --alter --entity-type topics\`; each takes effect at once. Without a value of its own a topic takes that of the broker's setting in the fourth column, the first that is set. The meaning is that of the broker's setting.

| name | default | range | broker's setting | |
|---|---|---|---|---|
${Object.entries(topicSettings)
  .map(([name, setting]) => {
    const synonyms: readonly { readonly name: string }[] = setting.synonyms;
    const broker = synonyms.map((synonym) => `\`${synonym.name}\``).join(", ");
    return row(name, setting, broker);
  })
  .join("\n")}

## Group

Set for one group of KIP-848 or one share group with \`kafka-configs --alter --entity-type groups\`, for ${configuredGroupsMax.toLocaleString("en")} groups at most, also before a group is there; members hear of it with their next heartbeat. Without a value of its own a group takes that of the broker's setting.

| name | between | broker's setting |
|---|---|---|
${groupRows(({ synonym }) => synonym !== undefined)
  .map(([name, { synonym, bounds }]) => {
    const between = bounds === undefined ? "no effect" : `\`${bounds.min}\` and \`${bounds.max}\``;
    return `| \`${name}\` | ${between} | \`${synonym}\` |`;
  })
  .join("\n")}

These are settings of groups only:

| name | default | range | |
|---|---|---|---|
${groupRows(({ synonym }) => synonym === undefined)
  .map(([name, { setting }]) => row(name, setting))
  .join("\n")}
`;
}

function groupRows(
  isWanted: (setting: GroupSetting) => boolean,
): readonly (readonly [string, GroupSetting])[] {
  return Object.entries<GroupSetting>(groupSettings).filter(([, setting]) => isWanted(setting));
}

function row(name: string, setting: Setting<unknown>, last?: string): string {
  const shown =
    setting.default === null ? "none" : setting.default === "" ? "empty" : inUnits(name, setting.default);
  const middle = last === undefined ? "" : ` ${last} |`;
  return `| \`${name}\` | ${shown} | ${rangeOf(setting)} |${middle} ${setting.text.replaceAll("|", "\\|")} |`;
}

const MiB = 1024 * 1024;

function inUnits(name: string, value: string): string {
  const number = Number(value);
  if (name.includes("bytes") && number >= MiB && number % MiB === 0) return `${value} (${number / MiB} MiB)`;
  return value === "9223372036854775807" ? "no limit" : value;
}

/** What a setting refuses says what it takes: the sentence for a value that is too small, too great, or no word of its list. */
function rangeOf({ type, read }: Setting<unknown>): string {
  if (type === "boolean") return "true, false";
  if (type === "string" || type === "list") {
    return (
      clause(read, "?", /^must be one of (.*), not/) ?? clause(read, "?", /^may hold (.*), but not/) ?? "text"
    );
  }
  const [lowest, highest] =
    type === "int" ? ["-2147483648", "2147483647"] : ["-9007199254740991", "9007199254740991"];
  const min = clause(read, lowest, /^must be at least (.*), not/);
  const max = clause(read, highest, /^must be at most (.*), not/);
  if (min === undefined && max === undefined) return type;
  return `${min === undefined ? "" : `${min} ≤ `}${type}${max === undefined ? "" : ` ≤ ${max}`}`;
}

function clause(read: (text: string) => unknown, value: string, pattern: RegExp): string | undefined {
  try {
    read(value);
    return undefined;
  } catch (error) {
    if (!(error instanceof InvalidSettingError)) throw error;
    return pattern.exec(error.message)?.[1];
  }
}
