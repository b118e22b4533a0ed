/**
 * `npm test`: every unit, contract, property and type test, and a sample of each proof. `npm test -- wal` runs the
 * files whose path contains "wal", `npm test -- --quick` all but the proofs and what is tough. Needs nothing but
 * `npm ci`; what needs other people's programs is in test/interop.
 */
import { globSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runSteps } from "./run-steps.ts";

const { values, positionals: wanted } = parseArgs({
  options: { quick: { type: "boolean", default: false } },
  allowPositionals: true,
});
const places = [
  "src/**",
  "test",
  "test/types",
  "tools",
  ...(values.quick ? [] : ["test/proof", "test/tough"]),
];
const files = globSync(places.map((place) => `${place}/*.test.ts`))
  .filter((file) => wanted.length === 0 || wanted.some((word) => file.includes(word)))
  .sort();
if (files.length === 0) {
  console.error(`no test file matches ${wanted.join(" ")}`);
  process.exit(1);
}
runSteps([
  {
    name: `${files.length} test files`,
    // Each file is a process of its own, which would spend most of its time on taking the types out of the same
    // sources. Node keeps what it compiled, each by path, version of Node and hash of the source.
    env: { NODE_COMPILE_CACHE: join(process.cwd(), ".cache", "compile") },
    command: ["node", "--test", "--test-concurrency=2", "--test-reporter=spec", ...files],
  },
]);
