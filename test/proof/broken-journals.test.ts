import assert from "node:assert/strict";
import { test } from "node:test";
import { changed } from "./broken-copy.ts";
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

// Those that are not tried in every run are broken where the rule stands now, too.
test("every rule of the journal can be broken in the sources as they are", () => {
  for (const { changes } of Object.values(brokenJournals)) assert.notEqual(changed(changes).size, 0);
});
