import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { FrameReader } from "./frame-reader.ts";

const frameBytesMax = 100 * 1024 * 1024;

function stream(bodies: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    bodies.flatMap((body) => {
      const length = Buffer.alloc(4);
      length.writeInt32BE(body.byteLength);
      return [length, body];
    }),
  );
}

const hex = (frames: readonly Uint8Array[]): string[] =>
  frames.map((frame) => Buffer.from(frame).toString("hex"));

describe("frames in a stream of bytes", () => {
  it("are the same wherever the stream is cut in two", () => {
    const bodies = [
      new Uint8Array(0),
      Uint8Array.of(1, 2, 3),
      new Uint8Array(3000).fill(7),
      Uint8Array.of(9),
    ];
    const whole = stream(bodies);
    for (let cut = 0; cut <= whole.byteLength; cut++) {
      const reader = new FrameReader(frameBytesMax);
      const frames: Uint8Array[] = [];
      assert.equal(reader.push(whole.subarray(0, cut), frames), null);
      assert.equal(reader.push(whole.subarray(cut), frames), null);
      assert.deepEqual(hex(frames), hex(bodies));
      assert.equal(reader.missingBytes, 0);
    }
  });

  it("are the same however it is split, and what is missing is known at every moment", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 2000, size: "max" }), { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 20 }),
        (bodies, sizes) => {
          const whole = stream(bodies);
          const reader = new FrameReader(frameBytesMax);
          const frames: Uint8Array[] = [];
          for (let at = 0, turn = 0; at < whole.byteLength; turn++) {
            const end = Math.min(whole.byteLength, at + (sizes[turn % sizes.length] as number));
            // A copy, because a received array is the reader's own.
            assert.equal(reader.push(Uint8Array.from(whole.subarray(at, end)), frames), null);
            at = end;
            const missing = reader.missingBytes;
            const behind = new FrameReader(frameBytesMax);
            if (missing > 0) behind.push(whole.subarray(0, at + missing), []);
            assert.equal(behind.missingBytes === 0 || missing < 4, true);
          }
          assert.deepEqual(hex(frames), hex(bodies));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("a length below zero or above the bound is a fault that shows its bytes", () => {
    for (const claimed of [-1, -2_147_483_648, frameBytesMax + 1, 2_147_483_647]) {
      const start = Buffer.alloc(4);
      start.writeInt32BE(claimed);
      const fault = new FrameReader(frameBytesMax).push(start, []);
      assert.deepEqual(fault, { kind: "length", claimed, start: Uint8Array.from(start) });
    }
    const allowed = Buffer.alloc(4);
    allowed.writeInt32BE(frameBytesMax);
    assert.equal(new FrameReader(frameBytesMax).push(allowed, []), null);
  });

  it("ten thousand claims of 100 MiB and of 2 GB take no memory to speak of", () => {
    const before = process.memoryUsage();
    const readers: FrameReader[] = [];
    for (let index = 0; index < 10_000; index++) {
      const reader = new FrameReader(index % 2 === 0 ? frameBytesMax : 2_147_483_647);
      const start = Buffer.alloc(5, 1);
      start.writeInt32BE(index % 2 === 0 ? frameBytesMax : 2_147_483_647);
      assert.equal(reader.push(start, []), null);
      readers.push(reader);
    }
    const after = process.memoryUsage();
    const grown = after.arrayBuffers - before.arrayBuffers + after.heapUsed - before.heapUsed;
    assert.ok(grown < 24 * 1024 * 1024, `${grown} bytes for ${readers.length} claims`);
  });

  it("a large frame never has more than a mebibyte or four times what arrived of it", () => {
    const reader = new FrameReader(frameBytesMax);
    const length = Buffer.alloc(4);
    length.writeInt32BE(64 * 1024 * 1024);
    reader.push(length, []);
    const before = process.memoryUsage().arrayBuffers;
    const chunk = new Uint8Array(64 * 1024);
    for (let arrived = 1; arrived <= 32; arrived++) {
      reader.push(chunk, []);
      // What was outgrown may wait for the collector.
      const grown = process.memoryUsage().arrayBuffers - before;
      assert.ok(
        grown <= Math.max(6 * arrived * chunk.byteLength, 1024 * 1024) + 65_536,
        `${grown} bytes after ${arrived} chunks`,
      );
    }
  });
});

