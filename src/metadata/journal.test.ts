import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { aBroker, aTopic, aTopicId, aWorld, type World } from "../../test/proof/journal-world.ts";
import type { ObjectStore } from "../base/ports.ts";
import { DirectoryStore } from "../store/directory-store.ts";
import { SimDisk } from "../sim/disk.ts";
import { Journal } from "./journal.ts";

const sha256 = (...chunks: readonly Uint8Array[]): Uint8Array => {
  const hash = createHash("sha256");
  for (const chunk of chunks) hash.update(chunk);
  return new Uint8Array(hash.digest());
};

const openStore = (world: World, disk: SimDisk): Promise<ObjectStore> =>
  DirectoryStore.open(disk, { directory: "objects", random: world.random });

const openJournal = (world: World, store: ObjectStore): Promise<Journal> =>
  Journal.open({ store, env: world.env, sha256, walKind: "file", chapterSlots: 4 });

describe("the metadata journal", () => {
  it("remembers a topic over a restart", async () => {
    const world = aWorld();
    const disk = new SimDisk();
    const journal = await openJournal(world, await openStore(world, disk));
    const epoch = await journal.register(aBroker);
    assert.equal((await journal.append(aTopic(1, epoch))).kind, "applied");
    for (let count = 0; count < 20; count++) await journal.takeProducerIds();
    await journal.close();
    const again = await openJournal(world, await openStore(world, disk));
    assert.equal(again.state.topics.get(aTopicId(1))?.name, "topic-1");
    assert.equal(again.state.nextSlot, 23);
    assert.equal(again.state.nextProducerId, 20_000);
  });
});
