/**
 * The store of a cluster for commands that look at it without a broker: `s3://BUCKET/PREFIX`, `file:DIR`, or the data
 * directory of a single broker. Nothing is locked, tidied or written, so brokers may be at work.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { assert } from "../base/assert.ts";
import { HoldfastError, RefusedError } from "../base/errors.ts";
import { type Env, type Logger, type ObjectStore, sleep } from "../base/ports.ts";
import { systemClock } from "../io/clock.ts";
import { loadNativeCrc32c } from "../io/crc32c-native.ts";
import { openDisk } from "../io/disk.ts";
import { openMeter } from "../io/meter.ts";
import { systemRandom } from "../io/random.ts";
import type { AddressStyle } from "../io/s3/location.ts";
import { openS3Store } from "../io/s3/open.ts";
import type { S3Store } from "../io/s3/store.ts";
import { sha256 } from "../io/sha256.ts";
import type { ReplayPorts } from "../metadata/replay.ts";
import { backoffMs } from "../store/create.ts";
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

/** For so long a bucket is asked again that does not answer. */
const patienceMsDefault = 30_000;

/** Rejects with `UsageError` or `RefusedError`, as later what the store answers, or with `BucketError`. */
export async function openNamedStore(
  name: string,
  options: StoreOptions,
  env: Terminal["env"],
  patienceMs: number = patienceMsDefault,
): Promise<NamedStore> {
  loadNativeCrc32c();
  const ports: Env = { clock: systemClock, random: systemRandom(), log: silent, meter: openMeter() };
  if (name.startsWith("s3:")) {
    const { endpoint, region, style } = options;
    const store = await openS3Store(name, { endpoint, region, style }, env, ports);
    const asked = impatient(store, ports, patienceMs);
    return {
      ports: { store: asked, env: ports, sha256 },
      delete: (key) => asked.delete(key),
      close: () => store.close(),
    };
  }
  if (!name.startsWith("file:")) {
    throw new UsageError(`"${name}" names no store: write s3://BUCKET/PREFIX or file:DIR.`);
  }
  return openDirectory(resolve(name.slice("file:".length)), ports);
}

/** Asks again as brokers do, but not for ever: somebody sits before it. */
function impatient(store: S3Store, { clock, random }: Env, patienceMs: number): ObjectStore {
  const answered = async <T>(ask: () => Promise<T>): Promise<T> => {
    const endMs = clock.monotonicMs() + patienceMs;
    for (let attempt = 0; ; attempt++) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof HoldfastError) || !error.retriable) throw error;
        if (clock.monotonicMs() < endMs) {
          await sleep(clock, backoffMs(attempt, random));
          continue;
        }
        throw new RefusedError(
          `${store.place} did not answer for ${patienceMs / 1000} s (${store.trouble ?? error.message}): check the network and the endpoint (--endpoint or AWS_ENDPOINT_URL_S3). Nothing was changed.`,
          { cause: error },
        );
      }
    }
  };
  return {
    get: (key, range) => answered(() => store.get(key, range)),
    list: (prefix) => answered(() => store.list(prefix)),
    delete: (key) => answered(() => store.delete(key)),
    putIfAbsent: () => assert(false, "who looks at a store puts nothing into it") as never,
  };
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
