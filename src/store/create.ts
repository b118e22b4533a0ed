/**
 * `create`: put-if-absent turned into a decision. It returns only when the key is decided, and then knows
 * by comparing all bytes whose object stands there. A status code alone is never believed: "exists" may be
 * our own earlier try whose answer got lost, and taking that for a rival's success applies a command twice,
 * or taking a rival's object for ours loses an acknowledged record (P1, I6). Every try has the same bytes.
 */
import { equalBytes } from "../base/bytes.ts";
import { DiskError, HoldfastError } from "../base/errors.ts";
import { type Clock, type ObjectStore, type Random, sleep } from "../base/ports.ts";

export type Created =
  | { readonly kind: "mine" }
  /** Somebody else's object, whole. */
  | { readonly kind: "other"; readonly body: Uint8Array };

export interface CreatePorts {
  readonly clock: Clock;
  readonly random: Random;
}

const firstDelayMs = 20;
/**
 * What waits here does not hear that a store that was away answers again, and who waits for it in turn adds this to
 * what it waits: the slots of a WAL count in order, and the journal does one thing at a time. A store that must be
 * spared during an outage has a breaker of its own.
 */
const delayMsMax = 1_000;

/** Doubles from 20 ms to 1 s, with half of it drawn by chance so that rivals do not meet again. */
export function backoffMs(attempt: number, random: Random): number {
  const full = Math.min(delayMsMax, firstDelayMs * 2 ** Math.min(attempt, 16));
  return full / 2 + (full / 2) * (random.u32() / 0x1_0000_0000);
}

/**
 * Tries for as long as the outcome is unknown. Rejects only when it is certain that nothing of ours was
 * created (a retriable `DiskError`: no space), or when the store cannot be used any more (any error that
 * is not retriable): then the outcome is unknown for ever and the process must stop.
 */
export async function create(
  store: ObjectStore,
  key: string,
  bytes: Uint8Array,
  ports: CreatePorts,
): Promise<Created> {
  let unknownTries = 0;
  for (let attempt = 0; ; attempt++) {
    try {
      if ((await store.putIfAbsent(key, [bytes], bytes.byteLength)) === "created") return { kind: "mine" };
      const body = await store.get(key);
      if (body !== null) return equalBytes(body, bytes) ? { kind: "mine" } : { kind: "other", body };
      // Deleted between the two calls: undecided again for all we know.
    } catch (error) {
      if (!isRetriable(error)) throw error;
      if (error instanceof DiskError) {
        if (unknownTries === 0) throw error;
      } else unknownTries++;
    }
    await sleep(ports.clock, backoffMs(attempt, ports.random));
  }
}

/** The object, or null when the store says that there is none. */
export function read(store: ObjectStore, key: string, ports: CreatePorts): Promise<Uint8Array | null> {
  return untilAnswered(ports, () => store.get(key));
}

/** For what may be asked again: tries until there is an answer or an error that is not retriable. */
export async function untilAnswered<T>(ports: CreatePorts, ask: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      if (!isRetriable(error)) throw error;
    }
    await sleep(ports.clock, backoffMs(attempt, ports.random));
  }
}

function isRetriable(error: unknown): boolean {
  return error instanceof HoldfastError && error.retriable;
}
