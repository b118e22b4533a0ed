/**
 * What lies behind the end that recovery decided on and is not clean is copied to a file of its own and
 * reported: without a witness nobody can prove that it was not acknowledged. The log itself is not touched.
 */
import { DiskError } from "../base/errors.ts";
import type { Disk } from "../base/ports.ts";
import type { ByteRange, RecoveryReport, Remainder, ScannedFile, WalScan } from "./wal-scan.ts";

const directory = "quarantine";
/** Read and written in pieces of this size. */
const pieceBytes = 1024 * 1024;

export async function quarantineTail(
  disk: Disk,
  scan: WalScan,
  end: number,
  remainder: Remainder | null,
  reports: RecoveryReport[],
): Promise<void> {
  const place = scan.locate(end);
  if (place === null) return;
  const { file } = place;
  // The reading that found the end has looked at what follows, unless damage lay before it.
  const { unclean: range } = remainder?.position === end ? remainder : await scan.behind(end);
  if (range === null) return;
  const path = await keepCopy(disk, scan, file, range, `${directory}/wal-${file.epoch}-${end}`);
  reports.push({
    kind: "unproved-tail",
    message:
      `WAL of epoch ${file.epoch}: ${range.end - range.begin} bytes behind its end at position ${end} ` +
      `(${file.path}, byte ${range.begin}) are not a whole frame and cannot be proved unacknowledged; ` +
      `they are kept in ${path}`,
  });
}

/** The bytes in a file of their own; on a full disk a second name for the whole log, which takes no space. */
async function keepCopy(
  disk: Disk,
  scan: WalScan,
  file: ScannedFile,
  range: ByteRange,
  name: string,
): Promise<string> {
  await disk.makeDirectory(directory);
  try {
    await copyOut(disk, scan, file, range, `${name}.bin`);
    return `${name}.bin`;
  } catch (cause) {
    if (!isDiskError(cause, "ENOSPC")) throw cause;
  }
  await removeIfThere(disk, `${name}.bin.tmp`);
  await disk.link(file.path, `${name}.log`).catch((cause: unknown) => {
    // An earlier start came as far as this.
    if (!isDiskError(cause, "EEXIST")) throw cause;
  });
  await syncNames(disk);
  return `${name}.log`;
}

async function copyOut(
  disk: Disk,
  scan: WalScan,
  file: ScannedFile,
  range: ByteRange,
  path: string,
): Promise<void> {
  const temporary = `${path}.tmp`;
  // Left by a recovery that did not get to its end.
  await removeIfThere(disk, temporary);
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
  await syncNames(disk);
}

async function syncNames(disk: Disk): Promise<void> {
  await disk.syncDirectory(directory);
  await disk.syncDirectory("");
}

async function removeIfThere(disk: Disk, path: string): Promise<void> {
  await disk.remove(path).catch((cause: unknown) => {
    if (!isDiskError(cause, "ENOENT")) throw cause;
  });
}

const isDiskError = (cause: unknown, errno: string): boolean =>
  cause instanceof DiskError && cause.errno === errno;
