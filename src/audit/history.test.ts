import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FloatColumn, IntColumn, Keys, Names } from "./columns.ts";
import { History } from "./history.ts";
import { sortedBy } from "./radix.ts";
import { NONE } from "./words.ts";

test("an operation that is never ended is of unknown outcome", () => {
  const history = new History();
  history.client("c").begin("poll", 1);
  assert.deepEqual(history.operations.outcome, ["unknown"]);
  assert.equal(history.operations.endEvent.at(0), NONE);
});

test("events keep the order in which they were told, also of operations that overlap", () => {
  const history = new History();
  const client = history.client("c");
  const first = client.begin("poll", 1);
  const second = client.begin("poll", 2);
  second.ok(3);
  first.fail(4);
  const told = Array.from({ length: history.events.length }, (_, event) => history.events.at(event));
  assert.deepEqual(told, [0, 2, 3, 1]);
});

test("what cannot have happened is refused: a second end, a step after it, a step of another kind, a value sent twice", () => {
  const history = new History();
  const place = history.partition("t", 0);
  const send = history.client("c").begin("send", 1);
  const step = send.sends(place, "a");
  assert.throws(() => send.polled(place, 0, "a"), /has no such step/);
  assert.throws(() => send.sends(place, "a"), /sent once/);
  send.stored(step, 0);
  send.ok(2);
  assert.throws(() => send.fail(3), /ends once/);
  assert.throws(() => send.sends(place, "b"), /no further step/);
});

test("the same names give the same numbers, and the null key is no key that a text can be", () => {
  const history = new History();
  assert.equal(history.partition("t", 0), history.partition("t", 0, "delete"));
  assert.equal(history.cleanupOf(history.partition("t", 0)), "none");
  assert.notEqual(history.partition("t", 0), history.partition("t", 1));
  const keys = new Keys();
  fc.assert(
    fc.property(fc.string(), (text) => keys.key(text) !== keys.key(null) && !keys.isNull(keys.key(text))),
  );
  assert.equal(keys.key(null), keys.key(null));
});

test("columns give back what was pushed, however long they grow, and nothing else", () => {
  fc.assert(
    fc.property(fc.array(fc.integer(), { maxLength: 300 }), (numbers) => {
      const integers = new IntColumn();
      const floats = new FloatColumn();
      numbers.forEach((number, row) => {
        assert.equal(integers.push(number), row);
        assert.equal(floats.push(number + 0.5), row);
      });
      numbers.forEach((number, row) =>
        assert.deepEqual([integers.at(row), floats.at(row)], [number, number + 0.5]),
      );
      assert.throws(() => integers.at(numbers.length), /one that was pushed/);
    }),
  );
  assert.throws(() => new IntColumn().push(2 ** 31), /32 bits/);
  const names = new Names();
  assert.deepEqual([names.number("a"), names.number("b"), names.number("a"), names.at(1)], [0, 1, 0, "b"]);
});

test("sorting by digits is sorting: ascending up to 2⁵³, and equal keys keep their order", () => {
  const keys = fc.array(fc.oneof(fc.nat(300), fc.maxSafeNat()), { maxLength: 200 });
  fc.assert(
    fc.property(keys, (list) => {
      const items = Int32Array.from(list.keys());
      const sorted = sortedBy(items, (item) => list[item] as number, { work: 0 });
      const expected = [...list.keys()].sort((a, b) => (list[a] as number) - (list[b] as number) || a - b);
      assert.deepEqual([...sorted], expected);
    }),
  );
});
