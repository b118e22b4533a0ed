import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatBytes, formatMs, formatTable } from "./table.ts";

describe("tables and figures", () => {
  it("columns are as wide as their widest cell; numbers stand to the right", () => {
    assert.equal(
      formatTable(
        ["TOPIC", "RECORDS", "SIZE", "NOTE"],
        [
          ["orders", 1_234_567, "1.5 KiB", "x"],
          ["\u001b[1mb\u001b[22m", 5, "0 B", ""],
        ],
      ),
      "TOPIC      RECORDS      SIZE   NOTE\norders   1,234,567   1.5 KiB   x\n\u001b[1mb\u001b[22m                5       0 B\n",
    );
  });

  it("bytes and times have the unit that makes them short", () => {
    assert.deepEqual([0, 1023, 1536, 200 * 1024, 5 * 1024 ** 3].map(formatBytes), [
      "0 B",
      "1023 B",
      "1.5 KiB",
      "200 KiB",
      "5.0 GiB",
    ]);
    assert.deepEqual([0.05, 1.94, 250, 2_400].map(formatMs), ["50 µs", "1.9 ms", "250 ms", "2.4 s"]);
  });
});