describe("a peer that is trusted with some bytes", () => {
  const mebibyte = 1024 * 1024;
  const claim = (bytes: number): Buffer => {
    const start = Buffer.alloc(5, 1);
    start.writeInt32BE(bytes);
    return start;
  };

  it("gets memory for a whole frame at once, which is not copied again", () => {
    const reader = new FrameReader(frameBytesMax, 4 * mebibyte);
    const before = process.memoryUsage().arrayBuffers;
    reader.push(claim(3 * mebibyte), []);
    assert.ok(process.memoryUsage().arrayBuffers - before >= 3 * mebibyte);
    const frames: Uint8Array[] = [];
    const rest = new Uint8Array(3 * mebibyte - 1).fill(1);
    const begun = process.memoryUsage().arrayBuffers;
    for (let at = 0; at < rest.byteLength; at += 65_536) reader.push(rest.subarray(at, at + 65_536), frames);
    assert.ok(process.memoryUsage().arrayBuffers - begun < mebibyte);
    assert.deepEqual(
      frames.map((frame) => [frame.byteLength, frame.every((byte) => byte === 1)]),
      [[3 * mebibyte, true]],
    );
  });

  it("gets no more for a claim beyond that", () => {
    const before = process.memoryUsage().arrayBuffers;
    const reader = new FrameReader(frameBytesMax, 2 * mebibyte);
    reader.push(claim(frameBytesMax), []);
    assert.ok(process.memoryUsage().arrayBuffers - before < 3 * mebibyte);
  });
});

describe("what a frame reader is given", () => {
  it("may be overwritten after the call", () => {
    const frame = (text: string): Buffer => {
      const bytes = Buffer.alloc(4 + text.length);
      bytes.writeInt32BE(text.length);
      bytes.write(text, 4);
      return bytes;
    };
    const stream = Buffer.concat(["one", "", "three", "a longer one", "5"].map(frame));
    for (let size = 1; size <= stream.byteLength; size++) {
      const reader = new FrameReader(1000);
      const frames: Uint8Array[] = [];
      const buffer = Buffer.alloc(size);
      for (let at = 0; at < stream.byteLength; at += size) {
        const part = buffer.subarray(0, stream.copy(buffer, 0, at, at + size));
        assert.equal(reader.push(part, frames), null);
        buffer.fill(0xdd);
      }
      assert.deepEqual(
        frames.map((each) => Buffer.from(each).toString()),
        ["one", "", "three", "a longer one", "5"],
      );
    }
  });
});

describe("the room that a frame reader offers", () => {
  it("takes what belongs there, wherever reads end", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(600_000), { minLength: 1, maxLength: 4 }),
        fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 8 }),
        (lengths, reads) => {
          const bodies = lengths.map((length, i) => Buffer.alloc(length, `${i}body`));
          const stream = Buffer.concat(
            bodies.flatMap((body) => {
              const prefix = Buffer.alloc(4);
              prefix.writeInt32BE(body.byteLength);
              return [prefix, body];
            }),
          );
          const reader = new FrameReader(1 << 20);
          const frames: Uint8Array[] = [];
          const shared = Buffer.alloc(256 * 1024);
          for (let at = 0, read = 0; at < stream.byteLength; read++) {
            const into = reader.room ?? shared;
            const count = Math.min(
              reads[read % reads.length] as number,
              into.byteLength,
              stream.byteLength - at,
            );
            into.set(stream.subarray(at, at + count));
            assert.equal(reader.push(into.subarray(0, count), frames), null);
            if (into === shared) shared.fill(0xdd);
            at += count;
          }
          assert.equal(frames.length, bodies.length);
          for (const [i, frame] of frames.entries()) assert.ok((bodies[i] as Buffer).equals(frame));
        },
      ),
      { numRuns: 40 },
    );
  });

  it("is the rest of a long body and nothing else", () => {
    const reader = new FrameReader(1 << 20);
    const prefix = Buffer.alloc(4);
    prefix.writeInt32BE(300_000);
    const roomBytes = (): number | undefined => reader.room?.byteLength;
    assert.equal(roomBytes(), undefined);
    reader.push(Buffer.concat([prefix, Buffer.alloc(100_000)]), []);
    assert.equal(roomBytes(), 200_000);
    reader.push(Buffer.alloc(190_000), []);
    assert.equal(roomBytes(), undefined);
  });
});
