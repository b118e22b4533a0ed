import assert from "node:assert/strict";
import fs from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it, mock } from "node:test";
import { DiskError } from "../base/errors.ts";
import type { Disk } from "../base/ports.ts";
import { describeDisk } from "../base/disk.contract.ts";
import { openDisk } from "./disk.ts";

const directories: string[] = [];
async function emptyDirectory(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "holdfast-disk-"));
  directories.push(made);
  return made;
}
after(() => Promise.all(directories.map((path) => rm(path, { recursive: true, force: true }))));

describeDisk("a directory", async () => openDisk(await emptyDirectory()));
describeDisk("a directory through the page cache", async () =>
  openDisk(await emptyDirectory(), { direct: false }),
);

describe("large files that are made", () => {
  const chunksOf = (length: number, seed: number): Uint8Array[] => {
    const chunks: Uint8Array[] = [];
    for (let at = 0, step = 1; at < length; step = (step * 7 + seed) % 300_000) {
      const chunk = new Uint8Array(Math.min(step, length - at));
      for (let i = 0; i < chunk.byteLength; i++) chunk[i] = (at + i) * 31 + seed;
      chunks.push(chunk);
      at += chunk.byteLength;
    }
    return chunks;
  };
  const contentOf = async (disk: Disk, path: string): Promise<Uint8Array> => {
    const file = await disk.open(path, { mode: "read", lane: "bulk" });
    const bytes = await file.read(0, await file.size());
    await file.close();
    return bytes;
  };
  /** Counts what leaves past the page cache; `fail` ends the first such writes. */
  const watchWrites = (fail?: string): { readonly lengths: number[]; restore: () => void } => {
    const lengths: number[] = [];
    const original = fs.write;
    const replaced = mock.method(fs, "write", (...args: unknown[]) => {
      const done = args.at(-1) as (error: Error | null, count?: number) => void;
      if (fail !== undefined) setImmediate(() => done(Object.assign(new Error(fail), { code: fail })));
      else {
        lengths.push(args[3] as number);
        (original as (...args: unknown[]) => void)(...args);
      }
    });
    return { lengths, restore: () => replaced.mock.restore() };
  };

  it("have every byte, whatever the chunks were, several at a time", async () => {
    const disk = openDisk(await emptyDirectory());
    const lengths = [300_000, 1 << 20, (3 << 20) + 1, (2 << 20) + 4095, 5_000_001];
    await Promise.all(
      lengths.map(async (length, i) => {
        const chunks = chunksOf(length, i);
        const file = await disk.open(`f${i}`, { mode: "create", lane: "bulk", bytes: length });
        await file.write(0, chunks);
        await file.write(length, [new Uint8Array([1, 2, 3])]);
        await file.sync();
        await file.close();
        const expected = Buffer.concat([...chunks, new Uint8Array([1, 2, 3])]);
        assert.ok(expected.equals(await contentOf(disk, `f${i}`)));
      }),
    );
  });

  const linux = process.platform === "linux";
  it("go past the page cache in whole blocks, but for what is left at the end", {
    skip: !linux,
  }, async () => {
    const disk = openDisk(await emptyDirectory());
    const { lengths, restore } = watchWrites();
    const file = await disk.open("f", { mode: "create", lane: "bulk", bytes: 1 << 21 });
    await file.write(0, chunksOf((1 << 21) + 5000, 1));
    restore();
    await file.close();
    assert.deepEqual(lengths, [1 << 20, 1 << 20, 4096]);
  });

  it("are written as usual where the file system refuses", async () => {
    const disk = openDisk(await emptyDirectory());
    const { restore } = watchWrites("EINVAL");
    const chunks = chunksOf(3 << 20, 5);
    const file = await disk.open("f", { mode: "create", lane: "bulk", bytes: 3 << 20 });
    await file.write(0, chunks);
    restore();
    await file.close();
    assert.ok(Buffer.concat(chunks).equals(await contentOf(disk, "f")));
  });

  it("report what the device says", async () => {
    for (const errno of ["EIO", "ENOSPC"]) {
      const disk = openDisk(await emptyDirectory());
      const { restore } = watchWrites(errno);
      const file = await disk.open("f", { mode: "create", lane: "bulk", bytes: 3 << 20 });
      await assert.rejects(
        file.write(0, chunksOf(3 << 20, 5)),
        (error: unknown) => error instanceof DiskError && error.errno === errno,
      );
      restore();
      await file.close();
    }
  });
});

