/**
 * The key of the cluster: 32 random bytes in the store under `peer/key`, made by whichever broker starts first.
 * Whoever may read the store is a broker, and nobody else knows the key. It is never told to anybody, and
 * never logged.
 */
import { DamageError, MalformedError } from "../../base/errors.ts";
import type { Env, ObjectStore, Sha256 } from "../../base/ports.ts";
import { BodyKind, decodeBody, encodeBody, NO_NONCE } from "../../store/body.ts";
import { create, read } from "../../store/create.ts";
import { NO_BROKER } from "../../metadata/state.ts";

export const peerKeyName = "peer/key";
const keyBytes = 32;

export interface PeerKeyPorts {
  readonly env: Env;
  readonly store: ObjectStore;
  readonly sha256: Sha256;
  readonly clusterId: string;
}

/** Rejects with `DamageError` when the object is no key of this cluster, or with what the store gave. */
export async function peerKey(ports: PeerKeyPorts): Promise<Uint8Array> {
  const { store, env } = ports;
  const found = await read(store, peerKeyName, env);
  if (found !== null) return keyIn(found, ports);
  const drawn = encodeKey(env.random.bytes(keyBytes), ports);
  const created = await create(store, peerKeyName, drawn, env);
  return keyIn(created.kind === "mine" ? drawn : created.body, ports);
}

function encodeKey(key: Uint8Array, { clusterId, sha256 }: PeerKeyPorts): Uint8Array {
  const header = { kind: BodyKind.peerKey, clusterId, epoch: NO_BROKER, number: 0, nonce: NO_NONCE };
  return encodeBody(header, key, sha256);
}

function keyIn(bytes: Uint8Array, { clusterId, sha256 }: PeerKeyPorts): Uint8Array {
  try {
    const { body } = decodeBody(bytes, { kind: BodyKind.peerKey, number: 0, clusterId }, sha256);
    if (body.byteLength !== keyBytes) throw new MalformedError(`it has ${body.byteLength} bytes, not 32`);
    return body.slice();
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause;
    throw new DamageError(
      `The object ${peerKeyName}, by which brokers know each other, cannot be used: ${cause.message}. No record depends on it: stop all brokers of this store, delete it, and start them; the first one makes another.`,
      { cause },
    );
  }
}
