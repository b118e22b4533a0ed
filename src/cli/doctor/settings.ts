/** Settings of a broker as they would be given to a start: unknown names, values out of range, and what is without effect. */
import { RefusedError } from "../../base/errors.ts";
import { BrokerConfig, brokerSettings, isBrokerSetting } from "../../broker/config.ts";
import { kafkaKeys } from "../../broker/kafka-keys.ts";
import { similarNames } from "../../client/similar-names.ts";
import type { Verdict } from "./verdict.ts";

export function settingVerdicts(settings: ReadonlyMap<string, string>, from: string): Verdict[] {
  const found: Verdict[] = [];
  const names = [...Object.keys(brokerSettings), ...kafkaKeys.keys()];
  for (const [name, value] of settings) {
    const facts = { name, value };
    if (isBrokerSetting(name)) {
      const why = refusal(name, value);
      if (why !== null)
        found.push({
          status: "wrong",
          about: name,
          facts,
          text: `${why} A start with it is refused.`,
        });
    } else if (kafkaKeys.has(name)) {
      found.push({
        status: "note",
        about: name,
        facts,
        text: "is a setting of Kafka's that has no effect here.",
      });
    } else {
      const [near] = similarNames(name, names);
      const meant = near === undefined ? "it has no effect." : `it has no effect. Was ${near} meant?`;
      found.push({
        status: near === undefined ? "note" : "wrong",
        about: name,
        facts,
        text: `is no setting: ${meant}`,
      });
    }
  }
  const text = `${settings.size} settings in ${from}${found.length === 0 ? ", all of them known and in their ranges" : ""}.`;
  return [
    { status: found.some(({ status }) => status === "wrong") ? "note" : "ok", about: "settings", text },
    ...found,
  ];
}

/** The sentence with which a start refuses the value, or null. */
function refusal(name: string, value: string): string | null {
  try {
    new BrokerConfig(new Map([[name, value]]));
    return null;
  } catch (error) {
    if (error instanceof RefusedError) return error.message;
    throw error;
  }
}
