/**
 * Names and bytes of the journal's objects. The body of a slot, inside the frame of `store/body.ts`:
 *
 *   SHA-256 of the whole object in the slot before, zeros in slot 0   32 bytes
 *   number of the list among those of its author                      int64
 *   how many commands                                                 int32
 *   the commands (`commands.ts`)
 *
 * Each slot names the one before it, so that a slot that was put back from an older copy of the directory, or
 * from another one, is noticed instead of making a state that never was.
 */
import { Reader, Writer, equalBytes } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import type { BrokerEpoch } from "../base/ids.ts";
import type { Sha256 } from "../base/ports.ts";
import { BodyKind, decodeBody, encodeBody, NO_NONCE } from "../store/body.ts";
import type { SlotContent } from "./apply.ts";
import { type Command, readCommand, writeCommand } from "./commands.ts";
import type { ClusterImage } from "./image.ts";
import { decodeSnapshot, encodeSnapshot } from "./snapshot.ts";
import { type ClusterState, NO_BROKER } from "./state.ts";

const digits = (value: number): string => String(value).padStart(16, "0");
export const slotPrefix = "meta/";
export const snapshotPrefix = "snap/";
export const cutPrefix = "cut/";
/** In a store of directories. */
export const journalDirectories = [slotPrefix, snapshotPrefix, cutPrefix].map((prefix) =>
  prefix.slice(0, -1),
);
export const slotKey = (slot: number): string => slotPrefix + digits(slot);
export const snapshotKey = (position: number): string => snapshotPrefix + digits(position);
export const cutKey = (chapter: number): string => cutPrefix + digits(chapter);

/** The number in a key of ours with this prefix; null: not such a key. */
export function numberIn(key: string, prefix: string): number | null {
  const rest = key.slice(prefix.length);
  return key.startsWith(prefix) && /^\d{16}$/.test(rest) ? Number(rest) : null;
}

const hashBytes = 32;
const NO_HASH = new Uint8Array(hashBytes);

export interface SlotOrigin {
  readonly clusterId: string;
  readonly slot: number;
  readonly nonce: Uint8Array;
  readonly previousHash: Uint8Array;
  /** The cluster's format level: which versions of commands are written. */
  readonly level: number;
}

export function encodeSlot(origin: SlotOrigin, content: SlotContent, sha256: Sha256): Uint8Array {
  const to = new Writer(1024);
  to.raw(origin.slot === 0 ? NO_HASH : origin.previousHash);
  to.int64(content.list);
  to.int32(content.commands.length);
  for (const command of content.commands) writeCommand(to, command, origin.level);
  const { clusterId, slot, nonce } = origin;
  const header = { kind: BodyKind.slot, clusterId, epoch: content.author, number: slot, nonce };
  return encodeBody(header, to.finishFlat(), sha256);
}

export interface DecodedSlot {
  readonly content: SlotContent;
  readonly clusterId: string;
}

/** `state` is the one before this slot. Throws `MalformedError` or `UnknownCommandError`. */
export function decodeSlot(
  bytes: Uint8Array,
  state: Pick<ClusterState, "clusterId" | "nextSlot" | "previousHash">,
  sha256: Sha256,
): DecodedSlot {
  const slot = state.nextSlot;
  const clusterId = slot === 0 ? null : state.clusterId;
  const { header, body } = decodeBody(bytes, { kind: BodyKind.slot, number: slot, clusterId }, sha256);
  const from = new Reader(body);
  if (!equalBytes(from.take(hashBytes), slot === 0 ? NO_HASH : state.previousHash)) {
    throw new MalformedError("it does not follow the slot before it: one of them is from another copy");
  }
  const list = from.int64();
  const commands: Command[] = [];
  for (let left = from.int32(); left > 0; left--) commands.push(readCommand(from));
  if (from.remaining !== 0) throw new MalformedError(`${from.remaining} bytes follow its last command`);
  const first = commands[0];
  if (slot === 0 && (first?.kind !== "init" || first.clusterId !== header.clusterId)) {
    throw new MalformedError("it does not begin a cluster");
  }
  return { content: { author: header.epoch, list, commands }, clusterId: header.clusterId };
}

/** Equal states give equal bytes: neither author nor nonce is in them. */
export function encodeSnapshotObject(state: ClusterState, sha256: Sha256): Uint8Array {
  const header = { ...anonymous(state.clusterId), kind: BodyKind.snapshot, number: state.nextSlot };
  return encodeBody(header, encodeSnapshot(state), sha256);
}

/** Throws `MalformedError`. */
export function decodeSnapshotObject(
  bytes: Uint8Array,
  expected: { readonly position: number; readonly clusterId: string | null },
  sha256: Sha256,
): ClusterImage {
  const { position, clusterId } = expected;
  const { header, body } = decodeBody(
    bytes,
    { kind: BodyKind.snapshot, number: position, clusterId },
    sha256,
  );
  const image = decodeSnapshot(body);
  if (image.nextSlot !== position || image.clusterId !== header.clusterId) {
    throw new MalformedError(`it holds the state at slot ${image.nextSlot} of cluster ${image.clusterId}`);
  }
  return image;
}

export function encodeCut(clusterId: string, chapter: number, sha256: Sha256): Uint8Array {
  const header = { ...anonymous(clusterId), kind: BodyKind.cut, number: chapter };
  return encodeBody(header, new Uint8Array(0), sha256);
}

function anonymous(clusterId: string): {
  readonly clusterId: string;
  readonly epoch: BrokerEpoch;
  readonly nonce: Uint8Array;
} {
  return { clusterId, epoch: NO_BROKER, nonce: NO_NONCE };
}
