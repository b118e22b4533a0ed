/**
 * `npm run pages`: writes the documents that are made from code. `pages.test.ts` fails when one of them is
 * not what it would write. `node tools/pages.ts --take-results` first copies the newest results of
 * `test/interop` from `.cache/`.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { cliPage } from "./cli-page.ts";
import { compatibilityPage } from "./compatibility.ts";
import { journalFormatPage, segmentFormatPage, walFormatPage } from "./format-pages.ts";
import { takeResults } from "./interop-results.ts";
import { settingsPage } from "./settings-page.ts";

export const pages: readonly { readonly path: string; readonly make: () => string }[] = [
  { path: "docs/compatibility.md", make: compatibilityPage },
  { path: "docs/cli.md", make: cliPage },
  { path: "docs/settings.md", make: settingsPage },
  { path: "docs/formats/wal.md", make: walFormatPage },
  { path: "docs/formats/segments.md", make: segmentFormatPage },
  { path: "docs/formats/journal.md", make: journalFormatPage },
];

if (import.meta.main) {
  process.chdir(resolve(import.meta.dirname, ".."));
  if (process.argv.includes("--take-results")) takeResults();
  for (const { path, make } of pages) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, make());
  }
}
