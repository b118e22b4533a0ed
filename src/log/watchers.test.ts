import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Watchers } from "./watchers.ts";

describe("watchers", () => {
  it("are called in the order in which they came, once each, also those who come back while they are called", () => {
    const watchers = new Watchers();
    const called: string[] = [];
    const leave = watchers.add(() => {
      called.push("a");
      leave();
      watchers.add(() => called.push("again"));
    });
    watchers.add(() => called.push("b"));
    watchers.wake();
    assert.deepEqual(called.splice(0), ["a", "b"]);
    watchers.wake();
    assert.deepEqual(called, ["b", "again"]);
  });

  it("are those who came and did not leave, whatever the order, and leaving twice is leaving once", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(7), { maxLength: 60 }), (steps) => {
        const watchers = new Watchers();
        const there = new Map<number, () => void>();
        const called: number[] = [];
        for (const name of steps) {
          const leave = there.get(name);
          if (leave !== undefined) {
            leave();
            leave();
            there.delete(name);
          } else
            there.set(
              name,
              watchers.add(() => called.push(name)),
            );
          watchers.wake();
          assert.deepEqual(called.splice(0), [...there.keys()]);
          assert.equal(watchers.isEmpty, there.size === 0);
        }
        watchers.clear();
        for (const leave of there.values()) leave();
        assert.ok(watchers.isEmpty);
      }),
    );
  });
});
