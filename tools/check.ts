/** `npm run check`: the quick whole truth before a commit, in about a minute. */
import { runSteps } from "./run-steps.ts";

runSteps([
  { name: "format", command: ["biome", "format", "."] },
  { name: "tidy", command: ["node", "tools/tidy.ts"] },
  { name: "types", command: ["tsc", "-p", "."] },
  { name: "lint", command: ["oxlint", "--type-aware"] },
  { name: "tests", command: ["node", "tools/test.ts"] },
  { name: "simulation", command: ["node", "src/sim/main.ts", "--seeds", "20"] },
]);
