/**
 * Hands the native CRC-32C over to `base/crc32c.ts` where its library loads on this machine. Called once
 * at start, and optional: the results are the same without it, only slower. It never fails, but before
 * trusting the library it has it compute a published value.
 */
import { createRequire } from "node:module";
import { useNativeCrc32c } from "../base/crc32c.ts";

interface Crc32Library {
  readonly crc32c: (bytes: Uint8Array, from?: number) => number;
}

/** The CRC-32C of "123456789", in the catalogues of checksums its check value. */
const CHECK_VALUE = 0xe3069283;

/** True: the native implementation is in use. False: there is none for this machine, or it computes nonsense. */
export function loadNativeCrc32c(): boolean {
  const library = loadLibrary();
  if (library === null || library.crc32c(Buffer.from("123456789")) !== CHECK_VALUE) return false;
  useNativeCrc32c(library.crc32c);
  return true;
}

function loadLibrary(): Crc32Library | null {
  try {
    return createRequire(import.meta.url)("@node-rs/crc32") as Crc32Library;
  } catch {
    // No build for this platform: the script serves.
    return null;
  }
}
