/** The assignors that are served, by the names that members ask for; the first is used where nobody asks. */
import type { Assignor } from "./assignor.ts";
import { assignRanges } from "./range.ts";
import { assignUniformly } from "./uniform.ts";

export const assignors: ReadonlyMap<string, Assignor> = new Map([
  ["uniform", assignUniformly],
  ["range", assignRanges],
]);
export const [defaultAssignor = ""] = assignors.keys();

/** Of a name that was served by another broker, the default. */
export function assignorOf(name: string): Assignor {
  return assignors.get(name) ?? assignUniformly;
}
