import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { RefusedError } from "../base/errors.ts";
import { linesOf } from "./lines.ts";

async function* inPieces(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] as number;
    yield bytes.subarray(at, at + size);
    at += size;
  }
  await Promise.resolve();
}

async function lines(
  bytes: Uint8Array,
  sizes: readonly number[] = [7],
  bytesMax?: number,
): Promise<string[]> {
  const found: string[] = [];
  for await (const line of linesOf(inPieces(bytes, sizes), bytesMax))
    found.push(Buffer.from(line).toString("latin1"));
  return found;
}

describe("lines of bytes", () => {
  it("end at \\n or \\r\\n; the last one need not; empty ones count; nothing is decoded", async () => {
    assert.deepEqual(await lines(Buffer.from("a\r\n\nb\u00ff\nc", "latin1")), ["a", "", "b\u00ff", "c"]);
    assert.deepEqual(await lines(Buffer.from("a\n")), ["a"]);
    assert.deepEqual(await lines(Buffer.alloc(0)), []);
  });

  it("are the same however the bytes arrive", async () => {
    const bytes = fc.array(fc.constantFrom(0x0a, 0x61, 0x62, 0xff), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(
        bytes,
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
        async (content, sizes) => {
          const expected = Buffer.from(content).toString("latin1").split("\n");
          if (expected.at(-1) === "") expected.pop();
          assert.deepEqual(await lines(Uint8Array.from(content), sizes), expected);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("are bounded, and the one that is too long is named", async () => {
    await assert.rejects(
      lines(Buffer.from("ok\n0123456789"), [4], 8),
      (error) =>
        error instanceof RefusedError &&
        error.message.startsWith("Line 2 of the input is longer than 8 bytes"),
    );
    assert.deepEqual(await lines(Buffer.from("12345678\n12345678"), [4], 8), ["12345678", "12345678"]);
  });
});
