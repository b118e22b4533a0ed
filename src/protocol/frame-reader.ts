/**
 * Cuts a stream of bytes into frames (4-byte length, body), and keeps nothing of what it is given: the
 * socket's buffer is filled again. Nothing is allocated by a claimed length, beyond what whoever makes the
 * reader trusts its peer with: bodies that lie whole in what arrived are copied together, any other grows in
 * a buffer of a few times what has arrived: of sixteen times up to a mebibyte, so that a usual batch is
 * copied once, and of four times beyond.
 */
const growth = 4;
const smallGrowth = 16;
const smallBytesMax = 1024 * 1024;
const firstBytes = 512;
/** A shorter rest is not worth a read of its own. */
const roomBytesMin = 64 * 1024;

export type FrameFault = { readonly kind: "length"; readonly claimed: number; readonly start: Uint8Array };

export class FrameReader {
  readonly #frameBytesMax: number;
  readonly #trustedBytes: number;
  /** The 4 bytes of a length that is arriving. */
  readonly #prefix = new Uint8Array(4);
  #prefixFilled = 0;
  /** Of the body that is arriving; −1: its length is not known yet. */
  #length = -1;
  #body: Uint8Array | null = null;
  #filled = 0;

  /**
   * `trustedBytes`: what a claimed length alone may allocate, for one frame at a time. A client that asked for
   * so much saves copies by it; a server, to whom anybody may claim anything, trusts nobody.
   */
  constructor(frameBytesMax: number, trustedBytes = 0) {
    this.#frameBytesMax = frameBytesMax;
    this.#trustedBytes = trustedBytes;
  }

  /** Bytes that the arriving frame still lacks, its length included; 0 between two frames. */
  get missingBytes(): number {
    if (this.#length >= 0) return this.#length - this.#filled;
    return this.#prefixFilled === 0 ? 0 : 4 - this.#prefixFilled;
  }

  /** Where the rest of a long body belongs: who puts it there spares a copy. Null: there is none. */
  get room(): Uint8Array | null {
    const body = this.#body;
    if (body === null || body.byteLength - this.#filled < roomBytesMin) return null;
    return body.subarray(this.#filled);
  }

  /** Appends whole frames (bodies without their length) to `into`. A fault ends the stream: nothing more may be given. */
  push(bytes: Uint8Array, into: Uint8Array[]): FrameFault | null {
    let at = 0;
    /** A copy of whole frames, and where they began. */
    let whole: Uint8Array | null = null;
    let wholeFrom = 0;
    while (at < bytes.byteLength) {
      if (this.#length < 0) {
        while (this.#prefixFilled < 4 && at < bytes.byteLength) {
          this.#prefix[this.#prefixFilled++] = bytes[at++] as number;
        }
        if (this.#prefixFilled < 4) return null;
        const [a, b, c, d] = this.#prefix as unknown as [number, number, number, number];
        const claimed = (a << 24) | (b << 16) | (c << 8) | d;
        if (claimed < 0 || claimed > this.#frameBytesMax) {
          return { kind: "length", claimed, start: this.#prefix };
        }
        this.#length = claimed;
        this.#filled = 0;
      }
      const missing = this.#length - this.#filled;
      const available = bytes.byteLength - at;
      if (this.#filled === 0 && available >= missing) {
        if (whole === null) {
          whole = copyOf(bytes, at, this.#endOfWhole(bytes, at + missing));
          wholeFrom = at;
        }
        into.push(whole.subarray(at - wholeFrom, at - wholeFrom + missing));
        at += missing;
        this.#next();
        continue;
      }
      const take = Math.min(missing, available);
      this.#append(bytes.subarray(at, at + take));
      at += take;
      if (this.#filled === this.#length) {
        into.push((this.#body as Uint8Array).subarray(0, this.#length));
        this.#next();
      }
    }
    return null;
  }

  /** Where the last of the frames ends that lie whole behind each other; `end` is the end of the first. */
  #endOfWhole(bytes: Uint8Array, end: number): number {
    while (end + 4 <= bytes.byteLength) {
      const length =
        ((bytes[end] as number) << 24) |
        ((bytes[end + 1] as number) << 16) |
        ((bytes[end + 2] as number) << 8) |
        (bytes[end + 3] as number);
      if (length < 0 || length > this.#frameBytesMax || end + 4 + length > bytes.byteLength) break;
      end += 4 + length;
    }
    return end;
  }

  #next(): void {
    this.#length = -1;
    this.#prefixFilled = 0;
    this.#body = null;
    this.#filled = 0;
  }

  #append(part: Uint8Array): void {
    const needed = this.#filled + part.byteLength;
    if (this.#body === null || this.#body.byteLength < needed) {
      const justified = Math.max(
        firstBytes,
        this.#trustedBytes,
        needed * growth,
        Math.min(needed * smallGrowth, smallBytesMax),
      );
      const grown = Buffer.allocUnsafeSlow(Math.min(this.#length, justified));
      if (this.#body !== null) grown.set(this.#body.subarray(0, this.#filled));
      this.#body = new Uint8Array(grown.buffer, 0, grown.byteLength);
    }
    const body = this.#body;
    const isThere = part.buffer === body.buffer && part.byteOffset === body.byteOffset + this.#filled;
    if (!isThere) body.set(part, this.#filled);
    this.#filled = needed;
  }
}

function copyOf(bytes: Uint8Array, from: number, to: number): Uint8Array {
  const copy = Buffer.allocUnsafeSlow(to - from);
  copy.set(bytes.subarray(from, to));
  return new Uint8Array(copy.buffer, 0, copy.byteLength);
}
