import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { pages } from "./pages.ts";

for (const { path, make } of pages) {
  test(`${path} says what the code says`, () => {
    assert.ok(readFileSync(path, "utf8") === make(), `${path} is out of date: npm run pages`);
  });
}