/** Holds back every write until it is let go, and counts. */
function holdWrites(): { readonly held: (() => void)[]; restore: () => void } {
  const held: (() => void)[] = [];
  const original = fs.writev;
  const replaced = mock.method(fs, "writev", (...args: Parameters<typeof fs.writev>) => {
    held.push(() => original(...args));
  });
  return { held, restore: () => replaced.mock.restore() };
}

const turnOfLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("the lanes of a disk", () => {
  it("a WAL write starts at once however many bulk writes wait, and bulk writes leave two threads free", async () => {
    const disk = openDisk(await emptyDirectory(), { poolThreads: 4 });
    const bulk = await Promise.all(
      Array.from({ length: 6 }, (_, i) => disk.open(`bulk${i}`, { mode: "create", lane: "bulk" })),
    );
    const wal = await disk.open("wal", { mode: "create", lane: "wal", synced: true });
    const { held, restore } = holdWrites();
    try {
      const writes = bulk.map((file) => file.write(0, [new Uint8Array(10)]));
      await turnOfLoop();
      assert.equal(held.length, 2);
      const synced = wal.writeSynced(0, [new Uint8Array(10)]);
      assert.equal(held.length, 3);
      held.splice(2, 1)[0]?.();
      await synced;
      assert.equal(held.length, 2);
      const all = Promise.all(writes);
      for (let done = 0; done < 6; done++) {
        assert.ok(held.length <= 2);
        held.shift()?.();
        for (let tries = 0; held.length < Math.min(2, 5 - done) && tries < 10_000; tries++)
          await turnOfLoop();
      }
      await all;
    } finally {
      restore();
    }
    await Promise.all([...bulk, wal].map((file) => file.close()));
  });

  it("a bulk write leaves in chunks of one mebibyte, and eight of them are synced before the ninth", async () => {
    const disk = openDisk(await emptyDirectory());
    const file = await disk.open("big", { mode: "create", lane: "bulk" });
    const calls: string[] = [];
    const writev = fs.writev;
    const fdatasync = fs.fdatasync;
    const writes = mock.method(fs, "writev", (...args: Parameters<typeof fs.writev>) => {
      calls.push(`write ${args[1].reduce((sum, chunk) => sum + chunk.byteLength, 0)}`);
      writev(...args);
    });
    const syncs = mock.method(fs, "fdatasync", (...args: Parameters<typeof fs.fdatasync>) => {
      calls.push("sync");
      fdatasync(...args);
    });
    try {
      await file.write(0, [new Uint8Array(9 << 20)]);
    } finally {
      writes.mock.restore();
      syncs.mock.restore();
    }
    const eight = Array.from({ length: 8 }, () => "write 1048576");
    assert.deepEqual(calls, [...eight, "sync", "write 1048576"]);
    await file.close();
  });
});

/** Lets the next call of one function of node:fs end as told. */
function nextCall(name: "writev" | "fdatasync", error: string | null, value?: number): () => void {
  const replaced = mock.method(fs, name, (...args: unknown[]) => {
    replaced.mock.restore();
    const done = args.at(-1) as (error: Error | null, value?: number) => void;
    setImmediate(() => done(error === null ? null : Object.assign(new Error(error), { code: error }), value));
  });
  return () => replaced.mock.restore();
}

