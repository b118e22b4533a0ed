import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeUtf8, parseEscaped, withoutControls } from "./escapes.ts";
import { UsageError } from "./usage-error.ts";

describe("escapes", () => {
  it("become bytes, and the rest stays as it is, in UTF-8", () => {
    assert.deepEqual(
      Buffer.from(parseEscaped("a\\tb\\n\\\\é\\x00\\xfF", "-K")),
      Buffer.from([...Buffer.from("a\tb\n\\é"), 0, 0xff]),
    );
    assert.equal(parseEscaped("", "-K").length, 0);
  });

  it("that do not exist are refused, so that nobody believes in them", () => {
    for (const text of ["\\q", "\\", "\\x1", "\\xgg"]) {
      assert.throws(
        () => parseEscaped(text, "--key-separator"),
        (error) => error instanceof UsageError && error.message.startsWith("--key-separator has"),
      );
    }
  });

  it("replace what would steer a terminal", () => {
    assert.equal(
      withoutControls("a\u001b[2Jb\r\n\t\u0007\u009b\u202e"),
      "a\\x1b[2Jb\\r\\n\\t\\x07\\x9b\\u{202e}",
    );
    assert.equal(withoutControls("grüße 😀"), "grüße 😀");
  });

  it("bytes that are not UTF-8 are no text", () => {
    assert.equal(decodeUtf8(Uint8Array.of(0xc3, 0x28)), null);
    assert.equal(decodeUtf8(Buffer.from("\ufeffä")), "\ufeffä");
  });
});
