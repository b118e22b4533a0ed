import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DiskFile } from "../base/ports.ts";
import { SimDisk } from "../sim/disk.ts";
import { OpenFiles } from "./open-files.ts";

/** Files of a disk, and how many of them are open. */
async function someFiles(names: readonly string[], filesMax: number) {
  const disk = new SimDisk();
  for (const name of names) {
    const file = await disk.open(name, { mode: "create", lane: "bulk" });
    await file.write(0, [Buffer.from(name)]);
    await file.close();
  }
  const seen = { opened: 0, closed: 0 };
  const files = new OpenFiles(async (path) => {
    const file = await disk.open(path, { mode: "read", lane: "bulk" });
    seen.opened++;
    return Object.assign(Object.create(file) as DiskFile, {
      read: (position: number, length: number) => file.read(position, length),
      close: () => {
        seen.closed++;
        return file.close();
      },
    });
  }, filesMax);
  const read = async (path: string): Promise<string> =>
    Buffer.from(await files.use(path, (file) => file.read(0, 1))).toString();
  return { disk, files, seen, read };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("files that stay open between reads", () => {
  it("are opened once, also by readers at the same time", async () => {
    const { seen, read } = await someFiles(["a"], 2);
    assert.deepEqual(await Promise.all([read("a"), read("a")]), ["a", "a"]);
    assert.equal(await read("a"), "a");
    assert.deepEqual(seen, { opened: 1, closed: 0 });
  });

  it("are bounded in number, and the least recently used is closed first", async () => {
    const { files, seen, read } = await someFiles(["a", "b", "c"], 2);
    for (const name of ["a", "b", "a", "c"]) await read(name);
    await settled();
    assert.deepEqual(seen, { opened: 3, closed: 1 });
    assert.equal(files.count, 2);
    await read("a");
    assert.equal(seen.opened, 3, "it was b that was closed");
  });

  it("are never closed under a read", async () => {
    const { files, seen, read } = await someFiles(["a", "b"], 1);
    let finish = (): void => undefined;
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const reading = files.use("a", async (file) => {
      await finished;
      return file.read(0, 1);
    });
    await read("b");
    files.forget("a");
    await settled();
    assert.equal(seen.closed, 0);
    finish();
    assert.equal(Buffer.from(await reading).toString(), "a");
    await settled();
    assert.equal(seen.closed, 1, "the last user closes it");
  });

  it("are not found any more once their name is gone, even when one was being opened", async () => {
    const { disk, files, read } = await someFiles(["a"], 2);
    const opening = read("a");
    await disk.remove("a");
    files.forget("a");
    await opening;
    await assert.rejects(read("a"), { errno: "ENOENT" });
    assert.equal(files.count, 0, "what failed is tried anew");
  });

  it("are opened anew after a failed read", async () => {
    const { disk, seen, read } = await someFiles(["a"], 2);
    disk.refuseRead = () => true;
    await assert.rejects(read("a"), { errno: "EIO" });
    disk.refuseRead = null;
    assert.equal(await read("a"), "a");
    await settled();
    assert.deepEqual(seen, { opened: 2, closed: 1 });
  });

  it("are all closed in the end, and nothing stays open afterwards", async () => {
    const { files, seen, read } = await someFiles(["a", "b"], 2);
    await read("a");
    files.close();
    await read("b");
    await settled();
    assert.deepEqual(seen, { opened: 2, closed: 2 });
    assert.equal(files.count, 0);
  });
});
