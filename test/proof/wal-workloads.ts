/** What the WAL is made to do in the sweeps: each a short life on a disk with very small files. */
import { crc32c } from "../../src/base/crc32c.ts";
import {
  BLOCK_BYTES,
  encodeFrameHeader,
  FRAME_HEADER_BYTES,
  ROW_BYTES,
  saltSeed,
} from "../../src/log/wal-format.ts";
import type { WalWorld, WorldOptions } from "./wal-world.ts";

export interface Workload {
  readonly name: string;
  readonly world?: Omit<WorldOptions, "seed" | "variant">;
  readonly play: (world: WalWorld) => Promise<void>;
}

async function oneByOne(world: WalWorld, count: number, bytes: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    world.append(bytes);
    await world.settle();
  }
}

async function rolling(world: WalWorld, count: number, bytes: number, kept: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    world.append(bytes);
    await world.settle();
    await world.advance(3);
    world.release(kept);
  }
}

export const workloads: readonly Workload[] = [
  {
    name: "small entries one by one",
    play: async (world) => {
      await world.open();
      await oneByOne(world, 6, 100);
    },
  },
  {
    name: "appends that pile up while a frame is written",
    play: async (world) => {
      await world.open();
      for (let index = 0; index < 10; index++) {
        world.append(200 + index * 90);
        await world.advance(0.2);
      }
      await world.settle();
    },
  },
  {
    name: "a roll at every second frame, none prepared in time",
    play: async (world) => {
      await world.open();
      await oneByOne(world, 8, 3000);
    },
  },
  {
    name: "rolls into prepared files",
    play: async (world) => {
      await world.open();
      for (let index = 0; index < 7; index++) {
        world.append(3000);
        await world.settle();
        await world.advance(8);
      }
    },
  },
  {
    name: "released files are recycled",
    play: async (world) => {
      await world.open();
      await rolling(world, 12, 3000, 2);
    },
  },
  {
    name: "everything is released at once, then more is written",
    play: async (world) => {
      await world.open();
      await oneByOne(world, 7, 3500);
      await world.advance(10);
      world.release(0);
      await world.advance(10);
      await oneByOne(world, 4, 3500);
    },
  },
  {
    name: "entries larger than a file",
    play: async (world) => {
      await world.open();
      world.append(100);
      await world.settle();
      world.append(20_000);
      await world.settle();
      world.append(100);
      world.append(9000, 9000, 50);
      await world.settle();
    },
  },
  {
    name: "many partitions in one append",
    play: async (world) => {
      await world.open();
      world.append(10, 20, 30, 40, 50, 60, 70, 80);
      world.append(500, 500, 500);
      await world.settle();
      world.append(1, 2, 3);
      await world.settle();
    },
  },
  {
    name: "marks after pauses",
    play: async (world) => {
      await world.open();
      for (let index = 0; index < 4; index++) {
        world.append(400);
        await world.settle();
        await world.advance(150);
      }
    },
  },
  {
    name: "a clean close and the next epoch",
    play: async (world) => {
      await world.open();
      await oneByOne(world, 3, 900);
      await world.close();
      await world.recoverAll();
      await world.open();
      await oneByOne(world, 3, 900);
    },
  },
  {
    name: "a close while frames are on their way",
    play: async (world) => {
      await world.open();
      for (let index = 0; index < 5; index++) world.append(1500);
      await world.close();
    },
  },
  {
    name: "killed in the middle of a frame, recovered, gone on",
    play: async (world) => {
      await world.open();
      await oneByOne(world, 2, 500);
      world.append(5000);
      world.append(700);
      await Promise.resolve();
      world.kill();
      await world.recoverAll();
      await world.open();
      await oneByOne(world, 3, 500);
    },
  },
  {
    name: "several epochs are killed before one recovers them all",
    play: async (world) => {
      for (let epoch = 0; epoch < 3; epoch++) {
        await world.open();
        await oneByOne(world, 3, 2500);
        world.append(3000);
        await Promise.resolve();
        world.kill();
      }
      await world.recoverAll();
      await world.open();
      await oneByOne(world, 2, 100);
    },
  },
  {
    name: "power fails in three epochs in a row, half of what was pending is kept",
    play: async (world) => {
      for (let epoch = 0; epoch < 3; epoch++) {
        await world.open();
        await oneByOne(world, 3, 2500);
        world.append(6000, 100);
        await Promise.resolve();
        world.crash((_, index) => index % 2 === epoch % 2);
        await world.recoverAll();
      }
    },
  },
  {
    name: "killed, then the power fails, then recovered",
    play: async (world) => {
      await world.open();
      await oneByOne(world, 2, 800);
      world.append(4000);
      await Promise.resolve();
      world.kill();
      world.crash((unit) => unit.kind === "data");
      await world.recoverAll();
      await world.open();
      await oneByOne(world, 2, 800);
    },
  },
  {
    name: "entries without payload",
    play: async (world) => {
      await world.open();
      world.append(0);
      await world.settle();
      world.append(0, 10, 0);
      world.append(0);
      await world.settle();
    },
  },
  {
    name: "frames that fill a file to its last byte",
    play: async (world) => {
      await world.open();
      for (let index = 0; index < 5; index++) {
        const copy = index === 0 ? 0 : ROW_BYTES;
        world.append(2 * BLOCK_BYTES - FRAME_HEADER_BYTES - ROW_BYTES - copy);
        await world.settle();
      }
    },
  },
  {
    name: "payloads written where they lie, between copied ones",
    world: { fileBytes: 64 * 1024 },
    play: async (world) => {
      await world.open();
      world.append(9000, 10, 8192, 8191, 20);
      await world.settle();
      world.append(10, 10_000);
      await world.settle();
    },
  },
  {
    name: "small bound of a frame",
    world: { frameBytesMax: 1000 },
    play: async (world) => {
      await world.open();
      for (let index = 0; index < 9; index++) world.append(400);
      await world.settle();
    },
  },
  {
    name: "dead epochs are flushed and their files removed",
    play: async (world) => {
      await world.open();
      await oneByOne(world, 4, 3000);
      world.kill();
      await world.recoverAll();
      await world.open();
      await oneByOne(world, 2, 1000);
      await world.removeRecovered();
      await oneByOne(world, 2, 1000);
    },
  },
  {
    name: "a full disk prepares no files and goes on",
    play: async (world) => {
      world.disk.capacityBytes = 44 * 1024;
      await world.open();
      await rolling(world, 6, 3000, 0);
      world.disk.capacityBytes = 400 * 1024;
      await rolling(world, 4, 3000, 0);
    },
  },
  {
    name: "a record value that looks like a frame",
    world: { fileBytes: 64 * 1024 },
    play: async (world) => {
      await world.open();
      await oneByOne(world, 1, 100);
      world.append(frameInDisguise(world));
      await world.settle();
      world.append(50);
      await world.settle();
    },
  },
];

/**
 * A payload that holds, exactly where a frame could begin, a frame that claims everything to be synced.
 * Whoever sends it knows all but the salt, and guesses zeros.
 */
function frameInDisguise(world: WalWorld): Uint8Array {
  const { wal } = world;
  const payloadBegin = FRAME_HEADER_BYTES + 2 * ROW_BYTES;
  const payload = new Uint8Array(3 * BLOCK_BYTES - payloadBegin);
  const seed = saltSeed(new Uint8Array(8));
  const nothing = new Uint8Array(0);
  const block = payload.subarray(BLOCK_BYTES - payloadBegin);
  const position = wal.durablePosition + BLOCK_BYTES;
  encodeFrameHeader(
    block,
    {
      length: BLOCK_BYTES,
      fileNumber: 0,
      epoch: wal.epoch,
      saltHigh: 0,
      saltLow: 0,
      sequence: 1000,
      position,
      synced: position,
      previousChecksum: 0,
      previousLength: 0,
      entryCount: 0,
      indexChecksum: crc32c(nothing, seed),
      copyCount: 0,
      copyChecksum: crc32c(nothing, seed),
    },
    seed,
  );
  return payload;
}
