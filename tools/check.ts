/**
 * `npm run check`: the quick truth before a commit. `npm run check -- types lint` takes only the steps of these names.
 * Its tests are those of `npm test` without the proofs, which take as long as all others together.
 */
import { runSteps } from "./run-steps.ts";

const steps = [
  { name: "format", command: ["biome", "format", "."] },
  { name: "tidy", command: ["node", "tools/tidy.ts"] },
  { name: "types", command: ["tsc", "-p", "."] },
  { name: "lint", command: ["oxlint", "--type-aware"] },
  { name: "tests", command: ["node", "tools/test.ts", "--quick"] },
  { name: "simulation", command: ["node", "src/sim/main.ts", "--seeds", "20", "--workers", "2"] },
] as const;

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !steps.some((step) => step.name === name));
if (unknown.length > 0) {
  console.error(
    `no step is called ${unknown.join(" or ")}; there are ${steps.map(({ name }) => name).join(", ")}`,
  );
  process.exit(1);
}
runSteps(steps.filter(({ name }) => wanted.length === 0 || wanted.includes(name)));
