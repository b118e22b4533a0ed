import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { aWorld } from "../../test/proof/journal-world.ts";
import { AssertionFailure } from "../base/assert.ts";
import { DiskError, RefusedError } from "../base/errors.ts";
import type { Disk } from "../base/ports.ts";
import { openDisk } from "../io/disk.ts";
import { SimDisk } from "../sim/disk.ts";
import { SimObjectStore } from "../sim/object-store.ts";
import { DirectoryStore } from "./directory-store.ts";
import { StoreFailedError } from "./errors.ts";
import { describeObjectStore } from "./object-store.contract.ts";

const open = (disk: Disk, shared = false): Promise<DirectoryStore> =>
  DirectoryStore.open(disk, { directory: "objects", random: aWorld().random, shared });
const some = new Uint8Array([1, 2, 3]);
const put = (store: DirectoryStore, key: string): Promise<"created" | "exists"> =>
  store.putIfAbsent(key, [some], some.byteLength);

/** As a process leaves it that is killed right behind its link. */
async function linkAsAnother(disk: Disk, key: string): Promise<void> {
  const file = await disk.open("objects/meta/.tmp-other-0", { mode: "create", lane: "bulk" });
  await file.write(0, [some]);
  await file.sync();
  await disk.link("objects/meta/.tmp-other-0", `objects/${key}.object`);
}

describeObjectStore("A directory on the simulated disk", async () => ({ store: await open(new SimDisk()) }));
describeObjectStore("A directory shared by processes", async () => ({
  store: await open(new SimDisk(), true),
}));
describeObjectStore("The simulated bucket", async () => {
  const { scheduler, env, random } = aWorld();
  const store = new SimObjectStore({ clock: env.clock, random }).connect();
  return { store, settle: (promise) => scheduler.runUntil(promise) };
});

const roots: string[] = [];
describeObjectStore("A directory on the real disk", async () => {
  const root = await mkdtemp(join(tmpdir(), "holdfast-store-"));
  roots.push(root);
  return { store: await open(openDisk(root)) };
});

