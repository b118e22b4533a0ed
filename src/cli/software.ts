/** Name and version of this program, from its package. */
import { readFileSync } from "node:fs";

const { name, version } = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
) as { readonly name: string; readonly version: string };

export const software = { name, version } as const;
