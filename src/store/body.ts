/**
 * The frame around every metadata object: journal slots, snapshots, cut markers, the key of the peers. It
 * says what the object is and where it belongs, so that an object of another cluster or at another name
 * never passes, and every bit of it is under a checksum.
 *
 *   at  0  magic "HFMO"                     uint32
 *       4  format, 1                        uint16
 *       6  kind                             uint8    see `BodyKind`
 *       7  zero                             uint8
 *       8  cluster id, ASCII, zero padded   32 bytes
 *      40  epoch of the author, −1: none    int64
 *      48  number: slot, snapshot position or chapter   int64
 *      56  nonce of the author's process    16 bytes, zeros where equal content must be equal bytes
 *      72  length of the body               int64
 *      80  SHA-256 of the body              32 bytes
 *     112  CRC-32C of bytes 0 … 111         uint32
 *     116  the body
 */
import { assert } from "../base/assert.ts";
import { Reader, Writer, equalBytes } from "../base/bytes.ts";
import { crc32c } from "../base/crc32c.ts";
import { MalformedError } from "../base/errors.ts";
import { type BrokerEpoch, brokerEpoch } from "../base/ids.ts";
import type { Sha256 } from "../base/ports.ts";

const MAGIC = 0x48464d4f;
const FORMAT = 1;
const clusterIdBytes = 32;
const nonceBytes = 16;
const checkedBytes = 112;
export const bodyHeaderBytes = 116;

/** uint8 on disk; never reused. */
export const BodyKind = { slot: 1, snapshot: 2, cut: 3, peerKey: 4 } as const;
export type BodyKind = (typeof BodyKind)[keyof typeof BodyKind];

export interface BodyHeader {
  readonly kind: BodyKind;
  readonly clusterId: string;
  readonly epoch: BrokerEpoch;
  readonly number: number;
  readonly nonce: Uint8Array;
}

export const NO_NONCE = new Uint8Array(nonceBytes);

export function isClusterId(text: string): boolean {
  return /^[\x21-\x7e]{1,32}$/.test(text);
}

export function encodeBody(header: BodyHeader, body: Uint8Array, sha256: Sha256): Uint8Array {
  assert(isClusterId(header.clusterId), "a cluster id has 1 to 32 printable ASCII characters");
  assert(header.nonce.byteLength === nonceBytes, "a nonce has 16 bytes");
  const to = new Writer(bodyHeaderBytes + body.byteLength);
  to.uint32(MAGIC);
  to.int16(FORMAT);
  to.int8(header.kind);
  to.int8(0);
  to.utf8(header.clusterId.padEnd(clusterIdBytes, "\0"), clusterIdBytes);
  to.int64(header.epoch);
  to.int64(header.number);
  to.raw(header.nonce);
  to.int64(body.byteLength);
  to.raw(sha256(body));
  const whole = new Uint8Array(bodyHeaderBytes + body.byteLength);
  whole.set(to.finishFlat());
  const checksum = crc32c(whole.subarray(0, checkedBytes));
  new DataView(whole.buffer).setUint32(checkedBytes, checksum);
  whole.set(body, bodyHeaderBytes);
  return whole;
}

/** What must be in the header; null for the cluster id: any. */
export interface ExpectedBody {
  readonly kind: BodyKind;
  readonly number: number;
  readonly clusterId: string | null;
}

/** Throws `MalformedError` that says what is wrong. The body is a view of `bytes`. */
export function decodeBody(
  bytes: Uint8Array,
  expected: ExpectedBody,
  sha256: Sha256,
): { readonly header: BodyHeader; readonly body: Uint8Array } {
  if (bytes.byteLength < bodyHeaderBytes) {
    throw new MalformedError(`it has ${bytes.byteLength} bytes, less than its header`);
  }
  const from = new Reader(bytes);
  if (from.uint32() !== MAGIC) throw new MalformedError("it does not begin with the magic number");
  const format = from.uint16();
  const kind = from.uint8() as BodyKind;
  const reserved = from.uint8();
  const clusterId = from.utf8(clusterIdBytes).replace(/\0+$/, "");
  const rest = new Reader(bytes, checkedBytes);
  if (rest.uint32() !== crc32c(bytes.subarray(0, checkedBytes))) {
    throw new MalformedError("its header fails the checksum");
  }
  if (format !== FORMAT || reserved !== 0) throw new MalformedError(`its format ${format} is not known`);
  const epoch = brokerEpoch(from.int64());
  const number = from.int64();
  const nonce = from.take(nonceBytes);
  const length = from.int64();
  const hash = from.take(32);
  if (length !== rest.remaining) {
    throw new MalformedError(`its body has ${rest.remaining} bytes, its header says ${length}`);
  }
  const body = bytes.subarray(bodyHeaderBytes);
  if (!equalBytes(sha256(body), hash)) throw new MalformedError("its body fails the SHA-256");
  if (kind !== expected.kind || number !== expected.number) {
    throw new MalformedError(`it says that it is number ${number} of kind ${kind}`);
  }
  if (expected.clusterId !== null && clusterId !== expected.clusterId) {
    throw new MalformedError(`it belongs to cluster ${clusterId}`);
  }
  return { header: { kind, clusterId, epoch, number, nonce }, body };
}
