/**
 * The codecs of record batches: gzip, snappy, lz4 and zstd. What goes in was written by strangers, so
 * every inflation has a bound on its output and stops there, ends on any input, and gives a typed error.
 * Libraries load on first use, so that start-up does not pay for them. Everything is synchronous; callers
 * bound the size of what they hand in.
 */
import { createRequire } from "node:module";
import { constants, gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { unreachable } from "../base/assert.ts";
import { MalformedError } from "../base/errors.ts";
import { Codec } from "./batch.ts";
import { InflationError } from "./errors.ts";
import { type Lz4Native, type Lz4Script, readLz4Frame, writeLz4Frame } from "./lz4.ts";
import { readSnappy, type SnappyLibrary, writeSnappyFramed } from "./snappy.ts";

const load = createRequire(import.meta.url);
let snappyjs: SnappyLibrary | undefined;
let lz4Script: Lz4Script | undefined;
/** `null`: there is no build of it for this machine. */
let lz4Native: Lz4Native | null | undefined;

function snappyLibrary(): SnappyLibrary {
  snappyjs ??= load("snappyjs") as SnappyLibrary;
  return snappyjs;
}

function lz4Library(): Lz4Native | Lz4Script {
  if (lz4Native === undefined) {
    try {
      lz4Native = load("lz4-napi") as Lz4Native;
    } catch {
      // An optional dependency that is absent is expected; the script below reads and writes the same frames.
      lz4Native = null;
    }
  }
  if (lz4Native !== null) return lz4Native;
  lz4Script ??= load("lz4js") as Lz4Script;
  return lz4Script;
}

/**
 * `level` is of the codec's own scale: gzip 1 to 9 (−1: default), zstd up to 22 (default 3). Snappy has
 * none; for lz4 the library has one level only, whatever `compression.lz4.level` says.
 */
export function compress(codec: Codec, bytes: Uint8Array, level?: number): Uint8Array {
  switch (codec) {
    case Codec.none:
      return bytes;
    case Codec.gzip:
      return gzipSync(bytes, { level: level ?? constants.Z_DEFAULT_COMPRESSION });
    case Codec.snappy:
      return writeSnappyFramed(bytes, snappyLibrary());
    case Codec.lz4:
      return writeLz4Frame(bytes, lz4Library());
    case Codec.zstd:
      return zstdCompressSync(
        bytes,
        level === undefined ? {} : { params: { [constants.ZSTD_c_compressionLevel]: level } },
      );
    default:
      return unreachable(codec);
  }
}

/**
 * Inflates what any Kafka client wrote. Throws `InflationError` as soon as the result is known to exceed
 * `inflatedBytesMax`, and `MalformedError` for anything that is not the codec's format or is cut short.
 */
export function decompress(codec: Codec, bytes: Uint8Array, inflatedBytesMax: number): Uint8Array {
  switch (codec) {
    case Codec.none:
      if (bytes.byteLength > inflatedBytesMax) throw new InflationError(inflatedBytesMax);
      return bytes;
    case Codec.gzip:
      return inflateWith(gunzipSync, bytes, inflatedBytesMax);
    case Codec.snappy:
      return readSnappy(bytes, inflatedBytesMax);
    case Codec.lz4:
      return readLz4Frame(bytes, inflatedBytesMax, lz4Library());
    case Codec.zstd:
      return inflateWith(zstdDecompressSync, bytes, inflatedBytesMax);
    default:
      return unreachable(codec);
  }
}

function inflateWith(
  inflate: (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array,
  bytes: Uint8Array,
  inflatedBytesMax: number,
): Uint8Array {
  try {
    return inflate(bytes, { maxOutputLength: Math.max(inflatedBytesMax, 1) });
  } catch (cause) {
    if ((cause as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE")
      throw new InflationError(inflatedBytesMax);
    throw new MalformedError(`the compressed records are damaged: ${(cause as Error).message}`, { cause });
  }
}
