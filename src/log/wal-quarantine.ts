/**
 * What lies behind the end that recovery decided on and is not clean is copied to a file of its own and
 * reported: without a witness nobody can prove that it was not acknowledged. Clean are zeros, and in a
 * recycled file every block that does not claim to be a frame of this file. The log itself is not touched.
 */
import { equalBytes } from "../base/bytes.ts";
import { DiskError } from "../base/errors.ts";
import type { Disk } from "../base/ports.ts";
import { BLOCK_BYTES, carriesSalt, FileOrigin } from "./wal-format.ts";
import type { RecoveryReport, ScannedFile, WalScan } from "./wal-scan.ts";

const directory = "quarantine";
/** Read and written in pieces of this size. */
const pieceBytes = 1024 * 1024;

export async function quarantineTail(
  disk: Disk,
  scan: WalScan,
  end: number,
  reports: RecoveryReport[],
): Promise<void> {
  const place = scan.locate(end);
  if (place === null) return;
  const { file } = place;
  const range = await uncleanRange(scan, file, place.at);
  if (range === null) return;
  const path = `${directory}/wal-${file.epoch}-${end}.bin`;
  await copyOut(disk, scan, file, range, path);
  reports.push({
    kind: "unproved-tail",
    message:
      `WAL of epoch ${file.epoch}: ${range.end - range.begin} bytes behind its end at position ${end} ` +
      `(${file.path}, byte ${range.begin}) are not a whole frame and cannot be proved unacknowledged; ` +
      `they are kept in ${path}`,
  });
}

async function uncleanRange(
  scan: WalScan,
  file: ScannedFile,
  from: number,
): Promise<{ readonly begin: number; readonly end: number } | null> {
  let begin = -1;
  let end = -1;
  for (let at = from; at < file.bytes; at += BLOCK_BYTES) {
    const block = await scan.read(file, at, BLOCK_BYTES);
    const clean = file.origin === FileOrigin.recycled ? !carriesSalt(block, file.salt) : isZero(block);
    if (clean) continue;
    if (begin < 0) begin = at;
    end = at + block.byteLength;
  }
  return begin < 0 ? null : { begin, end };
}

const zeros = new Uint8Array(BLOCK_BYTES);
const isZero = (block: Uint8Array): boolean => equalBytes(block, zeros.subarray(0, block.byteLength));

async function copyOut(
  disk: Disk,
  scan: WalScan,
  file: ScannedFile,
  range: { readonly begin: number; readonly end: number },
  path: string,
): Promise<void> {
  const temporary = `${path}.tmp`;
  await disk.makeDirectory(directory);
  await disk.remove(temporary).catch((cause: unknown) => {
    // Left by a recovery that did not get to its end, or not there at all.
    if (!(cause instanceof DiskError && cause.errno === "ENOENT")) throw cause;
  });
  const copy = await disk.open(temporary, { mode: "create", lane: "wal" });
  try {
    for (let at = range.begin; at < range.end; at += pieceBytes) {
      const piece = await scan.read(file, at, Math.min(pieceBytes, range.end - at));
      await copy.write(at - range.begin, [piece]);
    }
    await copy.sync();
  } finally {
    await copy.close();
  }
  await disk.rename(temporary, path);
  await disk.syncDirectory(directory);
  await disk.syncDirectory("");
}
