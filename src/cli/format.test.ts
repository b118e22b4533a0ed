import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compileFormat, jsonRecord, type PrintableRecord } from "./format.ts";
import { UsageError } from "./usage-error.ts";

function aRecord(parts: Partial<PrintableRecord> = {}): PrintableRecord {
  return {
    topic: "orders",
    partition: 3,
    offset: 42,
    timestampMs: 1_700_000_000_123,
    key: Buffer.from("k"),
    value: Buffer.from("hello"),
    headers: [],
    ...parts,
  };
}

function printed(format: string, record: PrintableRecord): string {
  const pieces: Uint8Array[] = [];
  compileFormat(format)(record, pieces);
  return Buffer.concat(pieces).toString("latin1");
}

describe("--format", () => {
  it("has kcat's letters", () => {
    assert.equal(
      printed("%t [%p] at %o: %k=%s %K/%S %T\\n", aRecord()),
      "orders [3] at 42: k=hello 1/5 1700000000123\n",
    );
    assert.equal(printed("%R", aRecord()), "\0\0\0\u0005");
    const headers = [
      { key: "a", value: Buffer.from("1") },
      { key: "b", value: null },
    ];
    assert.equal(printed("%h %H", aRecord({ headers })), "a=1,b=NULL 2");
  });

  it("has rpk's value letter, encodings, and a percent sign", () => {
    assert.equal(
      printed("%v %V %% %v{hex} %v{base64} %k{json}", aRecord()),
      'hello 5 % 68656c6c6f aGVsbG8= "k"',
    );
    assert.equal(printed("%d", aRecord()), "2023-11-14T22:13:20.123Z");
  });

  it("prints nothing for null, and −1 for its length", () => {
    assert.equal(printed("[%k|%v|%K|%V]", aRecord({ key: null, value: null })), "[||-1|-1]");
    assert.equal(printed("%R", aRecord({ value: null })), "\u00ff\u00ff\u00ff\u00ff");
  });

  it("prints values byte for byte, also those that are not UTF-8", () => {
    assert.equal(printed("%v", aRecord({ value: Uint8Array.of(0xff, 0x00, 0x80) })), "\u00ff\0\u0080");
  });

  it("refuses letters, encodings and escapes that it does not have", () => {
    for (const format of ["%q", "%", "100%", "%v{rot13}", "\\q", "\\"]) {
      assert.throws(() => compileFormat(format), UsageError, format);
    }
  });
});

describe("--json", () => {
  it("is one line that names everything; text as text", () => {
    const record = aRecord({ value: Buffer.from("a\nb"), headers: [{ key: "h", value: Buffer.from("1") }] });
    const line = jsonRecord(record);
    assert.doesNotMatch(line, /\n/);
    assert.deepEqual(JSON.parse(line), {
      topic: "orders",
      partition: 3,
      offset: 42,
      timestampMs: 1_700_000_000_123,
      timestamp: "2023-11-14T22:13:20.123Z",
      key: "k",
      value: "a\nb",
      headers: [{ name: "h", value: "1" }],
    });
  });

  it("gives what is not UTF-8 as base64 and says so; null stays null", () => {
    const { key, value, valueEncoding, keyEncoding } = JSON.parse(
      jsonRecord(aRecord({ key: null, value: Uint8Array.of(0xff) })),
    ) as { [name: string]: unknown };
    assert.deepEqual([key, keyEncoding, value, valueEncoding], [null, undefined, "/w==", "base64"]);
  });
});
