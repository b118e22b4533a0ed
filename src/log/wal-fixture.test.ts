/**
 * A file WAL as format 1 wrote it. It is read for ever (I14): when the format changes, this stays as it is
 * and a second fixture stands beside it.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { inflateRawSync } from "node:zlib";
import { brokerEpoch, offset, walPosition } from "../base/ids.ts";
import { SimDisk } from "../sim/disk.ts";
import { EntryKind } from "./wal.ts";
import { anEntry } from "./wal.contract.ts";
import { recoverEpoch } from "./wal-recovery.ts";

/** wal/7/0.log of cluster "a-cluster": two batches in one frame, a log start, a mark; deflated. */
const format1 =
  "7dlXUBNRFAbgs0EIYCFYsKFGsZugYsfeYkRERSViQSnBAoiGYhcr9gI2EDUUUewVFQtW7AUVFbCiErBj78Cs7I4ZlMGxjDL+38u5c+/e87Az+/CflcsU1n7xGj0iMieGOEKu6ivVYtO4WAs1f0AGjlJndx8vb6WKAAAAAAAAAKCAkCP/AwAAAAAAAPwH+V9mmxjmYUwk0t4WfhP88yaIcbPPYhcpGTYOX7cZgU4hXT2hvoFh4SJFixnlusSOGnSIKD0hUkSky22G+CZHsQsNEbkEudpFf68N86NtGCsiRhIekCnJ3UVkXLxEyVImpcuULVfetELFSuLKVcyqVqteo2at2nUkUvO69epbNGjYqHGTps0sm7do2ap1m7bt2nfoKOsk72zVxbqrTbfuPWx79uptp+hj37df/wEOAwc5Ojn/0eYuStfBQ4YOc3P3GO45YqTKy9vHd9ToMWPHjZ8w0W/S5ClTp033nzFz1uw5c+fNX7AwIHDR4iVLlwUFLw9ZsXKVOjQsPGJ15Jq1UevWb9i4afOWrdu279gZvWv3npi9+/YfiD146PCRo8fijp84eer0mbPnzl+Iv3jpcsKVq9cSk5Kv37h56/adlLv37qdq0tIfPHz0+MnTZxnPX7x89frN23fvP3z89Dkz6ydeLr47AAAAAACAv5H/I5Kc0vLJ/1zm5p8RkdbMgAkM9TfSngPkXMg7//MBng/uzJfgznDBna1S9jhYbZn6j40RAAAAAAAAAApu/vdUKczyyf+CnCImvmrPDLj//vwc4PfmfwAAAAAAAAD4Zdk=";

test("a log that was written in format 1 is read", async () => {
  const disk = new SimDisk();
  await disk.makeDirectory("wal/7");
  const file = await disk.open("wal/7/0.log", { mode: "create", lane: "wal" });
  await file.write(0, [inflateRawSync(Buffer.from(format1, "base64"))]);
  const recovered = await recoverEpoch({
    disk,
    clusterId: "a-cluster",
    epoch: brokerEpoch(7),
    released: walPosition(0),
    recorded: null,
  });
  assert.deepEqual(
    recovered.entries.map(({ entry }) => entry),
    [
      anEntry({ base: 0 }),
      anEntry({ base: 0, partition: 1, bytes: 300 }),
      { ...anEntry({ base: 1, bytes: 0 }), kind: EntryKind.logStart, count: 0, baseOffset: offset(1) },
    ],
  );
  assert.deepEqual(
    recovered.entries.map(({ position }) => position),
    [0, 0, 4096],
  );
  assert.equal(recovered.end, 12_288);
  assert.deepEqual(recovered.reports, []);
});
