/** `--property key=value` of Kafka's console tools: those that have a meaning here; others are refused, not overlooked. */
import { UsageError } from "./usage-error.ts";

export type PropertyKind = "boolean" | "text";

/** Throws `UsageError`. */
export function readProperties(
  pairs: readonly string[],
  known: { readonly [name: string]: PropertyKind },
): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    const name = at === -1 ? pair : pair.slice(0, at);
    const kind = known[name];
    if (at === -1 || kind === undefined) {
      throw new UsageError(
        `--property ${pair} has no meaning here: there are ${Object.keys(known).join(", ")}, each with =VALUE.`,
      );
    }
    const value = pair.slice(at + 1);
    if (kind === "boolean" && value !== "true" && value !== "false") {
      throw new UsageError(`--property ${name} is true or false, not "${value}".`);
    }
    found.set(name, value);
  }
  return found;
}
