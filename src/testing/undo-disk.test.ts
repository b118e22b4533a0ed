import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import fc from "fast-check";
import { describeDisk } from "../base/disk.contract.ts";
import { DiskError } from "../base/errors.ts";
import type { Disk } from "../base/ports.ts";
import { openDisk } from "../io/disk.ts";
import { SimDisk } from "../sim/disk.ts";
import { OneLifeDisk } from "./one-life-disk.ts";
import { UndoDisk } from "./undo-disk.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-undo-"));
after(() => rmSync(scratch, { recursive: true }));

function undoDisk(): UndoDisk {
  const root = mkdtempSync(join(scratch, "disk-"));
  return new UndoDisk(openDisk(root), root);
}

describeDisk("a directory that can lose what was not synced", async () => undoDisk());
describeDisk("the disk of one life", async () => new OneLifeDisk(undoDisk()));

type Step =
  | { readonly do: "create" | "remove"; readonly path: string }
  | {
      readonly do: "write" | "truncate" | "sync";
      readonly path: string;
      readonly at: number;
      readonly length: number;
    }
  | { readonly do: "link" | "rename"; readonly path: string; readonly to: string }
  | { readonly do: "syncDirectory" | "makeDirectory"; readonly path: string };

const directory = fc.constantFrom("d", "e");
const path = fc.constantFrom("a", "b", "d/a", "d/b", "e/a");
const at = fc.nat(20);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constantFrom("create", "create", "remove"), path }),
  fc.record({
    do: fc.constantFrom("write", "write", "truncate", "sync"),
    path,
    at,
    length: fc.integer({ min: 1, max: 20 }),
  }),
  fc.record({ do: fc.constantFrom("link", "rename"), path, to: path }),
  fc.record({ do: fc.constant("syncDirectory" as const), path: fc.constantFrom("", "d", "e") }),
  fc.record({ do: fc.constant("makeDirectory" as const), path: directory }),
);

/** Answers the errno of a step that was refused. */
async function take(disk: Disk, step: Step, number: number): Promise<string | null> {
  try {
    switch (step.do) {
      case "create":
        await (await disk.open(step.path, { mode: "create", lane: "bulk" })).close();
        break;
      case "remove":
        await disk.remove(step.path);
        break;
      case "link":
      case "rename":
        await disk[step.do](step.path, step.to);
        break;
      case "syncDirectory":
      case "makeDirectory":
        await disk[step.do](step.path);
        break;
      case "sync":
      case "write":
      case "truncate": {
        const file = await disk.open(step.path, { mode: "existing", lane: "bulk" });
        if (step.do === "sync") await file.sync();
        else if (step.do === "truncate") await file.truncate(step.at);
        else await file.write(step.at, [new Uint8Array(step.length).fill(number)]);
        await file.close();
      }
    }
    return null;
  } catch (error) {
    if (error instanceof DiskError) return error.errno;
    throw error;
  }
}

async function contents(disk: Disk): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const directory of ["", "d", "e"]) {
    for (const name of await disk.list(directory)) {
      const path = directory === "" ? name : `${directory}/${name}`;
      if (path === "d" || path === "e") {
        found[path] = "directory";
        continue;
      }
      const file = await disk.open(path, { mode: "read", lane: "bulk" });
      found[path] = Buffer.from(await file.read(0, await file.size())).toString("hex");
      await file.close();
    }
  }
  return found;
}

/**
 * Not between two names of one file, which does nothing on a real disk, and within one directory: the model
 * can lose one half of a rename between two, which no journaling file system does.
 */
function isPlain(from: string, to: string): boolean {
  return from !== to && from.slice(0, from.indexOf("/") + 1) === to.slice(0, to.indexOf("/") + 1);
}

test("a power cut leaves what the simulated disk leaves when it loses all that may be lost", async () => {
  const steps = fc.array(step, { minLength: 5, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(steps, steps, async (before, after) => {
      const real = undoDisk();
      const model = new SimDisk();
      let linked = false;
      for (const steps of [before, after]) {
        for (const [number, one] of steps.entries()) {
          linked ||= one.do === "link";
          if (one.do === "rename" && (linked || !isPlain(one.path, one.to))) continue;
          const wanted = await take(model, one, number + 1);
          assert.equal(await take(real, one, number + 1), wanted, JSON.stringify(one));
        }
        assert.deepEqual(await contents(real), await contents(model));
        model.crash(() => false);
        real.loseUnsynced();
        assert.deepEqual(await contents(real), await contents(model));
      }
    }),
    { numRuns: Number(process.env["HOLDFAST_UNDO_RUNS"] ?? 60) },
  );
});

test("two names of one file are of one file after a power cut as well: a sync by either keeps the bytes", async () => {
  const disk = undoDisk();
  const steps: readonly Step[] = [
    { do: "create", path: "a" },
    { do: "link", path: "a", to: "b" },
    { do: "syncDirectory", path: "" },
  ];
  for (const one of steps) await take(disk, one, 0);
  disk.loseUnsynced();
  await take(disk, { do: "write", path: "a", at: 0, length: 1 }, 3);
  await take(disk, { do: "sync", path: "b", at: 0, length: 0 }, 0);
  disk.loseUnsynced();
  assert.deepEqual(await contents(disk), { a: "03", b: "03" });
});

test("when only the process dies, everything that was written stays", async () => {
  const disk = undoDisk();
  await take(disk, { do: "create", path: "a" }, 0);
  await take(disk, { do: "write", path: "a", at: 0, length: 3 }, 7);
  disk.forget();
  disk.loseUnsynced();
  assert.deepEqual(await contents(disk), { a: "070707" });
});

test("a life that ended asks nothing of the disk, and hears nothing from it", async () => {
  const inner = undoDisk();
  const disk = new OneLifeDisk(inner);
  const file = await disk.open("a", { mode: "create", lane: "wal" });
  const settled: string[] = [];
  void file.write(0, [Buffer.from("x")]).then(() => settled.push("write"));
  disk.end();
  void file.write(1, [Buffer.from("y")]).then(() => settled.push("late write"));
  void disk.remove("a").then(() => settled.push("remove"));
  await disk.close();
  assert.deepEqual(await contents(inner), { a: Buffer.from("x").toString("hex") });
  assert.deepEqual(settled, []);
});
