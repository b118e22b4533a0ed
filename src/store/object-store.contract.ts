/** What every object store does while nothing fails; the directory, the simulated one and a bucket pass the same suite. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { concatBytes } from "../base/bytes.ts";
import type { ObjectStore } from "../base/ports.ts";

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const textOf = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString();

/** `make` gives an empty store; `settle` lets virtual time pass until a promise is settled, where there is such a time. */
export function describeObjectStore(
  name: string,
  make: () => Promise<{
    readonly store: ObjectStore;
    readonly settle?: <T>(promise: Promise<T>) => Promise<T>;
  }>,
): void {
  const withStore = async (work: (store: ObjectStore) => Promise<void>): Promise<void> => {
    const { store, settle } = await make();
    await (settle === undefined ? work(store) : settle(work(store)));
  };
  const put = (store: ObjectStore, key: string, text: string): Promise<"created" | "exists"> =>
    store.putIfAbsent(key, [bytesOf(text)], text.length);

  describe(`${name} is an object store`, () => {
    it("gives back what was put, whatever the chunks were", () =>
      withStore(async (store) => {
        assert.equal(
          await store.putIfAbsent("a/b", [bytesOf("ab"), bytesOf(""), bytesOf("c")], 3),
          "created",
        );
        assert.equal(textOf(await store.get("a/b")), "abc");
      }));

    it("keeps the first of two contents and says so", () =>
      withStore(async (store) => {
        assert.equal(await put(store, "meta/1", "first"), "created");
        assert.equal(await put(store, "meta/1", "second"), "exists");
        assert.equal(await put(store, "meta/1", "first"), "exists");
        assert.equal(textOf(await store.get("meta/1")), "first");
      }));

    it("lets exactly one of many puts at once win, and that one whole", () =>
      withStore(async (store) => {
        const texts = ["a", "b", "c", "d", "e"].map((letter) => letter.repeat(5_000));
        const outcomes = await Promise.all(texts.map((text) => put(store, "meta/1", text)));
        assert.equal(outcomes.filter((outcome) => outcome === "created").length, 1);
        assert.equal(textOf(await store.get("meta/1")), texts[outcomes.indexOf("created")]);
      }));

    it("gives null for what is absent, also below an object's name", () =>
      withStore(async (store) => {
        await put(store, "meta/1", "x");
        assert.equal(await store.get("meta/2"), null);
        assert.equal(await store.get("other/1"), null);
        assert.equal(await store.get("meta/1/deeper"), null);
      }));

    it("reads a range, shorter only at the object's end", () =>
      withStore(async (store) => {
        await put(store, "seg/1/2", "0123456789");
        assert.equal(textOf(await store.get("seg/1/2", { start: 2, length: 3 })), "234");
        assert.equal(textOf(await store.get("seg/1/2", { start: 8, length: 30 })), "89");
        assert.equal(textOf(await store.get("seg/1/2", { start: 10, length: 1 })), "");
        assert.equal(textOf(await store.get("seg/1/2", { start: 50, length: 1 })), "");
      }));

    it("gives the same part when it is offered memory", () =>
      withStore(async (store) => {
        await put(store, "seg/1/2", "0123456789");
        const into = new Uint8Array(16);
        assert.equal(textOf(await store.get("seg/1/2", { start: 2, length: 3 }, into)), "234");
        assert.equal(textOf(await store.get("seg/1/2", { start: 8, length: 10 }, into)), "89");
        assert.equal(await store.get("seg/1/3", { start: 0, length: 1 }, into), null);
      }));

    it("lists by prefix, in the order of bytes, with sizes", () =>
      withStore(async (store) => {
        for (const key of ["seg/2/1", "seg/1/2", "seg/1/10", "meta/1", "seg/10/1", "segment"]) {
          await put(store, key, key);
        }
        const keys = async (prefix: string) => (await store.list(prefix)).map(({ key }) => key);
        assert.deepEqual(await keys("seg/"), ["seg/1/10", "seg/1/2", "seg/10/1", "seg/2/1"]);
        assert.deepEqual(await keys("seg/1"), ["seg/1/10", "seg/1/2", "seg/10/1"]);
        assert.deepEqual(await keys("seg/1/"), ["seg/1/10", "seg/1/2"]);
        assert.deepEqual(await keys("seg"), ["seg/1/10", "seg/1/2", "seg/10/1", "seg/2/1", "segment"]);
        assert.deepEqual(await keys("nothing/"), []);
        assert.equal((await keys("")).length, 6);
        assert.deepEqual(await store.list("meta/"), [{ key: "meta/1", bytes: 6 }]);
      }));

    it("forgets what was deleted, and does not mind what is absent", () =>
      withStore(async (store) => {
        await put(store, "snap/1", "x");
        await store.delete("snap/1");
        await store.delete("snap/1");
        await store.delete("nowhere/1");
        assert.equal(await store.get("snap/1"), null);
        assert.deepEqual(await store.list("snap/"), []);
        assert.equal(await put(store, "snap/1", "y"), "created");
      }));

    it("keeps an empty object and a large one", () =>
      withStore(async (store) => {
        assert.equal(await store.putIfAbsent("cut/1", [], 0), "created");
        assert.equal((await store.get("cut/1"))?.byteLength, 0);
        const chunk = new Uint8Array(300_000).map((_, index) => index % 251);
        const whole = concatBytes(Array.from({ length: 9 }, () => chunk));
        await store.putIfAbsent(
          "seg/1/1",
          Array.from({ length: 9 }, () => chunk),
          whole.byteLength,
        );
        assert.ok(Buffer.from(whole).equals((await store.get("seg/1/1")) as Uint8Array));
      }));
  });
}
