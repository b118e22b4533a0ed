/**
 * Record batches that no honest producer sends: sound ones, ones whose header lies under a right checksum,
 * and ones that inflate to far more than they are. What is dear to make is made once per process; a draw
 * copies and changes it.
 */
import { crc32c } from "../../src/base/crc32c.ts";
import { producerEpoch, producerId } from "../../src/base/ids.ts";
import {
  BATCH_CRC_END,
  BATCH_CRC_START,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_END,
  BatchView,
  Codec,
} from "../../src/record/batch.ts";
import { buildBatch, wrapRecords } from "../../src/record/builder.ts";
import type { SimRandom } from "../../src/sim/random.ts";

const MiB = 1024 * 1024;
const codecs = [Codec.none, Codec.gzip, Codec.snappy, Codec.lz4, Codec.zstd] as const;
/** 2026-01-01, where the simulated clock begins. */
const beginMs = 1_767_225_600_000;

let soundOnes: readonly Uint8Array[] | null = null;

function sound(): readonly Uint8Array[] {
  if (soundOnes !== null) return soundOnes;
  const made: Uint8Array[] = [];
  for (const codec of codecs) {
    for (const count of [1, 2, 7, 50]) {
      for (const timestamp of [-1, 0, beginMs]) {
        const records = Array.from({ length: count }, (_, at) => ({
          timestamp,
          key: at % 3 === 0 ? null : `key-${at}`,
          value: at % 5 === 4 ? null : `value ${at} `.repeat(1 + (at % 4)),
          headers: at % 4 === 0 ? [{ key: "trace", value: Buffer.from("0123456789abcdef") }] : [],
        }));
        made.push(buildBatch(records, { codec }));
      }
    }
  }
  soundOnes = made;
  return made;
}

/** Records of `valueBytes` zeros each, or as small as a record can be. */
function payload(inflatedBytes: number, kind: "one" | "tiny" | "zeros"): { bytes: Buffer; count: number } {
  if (kind === "zeros") return { bytes: Buffer.alloc(inflatedBytes), count: 1 };
  if (kind === "tiny") {
    // Length 6 (zigzag 12), attributes, time, offset, key −1, value −1, no headers: all deltas are 0.
    const one = Buffer.from([12, 0, 0, 0, 1, 1, 0]);
    const count = Math.floor(inflatedBytes / one.byteLength);
    return { bytes: Buffer.alloc(count * one.byteLength, one), count };
  }
  const value = Buffer.alloc(inflatedBytes - 32);
  const whole = buildBatch([{ key: "k", value }]);
  return { bytes: Buffer.from(whole.subarray(BATCH_HEADER_BYTES)), count: 1 };
}

/** What each inflates to; the last is beyond any bound of ours. */
const bombBytes = [MiB, 4 * MiB, 15 * MiB, 33 * MiB] as const;

/** Those that are at most a megabyte as they are sent. Each is made when it is first asked for. */
export const bombNames: readonly string[] = codecs.flatMap((codec) =>
  (["one", "tiny", "zeros"] as const).flatMap((kind) =>
    bombBytes.flatMap((bytes) => {
      const isTooLong = codec === Codec.none || (codec === Codec.snappy && bytes > 15 * MiB);
      return isTooLong ? [] : [`${codec} ${kind} ${bytes}`];
    }),
  ),
);
const bombs = new Map<string, Uint8Array>();

export function bombOf(name: string): Uint8Array {
  const [codec, kind, inflatedBytes] = name.split(" ");
  let bomb = bombs.get(name);
  if (bomb === undefined) {
    const { bytes, count } = payload(Number(inflatedBytes), kind as "one" | "tiny" | "zeros");
    bomb = wrapRecords(bytes, {
      codec: Number(codec) as Codec,
      recordCount: count,
      lastOffsetDelta: count - 1,
      baseTimestamp: -1,
      maxTimestamp: -1,
    });
    bombs.set(name, bomb);
  }
  return bomb;
}

export interface BatchDraw {
  readonly bytes: Uint8Array;
  readonly isBomb: boolean;
}

/** A batch by chance; `hostile`: something in it is wrong. */
export function drawBatch(random: SimRandom, hostile: boolean): BatchDraw {
  if (random.below(2_000) === 0)
    return { bytes: Uint8Array.from(bombOf(random.pick(bombNames))), isBomb: true };
  const bytes = Uint8Array.from(random.pick(sound()));
  if (random.below(3) === 0) stampProducer(bytes, random);
  if (!hostile) return { bytes, isBomb: false };
  return { bytes: spoil(bytes, random), isBomb: false };
}

function stampProducer(bytes: Uint8Array, random: SimRandom): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setBigInt64(43, BigInt(producerId(random.below(6))));
  view.setInt16(51, producerEpoch(random.below(3)));
  view.setInt32(53, random.pick([0, 0, 1, 2, 7, 0x7fff_ffff]));
  BatchView.at(bytes).stampCrc();
}

const int32Edges = [-0x8000_0000, -1, 0, 1, 2, 0x7fff_ffff, 0x0100_0000, 61, 49];

/** Changes what a header or its records say, and mostly makes the checksum right again, so that it gets deeper. */
function spoil(bytes: Uint8Array, random: SimRandom): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let spoilt = bytes;
  switch (random.below(9)) {
    case 0: // A flipped bit anywhere behind the checksum.
      flip(bytes, BATCH_HEADER_BYTES - 40 + random.below(bytes.byteLength - BATCH_HEADER_BYTES + 40), random);
      break;
    case 1:
      view.setInt32(57, random.pick(int32Edges));
      break;
    case 2:
      view.setInt32(23, random.pick(int32Edges));
      break;
    case 3: // Both agree, and lie.
      view.setInt32(57, random.pick(int32Edges));
      view.setInt32(23, view.getInt32(57) - 1);
      break;
    case 4:
      view.setInt16(21, random.below(0x10000) - 0x8000);
      break;
    case 5: // Times, producer and sequence.
      view.setBigInt64(
        random.pick([27, 35, 43]),
        random.pick([-(2n ** 63n), -1n, 2n ** 63n - 1n, 2n ** 53n, 0n]),
      );
      view.setInt32(53, random.pick(int32Edges));
      break;
    case 6: // Cut, with a length that agrees.
      spoilt = bytes.subarray(0, random.between(13, bytes.byteLength));
      new DataView(spoilt.buffer, spoilt.byteOffset, spoilt.byteLength).setInt32(
        8,
        spoilt.byteLength - BATCH_LENGTH_END,
      );
      break;
    case 7: // Another codec than the records have.
      bytes[22] = ((bytes[22] as number) & 0xf8) | random.below(8);
      break;
    default:
      for (let left = random.between(1, 8); left > 0; left--)
        flip(bytes, random.below(bytes.byteLength), random);
  }
  if (spoilt.byteLength >= BATCH_HEADER_BYTES && random.below(8) !== 0) {
    const sum = crc32c(spoilt.subarray(BATCH_CRC_END));
    new DataView(spoilt.buffer, spoilt.byteOffset, spoilt.byteLength).setUint32(BATCH_CRC_START, sum);
  }
  return spoilt;
}

function flip(bytes: Uint8Array, at: number, random: SimRandom): void {
  bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
}
