/**
 * The store of a cluster for commands that look at it without a broker: `s3://BUCKET/PREFIX`, `file:DIR`, or the data
 * directory of a single broker. Nothing is locked, tidied or written, so brokers may be at work.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { RefusedError } from "../base/errors.ts";
import type { Env, Logger, ObjectStore } from "../base/ports.ts";
import { systemClock } from "../io/clock.ts";
import { loadNativeCrc32c } from "../io/crc32c-native.ts";
import { openDisk } from "../io/disk.ts";
import { openMeter } from "../io/meter.ts";
import { systemRandom } from "../io/random.ts";
import type { AddressStyle } from "../io/s3/location.ts";
import { openS3Store } from "../io/s3/open.ts";
import { sha256 } from "../io/sha256.ts";
import type { ReplayPorts } from "../metadata/replay.ts";
import { DirectoryStore } from "../store/directory-store.ts";
import { readOnlyStore } from "./inspect/read-only-store.ts";
import type { Terminal } from "./terminal.ts";
import { UsageError } from "./usage-error.ts";

export interface StoreOptions {
  readonly endpoint?: string;
  readonly region?: string;
  readonly style?: AddressStyle;
}

export interface NamedStore {
  readonly ports: ReplayPorts;
  /** Of objects that were found to be garbage. */
  delete(key: string): Promise<void>;
  close(): void;
}

const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export async function openNamedStore(
  name: string,
  options: StoreOptions,
  env: Terminal["env"],
): Promise<NamedStore> {
  loadNativeCrc32c();
  const ports: Env = { clock: systemClock, random: systemRandom(), log: silent, meter: openMeter() };
  if (name.startsWith("s3:")) {
    const { endpoint, region, style } = options;
    const store = await openS3Store(name, { endpoint, region, style }, env, ports);
    return {
      ports: { store, env: ports, sha256 },
      delete: (key) => store.delete(key),
      close: () => store.close(),
    };
  }
  if (!name.startsWith("file:")) {
    throw new UsageError(`"${name}" names no store: write s3://BUCKET/PREFIX or file:DIR.`);
  }
  return openDirectory(resolve(name.slice("file:".length)), ports);
}

const inside = "store";

function openDirectory(directory: string, env: Env): NamedStore {
  if (!existsSync(directory))
    throw new RefusedError(`${directory} does not exist: name the directory that brokers were started with.`);
  const store: ObjectStore = readOnlyStore(join(directory, inside));
  let writable: Promise<DirectoryStore> | null = null;
  return {
    ports: { store, env, sha256 },
    async delete(key) {
      writable ??= DirectoryStore.open(openDisk(directory), {
        directory: inside,
        random: env.random,
        shared: true,
      });
      await (await writable).delete(key);
    },
    close() {
      void writable?.then((opened) => opened.close());
    },
  };
}
