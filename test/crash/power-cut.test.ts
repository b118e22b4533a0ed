/** What the power cut must take back and what it must leave, so that the crash test can be believed. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { start } from "../../tools/processes.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { powerCut } from "./power-cut.ts";

const skip = process.env["HOLDFAST_CRASH_CYCLES"] === undefined ? "set HOLDFAST_CRASH_CYCLES" : false;

/** Runs a script on Node under the cut, kills it, cuts with the given luck and answers how files look. */
async function afterCut(
  script: string,
  luck: () => number,
  prepare: (data: string) => void = () => undefined,
): Promise<(name: string) => string | undefined> {
  mkdirSync(join(cacheDirectory, "crash"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "crash", "cut-"));
  const cut = await powerCut(directory);
  prepare(join(directory, "data"));
  let done = (): void => undefined;
  const finished = new Promise<void>((resolve) => {
    done = resolve;
  });
  const imports = 'import fs from "node:fs"; import { open } from "node:fs/promises";';
  const wait = 'console.log("done"); setInterval(() => {}, 1000);';
  const running = start(process.execPath, ["--input-type=module", "-e", `${imports}${script}${wait}`], {
    cwd: join(directory, "data"),
    env: cut.env,
    onLine: () => done(),
  });
  await Promise.race([finished, running.ended]);
  running.signal("SIGKILL");
  const { stderr } = await running.ended;
  assert.equal(stderr, "");
  cut.apply(luck);
  const files = new Map<string, string>();
  for (const name of ["a", "b", "c"]) {
    const path = join(directory, "data", name);
    if (existsSync(path)) files.set(name, readFileSync(path, "latin1"));
  }
  rmSync(directory, { recursive: true });
  return (name) => files.get(name);
}

const allIsLost = (): number => 0;
const syncDirectory = 'const d = fs.openSync(".", "r"); fs.fsyncSync(d);';

test("an unsynced write is taken back and a synced one stays", { skip }, async () => {
  const file = await afterCut(
    `const f = await open("a", "w+"); ${syncDirectory}
     await f.writev([Buffer.from("kept"), Buffer.from("kept")], 0); await f.datasync(); await f.write(Buffer.from("lost"), 0, 4, 2);
     await f.writev([Buffer.from("lost"), Buffer.from("lost")], 8);`,
    allIsLost,
  );
  assert.equal(file("a"), "keptkept");
});

test("a write through O_DSYNC stays, also where an unsynced one went before", { skip }, async () => {
  const file = await afterCut(
    `const f = await open("a", "r+"); await f.writev([Buffer.from("lostlost")], 0);
     const g = await open("a", fs.constants.O_RDWR | fs.constants.O_DSYNC); await g.writev([Buffer.from("KEPT")], 2);`,
    allIsLost,
    (data) => writeFileSync(join(data, "a"), "12345678"),
  );
  assert.equal(file("a"), "12KEPT78");
});

test("a name without a sync of its directory is lost, whatever was synced of the file", {
  skip,
}, async () => {
  const file = await afterCut(
    `const f = await open("a", "w"); await f.write("bytes"); await f.sync(); ${syncDirectory}
     fs.renameSync("a", "b"); const g = await open("c", "wx"); await g.write("bytes"); await g.sync();`,
    allIsLost,
  );
  assert.deepEqual([file("a"), file("b"), file("c")], ["bytes", undefined, undefined]);
});

test("a deletion and a link stay when the directory was synced", { skip }, async () => {
  const file = await afterCut(
    `fs.unlinkSync("a"); fs.linkSync("b", "c"); ${syncDirectory} fs.unlinkSync("b");`,
    allIsLost,
    (data) => {
      writeFileSync(join(data, "a"), "first");
      writeFileSync(join(data, "b"), "second");
    },
  );
  assert.deepEqual([file("a"), file("b"), file("c")], [undefined, "second", "second"]);
});

test("a cut that was not synced is taken back with the bytes behind it", { skip }, async () => {
  const file = await afterCut(`const f = await open("a", "r+"); await f.truncate(2);`, allIsLost, (data) =>
    writeFileSync(join(data, "a"), "12345678"),
  );
  assert.equal(file("a"), "12345678");
});

test("with other luck nothing is lost", { skip }, async () => {
  const whole = await afterCut(
    `const f = await open("a", "w"); await f.write("bytes"); fs.renameSync("a", "b");`,
    () => 0.99,
  );
  assert.equal(whole("b"), "bytes");
});
