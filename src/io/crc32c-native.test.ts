import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { crc32c, crc32cScript } from "../base/crc32c.ts";
import { loadNativeCrc32c } from "./crc32c-native.ts";

describe("the native CRC-32C", () => {
  it("loads here, and agrees with the script at every length, from any position and going on from any result", () => {
    assert.ok(loadNativeCrc32c());
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 2000, size: "max" }),
        fc.nat(7),
        fc.nat({ max: 0xffff_ffff }),
        (bytes, start, from) => {
          const part = bytes.subarray(start);
          assert.equal(crc32c(part, from), crc32cScript(part, from));
          assert.equal(crc32c(part), crc32cScript(part));
        },
      ),
      { numRuns: 300 },
    );
  });

  it("is what long inputs go through", () => {
    const bytes = new Uint8Array(1_000_000).fill(7);
    assert.equal(crc32c(bytes), crc32cScript(bytes));
    assert.equal(crc32c(Buffer.from(bytes.buffer, 3, 1000)), crc32cScript(bytes.subarray(3, 1003)));
  });
});
