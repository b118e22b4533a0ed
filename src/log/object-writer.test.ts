import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStore } from "../../test/proof/segment-world.ts";
import { brokerEpoch } from "../base/ids.ts";
import { ObjectNames } from "./object-names.ts";
import { NamesTakenError, storeObject } from "./object-writer.ts";
import { objectKey, type ObjectOrigin } from "./segment-format.ts";

const names = () => new ObjectNames("5L6g3nShT-eMCtK--X86sw", brokerEpoch(7));
const build = ({ counter }: ObjectOrigin) => ({
  chunks: [Uint8Array.of(1, 2), Uint8Array.of(counter)],
  length: 3,
});

test("an object that is said to exist, and has our bytes, is ours: a proxy sent it twice", async () => {
  const memory = new MemoryStore();
  const putIfAbsent: MemoryStore["putIfAbsent"] = async (...object) => {
    await memory.putIfAbsent(...object);
    return memory.putIfAbsent(...object);
  };
  const store = { ...bound(memory), putIfAbsent };
  const own = names();
  for (let counter = 0; counter < 5; counter++) {
    assert.equal((await storeObject(store, own, build)).origin.counter, counter);
  }
});

test("a name that has other bytes is given up, and after some of them somebody else is at work", async () => {
  const memory = new MemoryStore();
  const take = (counter: number, bytes: readonly number[]) =>
    memory.objects.set(objectKey(brokerEpoch(7), counter), Uint8Array.from(bytes));
  take(0, [1, 2]);
  take(1, [1, 2, 1, 0]);
  const own = names();
  assert.equal((await storeObject(memory, own, build)).origin.counter, 2);
  for (const counter of [3, 4, 5]) take(counter, [1, 2, 9]);
  await assert.rejects(storeObject(memory, own, build), NamesTakenError);
});

const bound = (memory: MemoryStore) => ({
  get: memory.get.bind(memory),
  list: memory.list.bind(memory),
  delete: memory.delete.bind(memory),
});
