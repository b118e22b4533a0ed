import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { formatLine } from "./logger.ts";

const line = (facts?: { readonly [name: string]: unknown }): string =>
  stripVTControlCharacters(formatLine(new Date(2026, 0, 2, 3, 4, 5), "warn", "connection.closed", facts));

describe("a log line for people", () => {
  it("is the time, the level, the event and its facts", () => {
    assert.equal(line(), "03:04:05 warn  connection.closed\n");
    assert.equal(
      line({ remote: "10.0.0.1", count: 3, reason: 'it said "no"', absent: undefined, list: ["a"], big: 5n }),
      '03:04:05 warn  connection.closed remote=10.0.0.1 count=3 reason="it said \\"no\\"" list=["a"] big="5"\n',
    );
  });

  it("has the stack of an error", () => {
    assert.match(line({ cause: new Error("gone") }), /cause=Error: gone\n +at /);
  });
});
