/**
 * CRC-32C (Castagnoli), the checksum of record batches and of every format of ours. A sliced table in
 * JavaScript serves short inputs; the native library, where it loads, serves long ones. `from` continues
 * an earlier result: crc32c(b, crc32c(a)) = crc32c(ab).
 */
const slices = 8;
const table = makeTable();

function makeTable(): Uint32Array {
  const made = new Uint32Array(256 * slices);
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
    made[byte] = value >>> 0;
  }
  for (let slice = 1; slice < slices; slice++) {
    for (let byte = 0; byte < 256; byte++) {
      const before = made[(slice - 1) * 256 + byte] as number;
      made[slice * 256 + byte] = ((before >>> 8) ^ (made[before & 0xff] as number)) >>> 0;
    }
  }
  return made;
}

export function crc32cScript(bytes: Uint8Array, from = 0): number {
  const t = table;
  const length = bytes.byteLength;
  let crc = ~from >>> 0;
  let at = 0;
  for (const end = length - 7; at < end; at += 8) {
    const low =
      crc ^
      ((bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24));
    crc =
      (t[0x700 + (low & 0xff)] as number) ^
      (t[0x600 + ((low >>> 8) & 0xff)] as number) ^
      (t[0x500 + ((low >>> 16) & 0xff)] as number) ^
      (t[0x400 + (low >>> 24)] as number) ^
      (t[0x300 + (bytes[at + 4] as number)] as number) ^
      (t[0x200 + (bytes[at + 5] as number)] as number) ^
      (t[0x100 + (bytes[at + 6] as number)] as number) ^
      (t[bytes[at + 7] as number] as number);
  }
  for (; at < length; at++) crc = (crc >>> 8) ^ (t[(crc ^ (bytes[at] as number)) & 0xff] as number);
  return ~crc >>> 0;
}

/** Below this the call into the native library costs more than it saves. */
const nativeBytesMin = 128;
let native: ((bytes: Uint8Array, from?: number) => number) | null = null;

/** Hands over the native function; `io/` does this at start. Results are the same with and without. */
export function useNativeCrc32c(implementation: (bytes: Uint8Array, from?: number) => number): void {
  native = implementation;
}

/** The checksum as an unsigned 32-bit number. */
export function crc32c(bytes: Uint8Array, from = 0): number {
  if (native !== null && bytes.byteLength >= nativeBytesMin) return native(bytes, from);
  return crc32cScript(bytes, from);
}

/*
 * Joining is arithmetic on polynomials modulo the CRC's, bits reflected: the checksum of ab is that of a
 * times x^(8·length of b), plus that of b (as zlib's crc32_combine does it).
 */
const polynomial = 0x82f63b78;
const one = 0x8000_0000;

function times(a: number, b: number): number {
  let product = 0;
  let factor = b;
  for (let bit = one; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) product ^= factor;
    factor = factor & 1 ? (factor >>> 1) ^ polynomial : factor >>> 1;
  }
  return product >>> 0;
}

/** x^(8·2^n). */
const bytePowers: number[] = [];

/** crc32c(ab) from crc32c(a), crc32c(b) and the length of b in bytes; a microsecond, whatever the length. */
export function crc32cJoin(a: number, b: number, lengthOfB: number): number {
  let shift = one;
  for (let n = 0, rest = lengthOfB; rest > 0; n++, rest = Math.floor(rest / 2)) {
    // x^8 has its bit eight places below that of 1.
    bytePowers[n] ??= n === 0 ? one >>> 8 : times(bytePowers[n - 1] as number, bytePowers[n - 1] as number);
    if (rest % 2 === 1) shift = times(shift, bytePowers[n] as number);
  }
  return (times(shift, a) ^ b) >>> 0;
}
