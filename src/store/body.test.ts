import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MalformedError } from "../base/errors.ts";
import { brokerEpoch } from "../base/ids.ts";
import { sha256 } from "../io/sha256.ts";
import { BodyKind, bodyHeaderBytes, decodeBody, encodeBody } from "./body.ts";

const header = {
  kind: BodyKind.slot,
  clusterId: "cluster",
  epoch: brokerEpoch(3),
  number: 42,
  nonce: new Uint8Array(16).fill(9),
};
const body = new Uint8Array([10, 20, 30]);
const expected = { kind: BodyKind.slot, number: 42, clusterId: "cluster" };

describe("the frame of a metadata object", () => {
  it("has every field at its place", () => {
    const bytes = encodeBody(header, body, sha256);
    const hex = (from: number, to: number) => Buffer.from(bytes.subarray(from, to)).toString("hex");
    assert.equal(bytes.byteLength, bodyHeaderBytes + 3);
    assert.equal(hex(0, 8), "48464d4f00010100", "magic, format 1, kind 1, zero");
    assert.equal(hex(8, 40), `${Buffer.from("cluster").toString("hex")}${"00".repeat(25)}`);
    assert.equal(hex(40, 56), `${"00".repeat(7)}03${"00".repeat(7)}2a`, "epoch and number");
    assert.equal(hex(56, 72), "09".repeat(16), "nonce");
    assert.equal(hex(72, 80), `${"00".repeat(7)}03`, "length");
    assert.equal(hex(80, 112), Buffer.from(sha256(body)).toString("hex"));
    assert.equal(hex(116, 119), "0a141e");
  });

  it("gives back what was put in", () => {
    const read = decodeBody(encodeBody(header, body, sha256), expected, sha256);
    assert.deepEqual(read.header, header);
    assert.deepEqual(read.body, body);
  });

  it("notices every flipped bit, every cut and every byte too many", () => {
    const whole = encodeBody(header, body, sha256);
    const refuses = (bytes: Uint8Array) =>
      assert.throws(() => decodeBody(bytes, expected, sha256), MalformedError);
    for (let bit = 0; bit < whole.byteLength * 8; bit++) {
      const damaged = whole.slice();
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
      refuses(damaged);
    }
    for (let length = 0; length < whole.byteLength; length++) refuses(whole.slice(0, length));
    refuses(new Uint8Array([...whole, 0]));
  });

  it("does not pass at another name, as another kind, or in another cluster", () => {
    const bytes = encodeBody(header, body, sha256);
    for (const other of [{ number: 41 }, { kind: BodyKind.cut }, { clusterId: "clusteR" }]) {
      assert.throws(() => decodeBody(bytes, { ...expected, ...other }, sha256), MalformedError);
    }
    decodeBody(bytes, { ...expected, clusterId: null }, sha256);
  });
});
