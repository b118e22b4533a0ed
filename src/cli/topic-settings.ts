/** Settings of a topic on the command line: `--set KEY=VALUE`, and Kafka's `--config` and `--add-config`. */
import { UsageError } from "./usage-error.ts";

/** Kafka's `--add-config` takes several with commas, and brackets around a value that has commas itself. */
export function parseSettings(
  pairs: readonly string[],
  lists: readonly string[] = [],
): { readonly [key: string]: string } {
  const found: { [key: string]: string } = {};
  for (const pair of [...pairs, ...lists.flatMap(splitList)]) {
    const at = pair.indexOf("=");
    if (at <= 0) throw new UsageError(`--set needs KEY=VALUE, not "${pair}".`);
    const key = pair.slice(0, at).trim();
    const value = pair.slice(at + 1);
    found[key] = value;
  }
  return found;
}

export function parseKeys(keys: readonly string[]): readonly string[] {
  return keys.flatMap((each) => each.split(",")).map((key) => key.trim());
}

function splitList(list: string): readonly string[] {
  const found = [...list.matchAll(/([^=,]+=)(?:\[([^\]]*)\]|([^,[]*))(?:,|$)/g)];
  // What fits no pair must not be overlooked.
  if (found.reduce((length, [all]) => length + all.length, 0) !== list.length || found.length === 0) {
    throw new UsageError(
      `--add-config needs KEY=VALUE,KEY=VALUE, with brackets around a value that has commas, not "${list}".`,
    );
  }
  return found.map(([, key, bracketed, plain]) => `${key}${bracketed ?? plain ?? ""}`);
}