describe("synced writes of whole blocks", () => {
  it("hold what was written, one after the other and side by side", async () => {
    const disk = openDisk(await emptyDirectory());
    const file = await disk.open("wal", { mode: "create", lane: "wal", synced: true });
    const parts = Array.from({ length: 6 }, (_, i) => new Uint8Array(4096 * (i + 1)).fill(i + 1));
    let at = 0;
    const positions = parts.map((part) => {
      const position = at;
      at += part.byteLength;
      return position;
    });
    for (const i of [0, 1, 2]) {
      const part = parts[i] as Uint8Array;
      await file.writeSynced(positions[i] as number, [part.subarray(0, 5), part.subarray(5)]);
    }
    await Promise.all(
      [3, 4, 5].map((i) => file.writeSynced(positions[i] as number, [parts[i] as Uint8Array])),
    );
    assert.ok(Buffer.concat(parts).equals(await file.read(0, at + 1)));
    await file.close();
  });

  it("are longer than the memory for them, too", async () => {
    const disk = openDisk(await emptyDirectory());
    const file = await disk.open("wal", { mode: "create", lane: "wal", synced: true });
    const long = new Uint8Array(12 << 20).fill(7);
    await file.writeSynced(4096, [new Uint8Array(4096), long]);
    assert.ok(Buffer.from(long).equals(await file.read(8192, long.byteLength)));
    await file.close();
  });

  it("take the ordinary way where the file system refuses, and are an error where the device does", async () => {
    for (const errno of ["EINVAL", "EIO"]) {
      const disk = openDisk(await emptyDirectory());
      const file = await disk.open("wal", { mode: "create", lane: "wal", synced: true });
      const replaced = mock.method(fs, "write", (...args: unknown[]) => {
        const done = args.at(-1) as (error: Error) => void;
        setImmediate(() => done(Object.assign(new Error(errno), { code: errno })));
      });
      const written = file.writeSynced(0, [new Uint8Array(4096)]);
      if (errno === "EINVAL") await written;
      else {
        await assert.rejects(written, (error) => error instanceof DiskError && error.errno === "EIO");
        replaced.mock.restore();
        await assert.rejects(file.writeSynced(0, [new Uint8Array(4096)]), DiskError);
      }
      replaced.mock.restore();
      await file.close();
    }
  });
});

describe("errors of a disk", () => {
  const has = (errno: string) => (error: unknown) => error instanceof DiskError && error.errno === errno;

  it("a short synced write is an error, and the file never reports a success again", async () => {
    const disk = openDisk(await emptyDirectory());
    const file = await disk.open("wal", { mode: "create", lane: "wal", synced: true });
    nextCall("writev", null, 3);
    await assert.rejects(file.writeSynced(0, [new Uint8Array(10)]), has("EIO"));
    await assert.rejects(file.writeSynced(0, [new Uint8Array(10)]), has("EIO"));
    await assert.rejects(file.sync(), has("EIO"));
    await file.close();
  });

  it("a failed sync is never retried into a success, a pacing sync included", async () => {
    const disk = openDisk(await emptyDirectory());
    for (const bytes of [10, 9_000_000]) {
      const file = await disk.open(`f${bytes}`, { mode: "create", lane: "bulk" });
      nextCall("fdatasync", "EIO");
      await file.write(0, [new Uint8Array(bytes)]);
      await assert.rejects(file.sync(), has("EIO"));
      await assert.rejects(file.sync(), has("EIO"));
      await file.close();
    }
  });

  it("a short bulk write goes on until the reason shows", async () => {
    const disk = openDisk(await emptyDirectory());
    const file = await disk.open("f", { mode: "create", lane: "bulk" });
    nextCall("writev", null, 0);
    await assert.rejects(file.write(0, [new Uint8Array(10)]), has("EIO"));
    const original = fs.writev;
    const short = mock.method(fs, "writev", (...args: Parameters<typeof fs.writev>) => {
      short.mock.restore();
      const first = (args[1][0] as Uint8Array).subarray(0, 4);
      original(args[0], [first], args[2] as number, args[3]);
    });
    await file.write(0, [new Uint8Array([1, 2, 3, 4, 5]), new Uint8Array([6, 7])]);
    assert.deepEqual([...(await file.read(0, 10))], [1, 2, 3, 4, 5, 6, 7]);
    nextCall("writev", "ENOSPC");
    await assert.rejects(
      file.write(0, [new Uint8Array(10)]),
      (error) => has("ENOSPC")(error) && (error as DiskError).retriable,
    );
    await file.close();
  });

  it("a path does not leave the directory", async () => {
    const disk = openDisk(await emptyDirectory());
    await assert.rejects(disk.open("../x", { mode: "create", lane: "bulk" }), /inside the data directory/);
    await assert.rejects(disk.list("/etc"), /inside the data directory/);
  });
});
