/**
 * On what a test broker keeps its data, and what of it is left when a life ends: all that was written when
 * only the process died, and what was synced when the power was cut.
 */
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Disk } from "../base/ports.ts";
import { lockDirectory } from "../io/directory-lock.ts";
import { openDisk } from "../io/disk.ts";
import { SimDisk } from "../sim/disk.ts";
import { SimRandom } from "../sim/random.ts";
import type { OneLifeDisk } from "./one-life-disk.ts";
import { UndoDisk } from "./undo-disk.ts";

export interface Medium {
  readonly disk: Disk;
  /** As in Kafka's log.dirs; null: there is no directory. */
  readonly directory: string | null;
  /** Nobody wants to keep it: it is not worth a clean stop. */
  readonly passing: boolean;
  /** `life` has ended with its process. */
  afterKill(life: OneLifeDisk): Promise<void>;
  /** `life` has ended with a power cut. */
  afterPowerCut(life: OneLifeDisk): Promise<void>;
  /** Gives back what the medium holds of the machine. */
  dispose(): void;
}

/** What a broker in memory may hold; each byte is there twice, as it is seen and as it is durable. */
const memoryBytesMax = 1024 * 1024 * 1024;
const immediately = globalThis.setImmediate;

/**
 * The simulated disk behind real time: each call takes one turn of the event loop. A power cut keeps each
 * unsynced block, size and name or loses it, as the seed says.
 */
export function inMemory(seed: number): Medium {
  const random = new SimRandom(seed);
  const disk = new SimDisk({
    scheduler: {
      schedule(_delayMs, run) {
        immediately(run);
        return { cancel: () => undefined };
      },
    },
    latencyMs: () => 0,
    capacityBytes: memoryBytesMax,
  });
  return {
    disk,
    directory: null,
    passing: true,
    // The disk itself lets go of calls that were under way.
    afterKill: () => Promise.resolve(disk.kill()),
    afterPowerCut: () => Promise.resolve(disk.crash(() => random.chance(0.5))),
    dispose: () => undefined,
  };
}

/** A directory of its own below the system's one for temporary files, removed with the broker. */
export function inTemporaryDirectory(): Medium {
  const directory = fs.mkdtempSync(join(tmpdir(), "holdfast-test-"));
  return {
    ...onDisk(directory),
    passing: true,
    dispose: () => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 3 }),
  };
}

/** A directory that stays. Throws `RefusedError`, also when another process has it. */
export async function inDirectory(path: string): Promise<Medium> {
  const directory = resolve(path);
  const lock = await lockDirectory(directory);
  return { ...onDisk(directory), passing: false, dispose: () => lock.release() };
}

function onDisk(directory: string): Omit<Medium, "passing" | "dispose"> {
  const disk = new UndoDisk(openDisk(directory, { direct: false }), directory);
  return {
    disk,
    directory,
    async afterKill(life) {
      await life.close();
      disk.forget();
    },
    async afterPowerCut(life) {
      await life.close();
      disk.loseUnsynced();
    },
  };
}
