import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseKeys, parseSettings } from "./topic-settings.ts";
import { UsageError } from "./usage-error.ts";

describe("settings of a topic on the command line", () => {
  it("are pairs; a value may have an equals sign and may be empty", () => {
    assert.deepEqual(parseSettings(["a=1", "b=x=y", "c="]), { a: "1", b: "x=y", c: "" });
  });

  it("as Kafka lists them: with commas, and brackets around a value that has commas", () => {
    assert.deepEqual(parseSettings([], ["a=1,b=[x,y],c=2"]), { a: "1", b: "x,y", c: "2" });
    assert.deepEqual(parseKeys(["a,b", "c"]), ["a", "b", "c"]);
  });

  it("what is no pair is refused, never overlooked", () => {
    for (const list of ["", "a", "a=1,b", "a=1,,b=2", "a=[x", "=1"]) {
      assert.throws(() => parseSettings([], [list]), UsageError, list);
    }
    for (const pair of ["a", "=1", ""]) assert.throws(() => parseSettings([pair]), UsageError, pair);
  });
});
