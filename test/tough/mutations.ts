/**
 * What happens to a frame between a client and us in the worst of worlds: flipped bits, bytes that are
 * overwritten, cut off, doubled, or taken from another frame, and lengths that say something else. The
 * length before the frame is mostly made right again, so that the change is met by the decoder and not by
 * the stream.
 */
import type { SimRandom } from "../../src/sim/random.ts";

const edges = [0, 1, 0x7f, 0x80, 0xff];

/** A fresh array; `other` is a frame to splice with. */
export function mutate(frame: Uint8Array, other: Uint8Array, random: SimRandom): Uint8Array {
  let bytes: Uint8Array = Uint8Array.from(frame);
  for (let left = random.pick([1, 1, 1, 2, 3, 8]); left > 0; left--) bytes = once(bytes, other, random);
  if (bytes.byteLength >= 4 && random.below(25) !== 0) setLength(bytes, bytes.byteLength - 4);
  else if (bytes.byteLength >= 4 && random.below(3) === 0)
    setLength(bytes, oddLength(bytes.byteLength, random));
  return bytes;
}

function once(bytes: Uint8Array, other: Uint8Array, random: SimRandom): Uint8Array {
  // The header is met often enough; most changes belong behind it.
  const begin = Math.min(random.below(4) === 0 ? 4 : 14, bytes.byteLength);
  const at = begin + random.below(Math.max(1, bytes.byteLength - begin));
  switch (random.below(8)) {
    case 0:
    case 1:
      if (at < bytes.byteLength) bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
      return bytes;
    case 2:
      if (at < bytes.byteLength) bytes[at] = random.pick(edges);
      return bytes;
    case 3: // Four bytes that may be a length or a count.
      if (at + 4 <= bytes.byteLength)
        setInt32(bytes, at, random.pick([-1, -2, 0, 1, 0x7fff_ffff, 0x0000_ffff, 0x0100_0000]));
      return bytes;
    case 4:
      return bytes.subarray(0, at);
    case 5: {
      const end = Math.min(bytes.byteLength, at + random.between(1, 32));
      return join(bytes.subarray(0, end), bytes.subarray(at));
    }
    case 6: {
      const from = random.below(Math.max(1, other.byteLength));
      const to = Math.min(other.byteLength, from + random.between(1, 200));
      return join(
        bytes.subarray(0, at),
        other.subarray(from, to),
        bytes.subarray(Math.min(bytes.byteLength, at + (random.below(2) === 0 ? 0 : to - from))),
      );
    }
    default: {
      const end = Math.min(bytes.byteLength, at + random.between(1, 32));
      return join(bytes.subarray(0, at), bytes.subarray(end));
    }
  }
}

function oddLength(byteLength: number, random: SimRandom): number {
  return random.pick([
    -1,
    -0x8000_0000,
    0,
    3,
    byteLength,
    byteLength - 5,
    byteLength + 1,
    0x7fff_ffff,
    104_857_600,
    104_857_601,
  ]);
}

function setLength(bytes: Uint8Array, length: number): void {
  setInt32(bytes, 0, length);
}

function setInt32(bytes: Uint8Array, at: number, value: number): void {
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).setInt32(at, value);
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
