import assert from "node:assert/strict";
import { test } from "node:test";
import { brokerEpoch } from "../base/ids.ts";
import { crc32c } from "../base/crc32c.ts";
import { anEntry } from "./wal.contract.ts";
import {
  BLOCK_BYTES,
  decodeFileHeader,
  decodeFrameHeader,
  decodeRow,
  encodeFileHeader,
  encodeFrameHeader,
  encodeRow,
  entryOfRow,
  FileOrigin,
  FRAME_HEADER_BYTES,
  ROW_BYTES,
  saltSeed,
  WAL_FORMAT,
} from "./wal-format.ts";

const salt = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
const seed = saltSeed(salt);

function aRow(payloadStart: number) {
  const entry = anEntry({ base: 7, bytes: 10 });
  const frame = new Uint8Array(payloadStart + 10);
  frame.set(entry.payload, payloadStart);
  const row = Buffer.alloc(ROW_BYTES);
  const checksum = crc32c(entry.payload);
  encodeRow(row, new DataView(row.buffer, row.byteOffset), 0, entry, { start: payloadStart, checksum, seed });
  return { entry, row, frame };
}

test("a row written by hand is what its schema reads, in 71 bytes", () => {
  const { entry, row } = aRow(300);
  const { payload, ...names } = entry;
  const { payloadStart, payloadLength, checksum, ...read } = decodeRow(row, 0);
  assert.deepEqual(read, names);
  assert.deepEqual({ payloadStart, payloadLength }, { payloadStart: 300, payloadLength: payload.byteLength });
  assert.ok(checksum > 0);
  assert.equal(
    row.toString("hex").slice(0, 34 + 8 + 16),
    // kind, topic id 00…0f, partition 0, base offset 7
    `00${"000102030405060708090a0b0c0d0e0f"}${"00000000"}${"0000000000000007"}`,
  );
});

test("an entry proves itself: no flipped bit of its row or payload, and no other salt, passes", () => {
  const { entry, row, frame } = aRow(300);
  assert.deepEqual(entryOfRow(row, 0, frame, seed), entry);
  assert.equal(entryOfRow(row, 0, frame, seed ^ 1), null);
  for (let bit = 0; bit < row.byteLength * 8; bit++) {
    const flipped = Buffer.from(row);
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    assert.equal(entryOfRow(flipped, 0, frame, seed), null, `bit ${bit} of the row`);
  }
  for (let bit = 300 * 8; bit < frame.byteLength * 8; bit++) {
    const flipped = frame.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    assert.equal(entryOfRow(row, 0, flipped, seed), null, `bit ${bit} of the payload`);
  }
});

const epoch = brokerEpoch(258);

test("a frame header takes 88 bytes, begins with its magic, and names epoch, file and salt in clear", () => {
  const block = new Uint8Array(BLOCK_BYTES);
  const facts = {
    length: BLOCK_BYTES,
    fileNumber: 3,
    epoch,
    saltHigh: 0x01020304,
    saltLow: 0x05060708,
    sequence: 9,
    position: 2 ** 33,
    synced: 2 ** 33,
    previousChecksum: 11,
    previousLength: 8192,
    entryCount: 2,
    indexChecksum: 12,
    copyCount: 1,
    copyChecksum: 13,
  };
  const headerChecksum = encodeFrameHeader(block, facts, seed);
  assert.equal(
    Buffer.from(block.subarray(0, 4)).toString("hex") + Buffer.from(block.subarray(8, 48)).toString("hex"),
    // magic HFFR; length, file, epoch, salt, sequence, position
    "48464652" +
      "00001000" +
      "00000003" +
      "0000000000000102" +
      "0102030405060708" +
      "0000000000000009" +
      "0000000200000000",
  );
  assert.ok(block.subarray(FRAME_HEADER_BYTES).every((byte) => byte === 0));
  const { magic: _, reserved: __, ...read } = decodeFrameHeader(block, { epoch, fileNumber: 3, salt }) ?? {};
  assert.deepEqual(read, { ...facts, headerChecksum });
  assert.equal(decodeFrameHeader(block, { epoch, fileNumber: 4, salt }), null);
  assert.equal(decodeFrameHeader(block, { epoch: brokerEpoch(1), fileNumber: 3, salt }), null);
  assert.equal(decodeFrameHeader(block, { epoch, fileNumber: 3, salt: salt.toReversed() }), null);
});

test("a file header is there twice, and each copy is refused with any bit of it flipped", () => {
  const header = {
    format: WAL_FORMAT,
    origin: FileOrigin.recycled,
    epoch,
    fileNumber: 3,
    salt,
    base: 2 ** 33,
    clusterId: "Some-cluster",
  };
  const blocks = encodeFileHeader(header);
  assert.equal(blocks.byteLength, 2 * BLOCK_BYTES);
  const [first, second] = [blocks.slice(0, BLOCK_BYTES), blocks.slice(BLOCK_BYTES)];
  assert.deepEqual(decodeFileHeader(first), header);
  assert.deepEqual(second, first);
  const length = first.findLastIndex((byte) => byte !== 0) + 1;
  for (let bit = 0; bit < length * 8; bit++) {
    const flipped = first.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    assert.equal(decodeFileHeader(flipped), null, `bit ${bit}`);
  }
});

test("zeros are neither header nor frame", () => {
  const zeros = new Uint8Array(BLOCK_BYTES);
  assert.equal(decodeFileHeader(zeros), null);
  assert.equal(decodeFrameHeader(zeros, { epoch, fileNumber: 0, salt: new Uint8Array(8) }), null);
});
