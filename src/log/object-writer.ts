/**
 * Stores an object under a number of its own and says when it is known durable. A number whose name is
 * taken by other bytes, or whose put failed, is given up, never tried again with other bytes (F1).
 */
import { assert } from "../base/assert.ts";
import { equalBytes } from "../base/bytes.ts";
import { HoldfastError } from "../base/errors.ts";
import type { ObjectStore } from "../base/ports.ts";
import type { ObjectNames } from "./object-names.ts";
import { objectKey, type ObjectOrigin } from "./segment-format.ts";

/** Names that are found taken before it is called an error: a clone of this process may be at work. */
const takenNamesMax = 3;

export interface StoredObject<T> {
  /** Unsettled: whoever publishes it, or gives it up, settles it. */
  readonly origin: ObjectOrigin;
  readonly length: number;
  readonly content: T;
}

/** Somebody else writes under our names. */
export class NamesTakenError extends HoldfastError {
  readonly code = "NAMES_TAKEN";
  override readonly name = "NamesTakenError";
}

/** `build` makes the object's bytes for a number. Rejects with what the store rejects with, and has then settled the number. */
export async function storeObject<
  T extends { readonly chunks: readonly Uint8Array[]; readonly length: number },
>(
  store: ObjectStore,
  names: ObjectNames,
  build: (origin: ObjectOrigin) => Promise<T> | T,
): Promise<StoredObject<T>> {
  for (let taken = 0; taken < takenNamesMax; taken++) {
    const origin = names.take();
    try {
      const content = await build(origin);
      const key = objectKey(origin.epoch, origin.counter);
      const outcome = await store.putIfAbsent(key, content.chunks, content.length);
      if (outcome === "created" || (await isThere(store, key, content.chunks))) {
        return { origin, length: content.length, content };
      }
      names.settle(origin);
    } catch (cause) {
      names.settle(origin);
      throw cause;
    }
  }
  throw new NamesTakenError(`${takenNamesMax} names of epoch ${names.epoch} were taken by another process.`);
}

/** A proxy that sends a request again is told "exists" for what it created itself, and tells us so: each time, if it always does. */
async function isThere(store: ObjectStore, key: string, chunks: readonly Uint8Array[]): Promise<boolean> {
  const found = await store.get(key);
  if (found === null) return false;
  let at = 0;
  for (const chunk of chunks) {
    if (!equalBytes(found.subarray(at, at + chunk.byteLength), chunk)) return false;
    at += chunk.byteLength;
  }
  return at === found.byteLength;
}

/** Removes what will never be published. Only for objects that no command named. */
export async function discard(
  store: ObjectStore,
  names: ObjectNames,
  objects: readonly { readonly origin: ObjectOrigin }[],
): Promise<void> {
  for (const { origin } of objects) names.settle(origin);
  for (const { origin } of objects) {
    assert(origin.epoch === names.epoch, "only own objects are discarded");
    await store.delete(objectKey(origin.epoch, origin.counter));
  }
}

/** Whether a command that was rejected with this certainly changed nothing; otherwise its outcome is unknown. */
export const tookNoEffect = (cause: unknown): boolean => cause instanceof HoldfastError && cause.retriable;

/** Settles an object's number by what became of the command that names it; after an unknown outcome it stays open. */
export async function settledBy<T>(
  names: ObjectNames,
  object: { readonly origin: ObjectOrigin },
  command: Promise<T>,
): Promise<T> {
  try {
    const outcome = await command;
    names.settle(object.origin);
    return outcome;
  } catch (cause) {
    if (tookNoEffect(cause)) names.settle(object.origin);
    throw cause;
  }
}
