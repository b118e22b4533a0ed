/**
 * What every `Disk` does while nothing crashes and nothing fails; the real one and the simulated one pass
 * the same suite. What survives a crash is the business of the simulated disk's own tests.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DiskError } from "./errors.ts";
import type { Disk, DiskFile } from "./ports.ts";

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

function refusal(errno: string): (error: unknown) => boolean {
  return (error) => error instanceof DiskError && error.errno === errno;
}

async function contentOf(disk: Disk, path: string): Promise<string> {
  const file = await disk.open(path, { mode: "read", lane: "bulk" });
  try {
    return textOf(await file.read(0, await file.size()));
  } finally {
    await file.close();
  }
}

async function create(disk: Disk, path: string, text: string): Promise<void> {
  const file = await disk.open(path, { mode: "create", lane: "bulk" });
  await file.write(0, [bytesOf(text)]);
  await file.sync();
  await file.close();
}

/** `make` gives an empty disk; it is called once per test. */
export function describeDisk(name: string, make: () => Promise<Disk>): void {
  describe(`${name} is a disk`, () => {
    const withFile = async (work: (file: DiskFile) => Promise<void>, synced = false): Promise<void> => {
      const disk = await make();
      const file = await disk.open("file", { mode: "create", lane: synced ? "wal" : "bulk", synced });
      await work(file);
      await file.close();
    };

    it("reads back what was written, whatever the chunks were", () =>
      withFile(async (file) => {
        await file.write(0, [bytesOf("ab"), bytesOf(""), bytesOf("cde")]);
        await file.write(5, [bytesOf("f")]);
        assert.equal(await file.size(), 6);
        assert.equal(textOf(await file.read(1, 4)), "bcde");
      }));

    it("overwrites in place and leaves zeros in a gap", () =>
      withFile(async (file) => {
        await file.write(0, [bytesOf("aaaa")]);
        await file.write(1, [bytesOf("bb")]);
        await file.write(6, [bytesOf("c")]);
        assert.equal(textOf(await file.read(0, 100)), "abba\0\0c");
      }));

    it("gives fewer bytes only at the end of the file", () =>
      withFile(async (file) => {
        await file.write(0, [bytesOf("abc")]);
        assert.equal(textOf(await file.read(2, 10)), "c");
        assert.equal((await file.read(3, 10)).byteLength, 0);
        assert.equal((await file.read(50, 10)).byteLength, 0);
      }));

    it("gives arrays that belong to the reader", () =>
      withFile(async (file) => {
        await file.write(0, [bytesOf("abc")]);
        (await file.read(0, 3)).fill(0);
        assert.equal(textOf(await file.read(0, 3)), "abc");
      }));

    it("reads into the beginning of memory that it is given, and may answer with its own", () =>
      withFile(async (file) => {
        await file.write(0, [bytesOf("abcdef")]);
        const into = new Uint8Array(8);
        for (const [position, length, expected] of [
          [1, 3, "bcd"],
          [4, 3, "ef"],
          [9, 3, ""],
        ] as const) {
          const bytes = await file.read(position, length, into);
          assert.equal(textOf(bytes), expected);
          assert.ok(bytes.buffer !== into.buffer || bytes.byteOffset === 0);
        }
      }));

    it("writes more than a thousand chunks and more than a few mebibytes at once", () =>
      withFile(async (file) => {
        const chunks: Uint8Array[] = [];
        for (let index = 0; index < 2500; index++) chunks.push(new Uint8Array(1000).fill(index));
        chunks.push(new Uint8Array(3 * 1024 * 1024 + 17).fill(7));
        await file.write(3, chunks);
        await file.sync();
        const expected = Buffer.concat([new Uint8Array(3), ...chunks]);
        assert.equal(await file.size(), expected.byteLength);
        assert.equal(Buffer.compare(await file.read(0, expected.byteLength + 10), expected), 0);
      }));

    it("takes up to 1,024 chunks in one synced write", () =>
      withFile(async (file) => {
        const chunks = Array.from({ length: 1024 }, (_, index) => new Uint8Array(4).fill(index));
        await file.writeSynced(4096, chunks);
        assert.equal(await file.size(), 8192);
        assert.equal(Buffer.compare(await file.read(4096, 4096), Buffer.concat(chunks)), 0);
      }, true));

    it("refuses a synced write to a file that was not opened for it, and one of more chunks than one call takes", async () => {
      await withFile((file) => assert.rejects(file.writeSynced(0, [bytesOf("a")])));
      const chunks = Array.from({ length: 1025 }, () => bytesOf("a"));
      await withFile((file) => assert.rejects(file.writeSynced(0, chunks)), true);
    });

    it("truncates and extends with zeros", () =>
      withFile(async (file) => {
        await file.write(0, [bytesOf("abcdef")]);
        await file.truncate(2);
        await file.truncate(4);
        assert.equal(textOf(await file.read(0, 10)), "ab\0\0");
      }));

    it("creates a file once and opens it only when it exists", async () => {
      const disk = await make();
      await assert.rejects(disk.open("a", { mode: "existing", lane: "bulk" }), refusal("ENOENT"));
      await assert.rejects(disk.open("a", { mode: "read", lane: "bulk" }), refusal("ENOENT"));
      await create(disk, "a", "one");
      await assert.rejects(disk.open("a", { mode: "create", lane: "bulk" }), refusal("EEXIST"));
      assert.equal(await contentOf(disk, "a"), "one");
    });

    it("refuses to create a file in a directory that is absent", async () => {
      const disk = await make();
      await assert.rejects(disk.open("no/a", { mode: "create", lane: "bulk" }), refusal("ENOENT"));
    });

    it("does not write to a file opened for reading", async () => {
      const disk = await make();
      await create(disk, "a", "one");
      const file = await disk.open("a", { mode: "read", lane: "bulk" });
      await assert.rejects(file.write(0, [bytesOf("x")]));
      await file.close();
      assert.equal(await contentOf(disk, "a"), "one");
    });

    it("lists the sorted names of one directory, and nothing for one that is absent", async () => {
      const disk = await make();
      assert.deepEqual(await disk.list("no/such"), []);
      await disk.makeDirectory("x/y");
      await disk.makeDirectory("x/y");
      await create(disk, "x/b", "");
      await create(disk, "x/a", "");
      await create(disk, "x/y/inner", "");
      assert.deepEqual(await disk.list("x"), ["a", "b", "y"]);
      assert.deepEqual(await disk.list(""), ["x"]);
    });

    it("removes a directory that is there and empty, and no other", async () => {
      const disk = await make();
      await disk.makeDirectory("x/y");
      const refused = (path: string, errno: string) =>
        assert.rejects(
          disk.removeDirectory(path),
          (error) => error instanceof DiskError && error.errno === errno,
        );
      await refused("x", "ENOTEMPTY");
      await refused("no", "ENOENT");
      await disk.removeDirectory("x/y");
      assert.deepEqual(await disk.list("x"), []);
      await disk.makeDirectory("x/y");
      assert.deepEqual(await disk.list("x"), ["y"]);
    });

    it("renames over what was there", async () => {
      const disk = await make();
      await create(disk, "a", "one");
      await create(disk, "b", "two");
      await disk.rename("a", "b");
      assert.deepEqual(await disk.list(""), ["b"]);
      assert.equal(await contentOf(disk, "b"), "one");
      await assert.rejects(disk.rename("a", "c"), refusal("ENOENT"));
    });

    it("links a second name, and changes nothing when that name exists", async () => {
      const disk = await make();
      await create(disk, "a", "one");
      await create(disk, "b", "two");
      await assert.rejects(disk.link("a", "b"), refusal("EEXIST"));
      assert.equal(await contentOf(disk, "b"), "two");
      await disk.link("a", "c");
      await disk.remove("a");
      assert.equal(await contentOf(disk, "c"), "one");
      await assert.rejects(disk.remove("a"), refusal("ENOENT"));
      await assert.rejects(disk.link("a", "d"), refusal("ENOENT"));
    });

    it("goes on reading a file whose name was removed or given to another", async () => {
      const disk = await make();
      await create(disk, "a", "one");
      await create(disk, "b", "two");
      const file = await disk.open("a", { mode: "read", lane: "bulk" });
      await disk.rename("b", "a");
      assert.equal(textOf(await file.read(0, 3)), "one");
      await file.close();
    });

    it("syncs directories and knows how much is free", async () => {
      const disk = await make();
      await disk.makeDirectory("x");
      await create(disk, "x/a", "one");
      await disk.syncDirectory("x");
      await disk.syncDirectory("");
      assert.ok((await disk.freeBytes()) > 0);
    });

    it("keeps apart what runs at the same time", async () => {
      const disk = await make();
      await Promise.all(
        Array.from({ length: 40 }, async (_, index) => {
          await create(disk, `f${index}`, `content ${index}`);
          assert.equal(await contentOf(disk, `f${index}`), `content ${index}`);
        }),
      );
      assert.equal((await disk.list("")).length, 40);
    });
  });
}
