import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { RefusedError } from "../base/errors.ts";
import { lockDirectory } from "./directory-lock.ts";

const root = mkdtempSync(join(tmpdir(), "holdfast-lock-"));
after(() => rmSync(root, { recursive: true, force: true }));

/** Another process that holds the lock until it is killed. */
async function holder(directory: string): Promise<ChildProcess> {
  const script = `
    const { lockDirectory } = await import(${JSON.stringify(import.meta.resolve("./directory-lock.ts"))});
    await lockDirectory(${JSON.stringify(directory)});
    process.stdout.write("locked");
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout as NodeJS.ReadableStream, "data");
  return child;
}

const refused = (sentence: RegExp) => (error: unknown) =>
  error instanceof RefusedError && sentence.test(error.message);

describe("the lock of a data directory", () => {
  it("makes the directory, is held once, and can be taken again after its release", async () => {
    const directory = join(root, "a", "b");
    const lock = await lockDirectory(directory);
    assert.equal(lock.isNew, true);
    await assert.rejects(lockDirectory(directory), refused(/is in use by process \d+, started at /));
    lock.release();
    const again = await lockDirectory(directory);
    assert.equal(again.isNew, false);
    again.release();
  });

  it("names the process that holds it, and ends with that process even when it is killed", async () => {
    const directory = join(root, "killed");
    const other = await holder(directory);
    await assert.rejects(
      lockDirectory(directory),
      refused(new RegExp(`in use by process ${other.pid}, started at 2`)),
    );
    other.kill("SIGKILL");
    await once(other, "exit");
    (await lockDirectory(directory)).release();
  });

  it("is refused where other things lie, and leaves nothing behind there", async () => {
    const directory = mkdtempSync(join(root, "home-"));
    writeFileSync(join(directory, "letter.txt"), "");
    await assert.rejects(lockDirectory(directory), refused(/holds other things \(letter\.txt\)/));
    assert.deepEqual(readdirSync(directory), ["letter.txt"]);
  });

  it("is refused on a path that is a file", async () => {
    const path = join(root, "file");
    writeFileSync(path, "");
    await assert.rejects(lockDirectory(path), refused(/is a file/));
    await assert.rejects(lockDirectory(join(path, "below")), refused(/is a file/));
  });

  it("is refused where this user may not write", { skip: process.getuid?.() === 0 }, async () => {
    const directory = mkdtempSync(join(root, "locked-"));
    chmodSync(directory, 0o500);
    await assert.rejects(lockDirectory(directory), refused(/cannot be written by this user/));
  });
});
