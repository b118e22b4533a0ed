/**
 * The log of a dead broker as a take-over reads it: each object comes once, though the sealer looks at every slot
 * and its entries are read afterwards, and what is listed comes while the fence is being decided. A slot that is
 * decided never changes (F1), so it does not matter when it was read; one that was absent is asked for again, and where
 * the log ends is for the sealer to decide. Holds what the dead broker had not flushed.
 */
import type { BrokerEpoch, WalPosition } from "../../base/ids.ts";
import type { ObjectStore } from "../../base/ports.ts";
import { slotKey, slotOfKey, walPrefix } from "../../log/object-wal-format.ts";

/** Slots that are asked for at a time. */
const readsAtOnce = 64;

export class ReadOnce {
  readonly #store: ObjectStore;
  readonly #bodies = new Map<string, Promise<Uint8Array | null>>();
  /** The highest slot that was listed; null: nobody knows. */
  #highest: Promise<number | null> = Promise.resolve(null);

  constructor(store: ObjectStore) {
    this.#store = store;
  }

  /** Begins to read what stands at or above `released`. What fails is asked for when it is needed. */
  readAhead(epoch: BrokerEpoch, released: WalPosition): void {
    const listed = this.#store.list(walPrefix(epoch)).then((found) =>
      found
        .map(({ key }) => slotOfKey(epoch, key) ?? -1)
        .filter((slot) => slot >= released)
        .sort((a, b) => a - b),
    );
    this.#highest = listed.then((slots) => slots.at(-1) ?? released - 1).catch(() => null);
    listed.then((slots) => this.#readAll(epoch, slots)).catch(() => undefined);
  }

  /** As of `readAhead`. A hint: the writer may have gone on. */
  get highest(): Promise<number | null> {
    return this.#highest;
  }

  get store(): ObjectStore {
    const store = this.#store;
    return {
      get: (key, range, into) => (range === undefined ? this.#whole(key) : store.get(key, range, into)),
      putIfAbsent: (key, chunks, length) => store.putIfAbsent(key, chunks, length),
      list: (prefix) => store.list(prefix),
      delete: (key) => store.delete(key),
    };
  }

  async #readAll(epoch: BrokerEpoch, slots: readonly number[]): Promise<void> {
    let next = 0;
    const readSome = async (): Promise<void> => {
      for (let slot = slots[next++]; slot !== undefined; slot = slots[next++]) {
        await this.#whole(slotKey(epoch, slot));
      }
    };
    await Promise.all(Array.from({ length: readsAtOnce }, readSome));
  }

  /** Neither an absence nor an error is kept. */
  #whole(key: string): Promise<Uint8Array | null> {
    const known = this.#bodies.get(key);
    if (known !== undefined) return known;
    const reading = this.#store.get(key);
    this.#bodies.set(key, reading);
    const forget = (): void => void this.#bodies.delete(key);
    reading.then((body) => {
      if (body === null) forget();
    }, forget);
    return reading;
  }
}
