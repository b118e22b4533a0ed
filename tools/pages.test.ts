import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { pages } from "./pages.ts";

for (const { path, make } of pages) {
  test(`${path} says what the code says`, () => {
    assert.ok(readFileSync(path, "utf8") === make(), `${path} is out of date: npm run pages`);
  });
}

test("docs/operate.md names every metric", () => {
  const text = readFileSync("docs/operate.md", "utf8");
  const sources = globSync("src/{broker,http,io,log,metadata,store}/**/*.ts", {
    exclude: (path) => path.endsWith(".test.ts"),
  });
  const metrics = sources.flatMap((path) =>
    Array.from(
      readFileSync(path, "utf8").matchAll(/"(holdfast_[a-z0-9_]+)"/g),
      (match) => match[1] as string,
    ),
  );
  assert.ok(metrics.length > 10);
  assert.deepEqual(
    metrics.filter((name) => !text.includes(`\`${name}\``)),
    [],
  );
});
