/**
 * What a broker keeps its log in, as it was started: files of a directory that it holds alone, or objects of a
 * store that many brokers share. From here on the rooms see an object store and a WAL, and not which.
 */
import type { BrokerEpoch } from "../base/ids.ts";
import type { Dialer, Disk, Env, ObjectStore } from "../base/ports.ts";
import { FileWal } from "../log/wal-file.ts";
import { ObjectWal, lanesDefault } from "../log/object-wal.ts";
import type { Wal, WalEvents } from "../log/wal.ts";
import { journalDirectories } from "../metadata/slot.ts";
import { DirectoryStore } from "../store/directory-store.ts";

export interface FileStorage {
  readonly kind: "files";
  /** The data directory, which this process holds alone. */
  readonly disk: Disk;
}

export interface ObjectStorage {
  readonly kind: "objects";
  /** Shared with the other brokers of the cluster. Its owner closes it. */
  readonly store: ObjectStore;
  /** Of which room is kept free; null: where the store has no end. */
  readonly disk: Disk | null;
  /** How other brokers are reached. */
  readonly dialer: Dialer;
  /** Under which the journal remembers this broker's node id. Default: the address that it registers. */
  readonly name?: string;
}

export type Storage = FileStorage | ObjectStorage;

export interface OpenStore {
  readonly store: ObjectStore;
  readonly close: () => void;
}

export async function openStore(storage: Storage, { random }: Pick<Env, "random">): Promise<OpenStore> {
  if (storage.kind === "objects") return { store: storage.store, close: () => undefined };
  const { disk } = storage;
  const options = { directory: "store", random, chains: journalDirectories };
  const store = await DirectoryStore.open(disk, options);
  return { store, close: () => store.close() };
}

/** Slots on their way at a time, as REGISTER tells them; 0 with files. */
export const windowOf = (storage: Storage): number => (storage.kind === "files" ? 0 : lanesDefault);

export interface WalPlace {
  readonly env: Env;
  readonly clusterId: string;
  readonly epoch: BrokerEpoch;
  readonly fileBytes: number;
  /** 0: no bound. */
  readonly putsPerSecond: number;
  /** Over a shared store: U, see `ObjectWal`. */
  readonly unreleasedSlotsMax: number;
  readonly events: WalEvents;
}

/** After every older WAL of a data directory has ended; in a shared store nobody waits for others. */
export async function openWal(storage: Storage, place: WalPlace): Promise<Wal> {
  const { env, fileBytes, putsPerSecond, unreleasedSlotsMax, ...rest } = place;
  if (storage.kind === "files") return FileWal.open({ ...env, ...rest, fileBytes, disk: storage.disk });
  const bound = putsPerSecond > 0 ? { putsPerSecondMax: putsPerSecond } : {};
  return new ObjectWal({ ...env, ...rest, ...bound, unreleasedSlotsMax, store: storage.store });
}
