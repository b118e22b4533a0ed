/** Batches that inflate to far more than they are, on topics where the broker has to look inside. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { NO_TOPIC_ID, partitionIndex } from "../../src/base/ids.ts";
import { ErrorCode } from "../../src/protocol/errors.ts";
import { Produce } from "../../src/protocol/messages/produce.ts";
import { BATCH_HEADER_BYTES, BatchView, Codec } from "../../src/record/batch.ts";
import { buildBatch, wrapRecords } from "../../src/record/builder.ts";
import { compress } from "../../src/record/compression.ts";
import { SimRandom } from "../../src/sim/random.ts";
import { HonestClient, Target } from "./target.ts";
import { bombNames, bombOf } from "./wild-batches.ts";

const MiB = 1024 * 1024;

async function attacked(): Promise<{ target: Target; client: HonestClient }> {
  const target = await Target.start(1);
  const client = await HonestClient.start(target, new SimRandom(1));
  return { target, client };
}

/** One batch per partition index; the codes of the answer in their order. */
async function produce(
  client: HonestClient,
  topic: string,
  batches: readonly Uint8Array[],
): Promise<readonly number[]> {
  const { responses } = await client.ask(Produce, 9, {
    transactionalId: null,
    acks: -1,
    timeoutMs: 1000,
    topicData: batches.map((batch) => ({
      name: topic,
      topicId: NO_TOPIC_ID,
      partitionData: [{ index: partitionIndex(0), records: [Uint8Array.from(batch)] }],
    })),
  });
  return responses.map(({ partitionResponses }) => partitionResponses[0]?.errorCode ?? -1);
}

/** `HOLDFAST_TOUGH=full` meets each bomb; without it a sample, since making them takes its time. */
const every = process.env["HOLDFAST_TOUGH"] === "full" ? 1 : 6;

const refusals: readonly number[] = [ErrorCode.NONE, ErrorCode.INVALID_RECORD, ErrorCode.MESSAGE_TOO_LARGE];

test("a bomb of any codec is stored as it is, or refused, and the next record is served", async () => {
  const { target, client } = await attacked();
  for (const [index, name] of bombNames.entries()) {
    if (index % every !== 0) continue;
    const topic = target.knownTopicNames[index % target.knownTopicNames.length] as string;
    const [code] = await produce(client, topic, [bombOf(name)]);
    assert.ok(refusals.includes(code as number), `${name} on ${topic}: ${code}`);
  }
  await client.check();
  target.assertSound();
  await target.stop();
});

test("a request full of bombs is opened to a bound, and the rest of it is to be sent again", async () => {
  const { target, client } = await attacked();
  const value = Buffer.alloc(900_000);
  const bomb = buildBatch([{ key: "k", value }], { codec: Codec.zstd });
  assert.ok(bomb.byteLength < 500);
  for (const topic of ["plain", "gzipped", "compacted"]) {
    const codes = await produce(
      client,
      topic,
      Array.from({ length: 3_000 }, () => bomb),
    );
    const taken = codes.filter((code) => code === ErrorCode.NONE).length;
    assert.equal(taken, Math.floor((16 * MiB) / 900_000), topic);
    assert.equal(codes.filter((code) => code === ErrorCode.REQUEST_TIMED_OUT).length, 3_000 - taken);
  }
  await client.check();
  await target.stop();
});

test("who sends again what was not opened gets everything stored", async () => {
  const { target, client } = await attacked();
  const batch = buildBatch([{ key: "k", value: Buffer.alloc(6 * MiB) }], { codec: Codec.zstd });
  let left = 7;
  for (let requests = 0; left > 0; requests++) {
    assert.ok(requests < 7);
    const codes = await produce(
      client,
      "gzipped",
      Array.from({ length: left }, () => batch),
    );
    left -= codes.filter((code) => code === ErrorCode.NONE).length;
  }
  await target.stop();
});

test("a batch of more records than can be looked into quickly is too large", async () => {
  const { target, client } = await attacked();
  const count = 600_000;
  const payload = Buffer.alloc(count * 7, Buffer.from([12, 0, 0, 0, 1, 1, 0]));
  const batch = wrapRecords(payload, {
    codec: Codec.zstd,
    recordCount: count,
    lastOffsetDelta: count - 1,
    baseTimestamp: -1,
    maxTimestamp: -1,
  });
  assert.deepEqual(await produce(client, "plain", [batch]), [ErrorCode.MESSAGE_TOO_LARGE]);
  await target.stop();
});

test("a claim of an inflated length is not believed, in any codec", async () => {
  const { target, client } = await attacked();
  const records = buildBatch([{ key: "k", value: Buffer.alloc(2_000, "v") }]).subarray(BATCH_HEADER_BYTES);
  const claims: readonly { readonly codec: Codec; readonly lie: (sound: Uint8Array) => Uint8Array }[] = [
    // Raw snappy begins with the inflated length: four gigabytes.
    { codec: Codec.snappy, lie: () => Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x61]) },
    // The frame's header has room for a content size of eight bytes.
    {
      codec: Codec.lz4,
      lie: () =>
        Uint8Array.from([
          0x04,
          0x22,
          0x4d,
          0x18,
          0x68,
          0x40,
          ...Array<number>(8).fill(0x7f),
          0x00,
          0,
          0,
          0,
          0,
        ]),
    },
    // The last four bytes say how long the content is, modulo 2^32.
    { codec: Codec.gzip, lie: (sound) => Buffer.concat([sound.subarray(0, -4), Buffer.alloc(4, 0x7f)]) },
    // Single segment with a content size of eight bytes.
    {
      codec: Codec.zstd,
      lie: () => Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0xe0, ...Array<number>(8).fill(0x7f), 1, 0, 0]),
    },
  ];
  const before = process.memoryUsage().rss;
  for (const { codec, lie } of claims) {
    const batch = wrapRecords(records, {
      recordCount: 1,
      lastOffsetDelta: 0,
      baseTimestamp: -1,
      maxTimestamp: -1,
    });
    const lied = lie(compress(codec, records));
    const whole = Buffer.concat([batch.subarray(0, BATCH_HEADER_BYTES), lied]);
    whole.writeInt32BE(whole.byteLength - 12, 8);
    whole.writeInt16BE(codec, 21);
    BatchView.at(whole).stampCrc();
    const [code] = await produce(client, "plain", [whole]);
    assert.ok(code === ErrorCode.INVALID_RECORD || code === ErrorCode.MESSAGE_TOO_LARGE, `${codec}: ${code}`);
  }
  assert.ok(process.memoryUsage().rss - before < 64 * MiB);
  await target.stop();
});
