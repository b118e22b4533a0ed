/**
 * What a broker is started over: a data directory that it has alone, or a store that it shares with others (a bucket,
 * a directory). Opens it, refuses what was begun the other way or cannot keep records, and knows what an
 * acknowledgement means there. A store in which nothing stands yet is tried before anything is written, and each one
 * once a day from then on.
 */
import { resolve } from "node:path";
import type { Storage } from "../../broker/storage.ts";
import type { RefusedError } from "../../base/errors.ts";
import type { Env } from "../../base/ports.ts";
import { lockDirectory } from "../../io/directory-lock.ts";
import { openDisk } from "../../io/disk.ts";
import { openSharedDirectory, removeAbandoned } from "../../io/shared-directory.ts";
import { tcp } from "../../io/tcp.ts";
import { DailyProbe } from "../../store/daily-probe.ts";
import { DirectoryStore } from "../../store/directory-store.ts";
import { probeStore } from "../../store/probe.ts";
import type { StorageChoice } from "../start-options.ts";
import { isBegun } from "./begun.ts";
import { openBucket } from "./bucket.ts";

export interface OpenedStorage {
  /** For people: the directory's path, or the store's name. */
  readonly place: string;
  readonly storage: Storage;
  /** Nothing stood there. */
  readonly isNew: boolean;
  /** What an acknowledgement means, as a sentence goes on behind "Ack means:". */
  readonly ack: string;
  readonly survives: string;
  readonly doesNotSurvive: string;
  /** Why nothing can be acknowledged just now, and how much waits for it; null: as far as the store goes, it can. */
  trouble(pendingBytes: number): string | null;
  /** From now on the store is tried once a day. */
  watch(onUnsound: (cause: RefusedError) => void): void;
  close(): void;
}

export interface StorageSettings {
  /** Whether large files go past the page cache. */
  readonly direct: boolean;
  /** Where a bucket's endpoint, region and credentials may stand. */
  readonly environment: { readonly [name: string]: string | undefined };
}

/** Of a daily probe: enough to see whether races have one winner. The first one writes more. */
const dailyProbe = { rounds: 8, largeBytes: 1024 * 1024 };

/** Rejects with `RefusedError` or `BucketError`, whose messages are sentences for people. */
export function openStorage(
  choice: StorageChoice,
  env: Env,
  settings: StorageSettings,
): Promise<OpenedStorage> {
  if (choice.kind === "data") return openData(resolve(choice.directory), settings);
  if (choice.name.startsWith("s3:")) return openBucket(choice, env, settings.environment, dailyProbe);
  return openShared(resolve(choice.name.slice("file:".length)), env, settings);
}

async function openData(directory: string, { direct }: StorageSettings): Promise<OpenedStorage> {
  const lock = await lockDirectory(directory);
  return {
    place: directory,
    storage: { kind: "files", disk: openDisk(directory, { direct }) },
    isNew: lock.isNew,
    ack: lock.volatile
      ? "written to the data directory on this machine (1 copy)"
      : "written and synced to disk on this machine (1 copy)",
    survives: `process crash, kill -9${lock.volatile ? "" : ", power loss"}`,
    doesNotSurvive: lock.volatile ? "power loss (the data directory is in memory)" : "loss of this disk",
    trouble: () => null,
    watch: () => undefined,
    close: () => lock.release(),
  };
}

async function openShared(directory: string, env: Env, { direct }: StorageSettings): Promise<OpenedStorage> {
  const { volatile } = openSharedDirectory(directory);
  const removed = removeAbandoned(directory, env.clock.wallMs());
  if (removed > 0) env.log.info("store.abandoned-removed", { files: removed });
  const disk = openDisk(directory, { direct });
  const store = await DirectoryStore.open(disk, { directory: "store", random: env.random, shared: true });
  const name = `file:${directory}`;
  let probe: DailyProbe | null = null;
  return {
    place: name,
    storage: { kind: "objects", store, disk, dialer: tcp },
    isNew: !(await isBegun(store)),
    ack: volatile
      ? `written to the directory ${directory} (1 copy)`
      : `written and synced in the directory ${directory} (1 copy)`,
    survives: `kill -9 of any broker, and of all of them${volatile ? "" : ", power loss"}`,
    doesNotSurvive: volatile ? "power loss (the directory is in memory)" : "loss of this disk",
    trouble: () => null,
    watch(onUnsound) {
      const ports = { ...env, store, name, onUnsound };
      probe = new DailyProbe({ ...ports, probe: () => probeStore({ ...ports, ...dailyProbe }) });
    },
    close() {
      probe?.close();
      store.close();
    },
  };
}
