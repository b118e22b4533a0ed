/**
 * HMAC-SHA256 (RFC 2104), by which one who holds a secret proves it without telling it, and the comparison
 * that such proofs need. Its vectors are those of RFC 4231.
 */
import type { Sha256 } from "./ports.ts";

export const hmacBytes = 32;
const blockBytes = 64;

/** Over the chunks in order. A key may have any length; one beyond 64 bytes counts by its hash. */
export function hmacSha256(sha256: Sha256, key: Uint8Array, ...chunks: readonly Uint8Array[]): Uint8Array {
  const inner = new Uint8Array(blockBytes).fill(0x36);
  const outer = new Uint8Array(blockBytes).fill(0x5c);
  const short = key.byteLength > blockBytes ? sha256(key) : key;
  for (const [at, byte] of short.entries()) {
    inner[at] = 0x36 ^ byte;
    outer[at] = 0x5c ^ byte;
  }
  return sha256(outer, sha256(inner, ...chunks));
}

/** Takes as long whatever the bytes are, so that nobody finds a proof byte by byte. Lengths are no secret. */
export function equalSecrets(a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false;
  let difference = 0;
  for (let at = 0; at < a.byteLength; at++) difference |= (a[at] as number) ^ (b[at] as number);
  return difference === 0;
}
