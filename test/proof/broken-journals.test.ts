import { test } from "node:test";
import { type BrokenJournal, brokenJournals, judge } from "./broken-journals.ts";

// `HOLDFAST_BROKEN=full` tries all of them.
const sample: readonly BrokenJournal[] = [
  "noCheckWrite",
  "412isLost",
  "a dead broker's WAL ends once more",
  "a move leaves no dependency",
];
const all = Object.keys(brokenJournals) as BrokenJournal[];

for (const name of process.env["HOLDFAST_BROKEN"] === "full" ? all : sample) {
  test(`a broken journal is found out: ${name}`, async (t) => t.diagnostic(await judge(name)));
}
