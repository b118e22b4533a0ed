/** docs/compatibility.md tells the truth about what is served. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { handlers } from "../src/broker/handlers.ts";

test("the table of APIs is that of the handlers", () => {
  const text = readFileSync(join(import.meta.dirname, "../docs/compatibility.md"), "utf8");
  const rows = [...text.matchAll(/^\| (\w+) \| (\d+) \| (\d+)(?: to (\d+))? \|$/gm)];
  assert.deepEqual(
    rows.map(([, name, key, first, last = first]) => [name, Number(key), Number(first), Number(last)]),
    handlers
      .map(({ api }) => [api.name, api.key, ...api.versions])
      .sort(([, a], [, b]) => Number(a) - Number(b)),
  );
});
