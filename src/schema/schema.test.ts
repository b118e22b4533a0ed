import assert from "node:assert/strict";
import { describe as suite, test } from "node:test";
import { Reader, Writer } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import { compile } from "./compile.ts";
import { defaultOf } from "./defaults.ts";
import { describe } from "./describe.ts";
import { TooLongError, VersionError } from "./errors.ts";
import {
  array,
  bigint64,
  bool,
  bytes,
  clamped64,
  from,
  ignorable,
  int16,
  int32,
  int64,
  nullable,
  orElse,
  string,
  struct,
  tagged,
  type Type,
  until,
  varint,
} from "./types.ts";

function encode<T>(type: Type<T>, value: T, version = 0, flexible = false): string {
  const w = new Writer();
  compile(type, version, { flexible }).write(w, value);
  return Buffer.from(w.finishFlat()).toString("hex");
}

function decode<T>(type: Type<T>, hex: string, version = 0, flexible = false): T {
  const r = new Reader(new Uint8Array(Buffer.from(hex, "hex")));
  const value = compile(type, version, { flexible }).read(r);
  assert.equal(r.remaining, 0);
  return value;
}

suite("bytes of the wire", () => {
  const cases: { type: Type<unknown>; value: unknown; plain: string; flexible: string }[] = [
    { type: string, value: "aß", plain: "000361c39f", flexible: "0461c39f" },
    { type: nullable(string), value: null, plain: "ffff", flexible: "00" },
    { type: bytes, value: Uint8Array.of(1, 2), plain: "000000020102", flexible: "030102" },
    { type: nullable(bytes), value: null, plain: "ffffffff", flexible: "00" },
    { type: array(int16), value: [1, -1], plain: "000000020001ffff", flexible: "030001ffff" },
    { type: nullable(array(int16)), value: null, plain: "ffffffff", flexible: "00" },
    { type: struct({ a: bool }), value: { a: true }, plain: "01", flexible: "0100" },
    { type: nullable(struct({ a: bool })), value: null, plain: "ff", flexible: "ff" },
    { type: nullable(struct({ a: bool })), value: { a: true }, plain: "0101", flexible: "010100" },
    { type: int64, value: -2, plain: "fffffffffffffffe", flexible: "fffffffffffffffe" },
    { type: varint, value: -300, plain: "d704", flexible: "d704" },
    { type: bigint64, value: 2n ** 63n - 1n, plain: "7fffffffffffffff", flexible: "7fffffffffffffff" },
  ];
  for (const { type, value, plain, flexible } of cases) {
    test(`${describe(type).split("\n")[0]} ${plain}`, () => {
      assert.equal(encode(type, value), plain);
      assert.deepEqual(decode(type, plain), value);
      assert.equal(encode(type, value, 0, true), flexible);
      assert.deepEqual(decode(type, flexible, 0, true), value);
    });
  }

  test("null is refused where the version has none", () => {
    assert.throws(() => decode(string, "ffff"), MalformedError);
    assert.throws(() => decode(nullable(string, 2), "ffff", 1), MalformedError);
    assert.equal(decode(nullable(string, 2), "ffff", 2), null);
    assert.throws(
      () => encode(nullable(string, 2), null, 1),
      /null is only written where the version allows it/,
    );
  });

  test("a string that is too long for a version is an error, not a stop of the process", () => {
    assert.throws(() => encode(string, "x".repeat(32_768)), TooLongError);
    assert.equal(encode(string, "x".repeat(32_767)).slice(0, 4), "7fff");
    assert.doesNotThrow(() => encode(string, "x".repeat(32_768), 0, true));
  });

  test("a negative length other than null is refused", () => {
    assert.throws(() => decode(nullable(string), "fffe"), MalformedError);
    assert.throws(() => decode(nullable(array(int16)), "fffffffe"), MalformedError);
  });

  test("a number beyond 2^53 is refused, or read as the bound where that is said", () => {
    assert.throws(() => decode(int64, "0020000000000000"), MalformedError);
    assert.equal(decode(clamped64, "0020000000000000"), Number.MAX_SAFE_INTEGER);
    assert.equal(decode(clamped64, "8000000000000000"), -Number.MAX_SAFE_INTEGER);
    assert.equal(decode(clamped64, "001fffffffffffff"), Number.MAX_SAFE_INTEGER);
  });
});

suite("versions", () => {
  const message = struct({
    old: until(1, int16),
    always: int16,
    young: from(2, orElse(7, int16)),
    may: ignorable(from(2, nullable(string))),
  });

  test("a field that a version lacks reads as its default and is not written", () => {
    assert.deepEqual(decode(message, "00010002", 1), { old: 1, always: 2, young: 7, may: "" });
    assert.equal(encode(message, { old: 1, always: 2, young: 9, may: "x" }, 1), "00010002");
    assert.deepEqual(decode(message, "00020009000178", 2), { old: 0, always: 2, young: 9, may: "x" });
  });

  test("a lossless codec refuses what it would drop, unless it is a default or ignorable", () => {
    const write = (value: { old: number; young: number; may: string | null }, version: number) => {
      const w = new Writer();
      compile(message, version, { flexible: false, lossless: true }).write(w, { always: 2, ...value });
    };
    assert.throws(() => write({ old: 0, young: 9, may: "" }, 1), new VersionError("young", 1));
    assert.throws(() => write({ old: 5, young: 7, may: "" }, 2), VersionError);
    assert.doesNotThrow(() => write({ old: 5, young: 7, may: "dropped" }, 1));
  });

  test("all results of a codec have their fields in the order of the schema", () => {
    assert.deepEqual(Object.keys(decode(message, "00010002", 1)), ["old", "always", "young", "may"]);
  });
});

suite("tagged fields", () => {
  const message = struct({
    a: int16,
    late: tagged(3, 1, orElse(5, int32)),
    early: tagged(1, 1, array(int16)),
  });

  test("are written in the order of their tags and left out when they hold their default", () => {
    assert.equal(encode(message, { a: 1, late: 5, early: [] }, 1, true), "000100");
    assert.equal(
      encode(message, { a: 1, late: 6, early: [2] }, 1, true),
      "0001" + "02" + "0103" + "020002" + "0304" + "00000006",
    );
  });

  test("read as their default when they are absent, by version or by choice", () => {
    assert.deepEqual(decode(message, "000100", 1, true), { a: 1, late: 5, early: [] });
    assert.deepEqual(decode(message, "0001", 0, false), { a: 1, late: 5, early: [] });
  });

  test("must take exactly the bytes that they claim", () => {
    assert.throws(() => decode(message, "0001" + "01" + "0305" + "0000000600", 1, true), /took 4 bytes of 5/);
  });
});

test("the default of a struct is that of its fields; of a nullable type, that of the type", () => {
  assert.deepEqual(defaultOf(struct({ a: orElse(3, int16), b: nullable(string), c: bigint64 })), {
    a: 3,
    b: "",
    c: 0n,
  });
});

test("a schema can be read as text", () => {
  const schema = struct({
    topics: nullable(array(struct({ name: until(12, string), epoch: from(9, orElse(-1, int32)) })), 1),
    mark: ignorable(tagged(0, 3, bool)),
  });
  assert.equal(
    describe(schema),
    `topics: array of struct, or null from 1
  name: string, until 12
  epoch: int32, from 9, else -1
mark: bool, ignorable, tag 0 from 3`,
  );
});