describe("a directory as an object store", () => {
  it("leaves no directories of its tests behind", async () => {
    for (const root of roots) await rm(root, { recursive: true });
  });

  it("is not built upon a name that a failed sync dropped: the newest of a chain is written anew at the next open", async () => {
    const chained = (disk: Disk) =>
      DirectoryStore.open(disk, { directory: "objects", random: aWorld().random, chains: ["meta"] });
    const disk = new SimDisk();
    const first = await chained(disk);
    await put(first, "meta/1");
    disk.fault = ({ operation, path }) =>
      operation === "syncDirectory" && path === "objects/meta" ? { kind: "error", errno: "EIO" } : undefined;
    await assert.rejects(put(first, "meta/2"), StoreFailedError);
    disk.fault = null;
    disk.kill();
    const second = await chained(disk);
    assert.deepEqual(await second.get("meta/2"), some, "the next process sees it, and goes on behind it");
    await put(second, "meta/3");
    disk.crash(() => false);
    const third = await chained(disk);
    assert.deepEqual(
      (await third.list("meta/")).map(({ key }) => key),
      ["meta/1", "meta/2", "meta/3"],
    );
  });

  it("is not built upon a directory whose sync failed: one that is empty is made anew", async () => {
    const open = (disk: Disk) => DirectoryStore.open(disk, { directory: "objects", random: aWorld().random });
    for (const place of ["", "objects"]) {
      const disk = new SimDisk();
      disk.fault = ({ operation, path }) =>
        operation === "syncDirectory" && path === place ? { kind: "error", errno: "EIO" } : undefined;
      await assert.rejects(
        open(disk).then((store) => put(store, "seg/1")),
        StoreFailedError,
      );
      disk.fault = null;
      disk.kill();
      await put(await open(disk), "seg/2");
      disk.crash(() => false);
      assert.deepEqual(await (await open(disk)).get("seg/2"), some, `a failed sync of "${place}"`);
    }
  });

  it("opens on a full disk, which takes no copy of the newest of a chain", async () => {
    const options = { directory: "objects", random: aWorld().random, chains: ["meta"] };
    const disk = new SimDisk();
    await put(await DirectoryStore.open(disk, options), "meta/1");
    disk.capacityBytes = some.byteLength;
    const full = await DirectoryStore.open(disk, options);
    assert.deepEqual(await full.get("meta/1"), some);
    assert.deepEqual(disk.paths(), ["objects/meta/1.object"]);
  });

  it("hides temporary files and removes them at the next open", async () => {
    const disk = new SimDisk();
    await put(await open(disk), "meta/1");
    for (const path of ["objects/.tmp-dead-1", "objects/meta/.tmp-dead-2"]) {
      await (await disk.open(path, { mode: "create", lane: "bulk" })).close();
    }
    const shared = await open(disk, true);
    assert.deepEqual(
      (await shared.list("")).map(({ key }) => key),
      ["meta/1"],
    );
    assert.equal(disk.paths().length, 3, "in a shared directory they may belong to somebody");
    await open(disk);
    assert.deepEqual(disk.paths(), ["objects/meta/1.object"]);
  });

  it("leaves stray files alone", async () => {
    const disk = new SimDisk();
    await disk.makeDirectory("objects");
    await (await disk.open("objects/notes.txt", { mode: "create", lane: "bulk" })).close();
    const store = await open(disk);
    await put(store, "meta/1");
    assert.deepEqual(
      (await store.list("")).map(({ key }) => key),
      ["meta/1"],
    );
    assert.ok(disk.paths().includes("objects/notes.txt"));
  });

  it("refuses a file system without hard links with one sentence", async () => {
    for (const errno of ["EPERM", "ENOTSUP", "EOPNOTSUPP"]) {
      const disk = new SimDisk();
      disk.fault = ({ operation }) => (operation === "link" ? { kind: "error", errno } : undefined);
      await assert.rejects(open(disk), (error) => {
        assert.ok(error instanceof RefusedError);
        assert.match(error.message, /hard links/);
        return true;
      });
      assert.deepEqual(disk.paths(), []);
    }
  });

  it("refuses a file system whose links replace an existing name", async () => {
    const disk = new SimDisk();
    const lying = Object.assign(Object.create(disk) as Disk, {
      open: disk.open.bind(disk),
      list: disk.list.bind(disk),
      makeDirectory: disk.makeDirectory.bind(disk),
      removeDirectory: disk.removeDirectory.bind(disk),
      syncDirectory: disk.syncDirectory.bind(disk),
      remove: disk.remove.bind(disk),
      link: () => Promise.resolve(),
    });
    await assert.rejects(open(lying), RefusedError);
  });

  it("removes what it began on a full disk, says that it is full, and goes on when there is space", async () => {
    const disk = new SimDisk();
    const store = await open(disk);
    for (const operation of ["open", "write", "sync", "link"] as const) {
      disk.fault = (call) => (call.operation === operation ? { kind: "error", errno: "ENOSPC" } : undefined);
      await assert.rejects(put(store, "meta/1"), (error) => error instanceof DiskError && error.retriable);
      assert.deepEqual(disk.paths(), [], operation);
    }
    disk.fault = null;
    assert.equal(await put(store, "meta/1"), "created");
  });

  for (const operation of ["sync", "syncDirectory", "write"] as const) {
    it(`is closed for good after a failed ${operation}`, async () => {
      const disk = new SimDisk();
      const store = await open(disk);
      await put(store, "meta/0");
      disk.fault = (call) => (call.operation === operation ? { kind: "error", errno: "EIO" } : undefined);
      await assert.rejects(put(store, "meta/1"), StoreFailedError);
      disk.fault = null;
      await assert.rejects(put(store, "meta/1"), StoreFailedError);
      await assert.rejects(store.get("meta/1"), StoreFailedError);
      await assert.rejects(store.list("meta/"), StoreFailedError);
      assert.equal(await put(await open(disk), "meta/2"), "created");
    });
  }

  it("never takes a failed directory sync with a full disk for a clean refusal", async () => {
    const disk = new SimDisk();
    const store = await open(disk);
    await put(store, "meta/0");
    disk.fault = ({ operation }) =>
      operation === "syncDirectory" ? { kind: "error", errno: "ENOSPC" } : undefined;
    await assert.rejects(put(store, "meta/1"), StoreFailedError);
  });

  it("makes a name of another process durable before it tells of the object", async () => {
    const readings: readonly ((store: DirectoryStore) => Promise<unknown>)[] = [
      (store) => store.get("meta/1"),
      (store) => store.get("meta/1", { start: 0, length: 1 }),
      (store) => put(store, "meta/1"),
    ];
    for (const [at, reading] of readings.entries()) {
      const disk = new SimDisk();
      const store = await open(disk, true);
      await put(store, "meta/0");
      await linkAsAnother(disk, "meta/1");
      const lost = disk.clone();
      lost.crash(() => false);
      assert.equal(await (await open(lost)).get("meta/1"), null);
      assert.notEqual(await reading(store), null);
      disk.crash(() => false);
      assert.deepEqual(await (await open(disk)).get("meta/1"), some, `reading ${at}`);
    }
  });

  it("does not show an object while its name is not durable", async () => {
    const disk = new SimDisk();
    const store = await open(disk);
    await put(store, "meta/0");
    const seen: string[] = [];
    let looked: Promise<unknown> = Promise.resolve();
    disk.fault = ({ operation, path }) => {
      if (operation === "syncDirectory" && path === "objects/meta") {
        looked = store.get("meta/1").then(() => seen.push("get"));
      }
      return undefined;
    };
    await put(store, "meta/1").then(() => seen.push("put"));
    await looked;
    assert.deepEqual(seen, ["put", "get"]);
  });

  it("in a shared directory, syncs a name once for all the parts that are read of it", async () => {
    const disk = new SimDisk();
    const store = await open(disk, true);
    await put(await open(disk, true), "seg/1");
    const calls: string[] = [];
    disk.fault = ({ operation }) => {
      calls.push(operation);
      return undefined;
    };
    for (const start of [0, 1, 2]) await store.get("seg/1", { start, length: 1 });
    assert.equal(calls.filter((call) => call === "syncDirectory").length, 1);
    await (await open(disk, true)).delete("seg/1");
    assert.equal(await store.get("seg/1", { start: 0, length: 1 }), null, "what another one deleted is gone");
  });

  it("in a shared directory, shares a sync among all who saw their names before it began, and with nobody else", async () => {
    const { scheduler } = aWorld();
    const latencyMs = (operation: string): number => (operation === "syncDirectory" ? 10 : 0);
    const disk = new SimDisk({ scheduler, latencyMs });
    const store = await scheduler.runUntil(open(disk, true));
    await scheduler.runUntil(put(store, "meta/0"));
    let syncs = 0;
    disk.fault = ({ operation }) => {
      if (operation === "syncDirectory") syncs += 1;
      return undefined;
    };
    const early = store.get("meta/0");
    while (syncs === 0) await Promise.resolve();
    await linkAsAnother(disk, "meta/1");
    const late = [store.get("meta/1"), store.get("meta/1"), store.get("meta/1")];
    assert.deepEqual(await scheduler.runUntil(Promise.all([early, ...late])), [some, some, some, some]);
    assert.equal(syncs, 2);
    disk.crash(() => false);
    const reopened = await scheduler.runUntil(open(disk));
    assert.deepEqual(await scheduler.runUntil(reopened.get("meta/1")), some);
  });

  it("reads parts of an object from one open file", async () => {
    const disk = new SimDisk();
    const store = await open(disk);
    await put(store, "seg/1");
    const calls: string[] = [];
    disk.fault = ({ operation }) => {
      calls.push(operation);
      return undefined;
    };
    for (const start of [0, 1, 2]) {
      assert.deepEqual(await store.get("seg/1", { start, length: 1 }), some.subarray(start, start + 1));
    }
    assert.deepEqual(calls, ["open", "read", "read", "read"]);
  });

  it("never gives parts of an object that was deleted, whoever reads meanwhile, nor of its predecessor", async () => {
    const disk = new SimDisk();
    const store = await open(disk);
    const part = { start: 0, length: 3 };
    await put(store, "seg/1");
    assert.deepEqual(await store.get("seg/1", part), some);
    const [during] = await Promise.all([store.get("seg/1", part), store.delete("seg/1")]);
    assert.ok(during === null || Buffer.from(during).equals(some));
    assert.equal(await store.get("seg/1", part), null);
    const other = new Uint8Array([7, 8, 9]);
    await store.putIfAbsent("seg/1", [other], 3);
    assert.deepEqual(await store.get("seg/1", part), other);
  });

  it("shows what happened to an object's file while it was open: bytes that changed, and an end that came nearer", async () => {
    const disk = new SimDisk();
    const store = await open(disk);
    const part = { start: 0, length: 3 };
    await put(store, "seg/1");
    await store.get("seg/1", part);
    disk.flipBit("objects/seg/1.object", 0);
    assert.deepEqual(await store.get("seg/1", part), new Uint8Array([0, 2, 3]));
    disk.damage("objects/seg/1.object", (bytes) => bytes.subarray(0, 2));
    assert.deepEqual(await store.get("seg/1", part), new Uint8Array([0, 2]));
  });

  it("can be closed, and is still there for who asks late", async () => {
    const store = await open(new SimDisk());
    await put(store, "seg/1");
    await store.get("seg/1", { start: 0, length: 1 });
    store.close();
    assert.deepEqual(await store.get("seg/1", { start: 0, length: 3 }), some);
  });

  it("takes only plain names for keys", async () => {
    const store = await open(new SimDisk());
    for (const key of [
      "",
      "/a",
      "a/",
      "a//b",
      "../a",
      "a/../b",
      ".tmp-1",
      "a/.b",
      "a b",
      "ä",
      "x".repeat(201),
    ]) {
      await assert.rejects(put(store, key), AssertionFailure, key);
    }
  });
});
