/**
 * The records that every client writes and reads in the interoperability test: generated from a seed, kept
 * as one binary file that clients in any language can stream, with the digest of each partition beside it.
 *
 * File: one record after another, numbers big-endian.
 *   int32 partition · uint8 codec (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd) · body
 * Body, which is also what the digests cover, so that two clients agree only if every byte agrees:
 *   int32 key length (-1: null) · key · int32 value length (-1: null) · value · int32 header count ·
 *   per header: int32 name length · name · int32 value length (-1: null) · value
 *
 * The set has five stripes; within a stripe each partition has one codec, in the next one another, so every
 * partition mixes all codecs and a writer needs one producer per codec and a flush between stripes.
 */
import { createHash, type Hash } from "node:crypto";
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { once } from "node:events";
import { cacheDirectory } from "../../tools/toolbox.ts";

export const codecs = ["none", "gzip", "snappy", "lz4", "zstd"] as const;
export type Codec = (typeof codecs)[number];

/** What a client's options can express. */
export type Dress =
  /** Any bytes, null and empty keys and values, binary, null and repeated headers. */
  | "rich"
  /** As rich, but each name of a header once, no header with null, and no record without key and value. */
  | "map"
  /** Printable keys and values, null values, printable headers of each record. */
  | "console"
  /** Printable keys (some null) and values, null values, the same two headers on every record. */
  | "kcat";

export interface DataSetOptions {
  readonly dress: Dress;
  readonly partitionCount: number;
  /** Records of 0 to 2,048 bytes. */
  readonly smallCount: number;
  /** Records of 100,000 to 900,000 bytes, evenly spread among the small ones. */
  readonly largeCount: number;
}

export interface HeaderBytes {
  readonly name: Buffer;
  readonly value: Buffer | null;
}

export interface DataRecord {
  readonly partition: number;
  readonly codec: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly HeaderBytes[];
}

export interface PartitionDigest {
  readonly count: number;
  /** SHA-256 over the bodies, hexadecimal. */
  readonly sha256: string;
}

export interface DataSet extends DataSetOptions {
  readonly path: string;
  readonly recordCount: number;
  readonly valueBytes: number;
  readonly partitions: readonly PartitionDigest[];
  /** As `partitions`, with the headers left out: for readers that cannot show binary headers. */
  readonly partitionsWithoutHeaders: readonly PartitionDigest[];
}

export const stripeCount = 5;
const formatVersion = 1;

export const kcatHeaders: readonly HeaderBytes[] = [
  { name: Buffer.from("source"), value: Buffer.from("kcat") },
  { name: Buffer.from("unit"), value: Buffer.from("record") },
];

/** Answers the data set with these options; generates it when it is not in the cache. */
export async function dataSet(options: DataSetOptions): Promise<DataSet> {
  const directory = join(cacheDirectory, "interop");
  mkdirSync(directory, { recursive: true });
  const { dress, partitionCount, smallCount, largeCount } = options;
  const path = join(
    directory,
    `${dress}-${partitionCount}-${smallCount}-${largeCount}.v${formatVersion}.records`,
  );
  const facts = `${path}.json`;
  if (existsSync(facts)) return JSON.parse(readFileSync(facts, "utf8")) as DataSet;
  const set = await generate(options, path);
  writeFileSync(`${facts}.tmp`, JSON.stringify(set, undefined, 1));
  renameSync(`${facts}.tmp`, facts);
  return set;
}

/** A digest per partition, fed record by record in the order of the partition. */
export class Digests {
  readonly #hashes: Hash[];
  readonly #counts: number[];
  readonly #withHeaders: boolean;

  constructor(partitionCount: number, options: { withHeaders: boolean }) {
    this.#hashes = Array.from({ length: partitionCount }, () => createHash("sha256"));
    this.#counts = Array.from({ length: partitionCount }, () => 0);
    this.#withHeaders = options.withHeaders;
  }

  add(partition: number, record: Pick<DataRecord, "key" | "value" | "headers">): void {
    const hash = this.#hashes[partition];
    if (hash === undefined) throw new Error(`There is no partition ${partition}`);
    for (const part of bodyOf(record, this.#withHeaders)) hash.update(part);
    this.#counts[partition] = (this.#counts[partition] ?? 0) + 1;
  }

  end(): PartitionDigest[] {
    return this.#hashes.map((hash, partition) => ({
      count: this.#counts[partition] ?? 0,
      sha256: hash.digest("hex"),
    }));
  }
}

/** Streams the records of a data set; whoever keeps one keeps the chunk of 4 MiB that it was read with. */
export async function* recordsOf(set: Pick<DataSet, "path">): AsyncGenerator<DataRecord> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(set.path, { highWaterMark: 4 << 20 }) as AsyncIterable<Buffer>) {
    const bytes: Buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    for (let read = readRecord(bytes, at); read !== undefined; read = readRecord(bytes, at)) {
      at = read.end;
      yield read.record;
    }
    rest = bytes.subarray(at);
  }
  if (rest.length > 0) throw new Error(`${set.path} ends within a record`);
}

function readRecord(bytes: Buffer, from: number): { record: DataRecord; end: number } | undefined {
  let at = from;
  const has = (count: number): boolean => at + count <= bytes.length;
  const int32 = (): number | undefined => {
    if (!has(4)) return undefined;
    at += 4;
    return bytes.readInt32BE(at - 4);
  };
  const blob = (): Buffer | null | undefined => {
    const length = int32();
    if (length === undefined || length === -1) return length === undefined ? undefined : null;
    if (!has(length)) return undefined;
    at += length;
    return bytes.subarray(at - length, at);
  };
  const partition = int32();
  if (partition === undefined || !has(1)) return undefined;
  const codec = bytes.readUInt8(at);
  at += 1;
  const key = blob();
  if (key === undefined) return undefined;
  const value = blob();
  if (value === undefined) return undefined;
  const headerCount = int32();
  if (headerCount === undefined) return undefined;
  const headers: HeaderBytes[] = [];
  for (let index = 0; index < headerCount; index += 1) {
    const name = blob();
    if (name === undefined || name === null) return undefined;
    const headerValue = blob();
    if (headerValue === undefined) return undefined;
    headers.push({ name, value: headerValue });
  }
  return { record: { partition, codec, key, value, headers }, end: at };
}

function* bodyOf(
  record: Pick<DataRecord, "key" | "value" | "headers">,
  withHeaders: boolean,
): Generator<Buffer> {
  yield* blobOf(record.key);
  yield* blobOf(record.value);
  if (!withHeaders) return;
  yield int32Of(record.headers.length);
  for (const { name, value } of record.headers) {
    yield* blobOf(name);
    yield* blobOf(value);
  }
}

function* blobOf(bytes: Buffer | null): Generator<Buffer> {
  yield int32Of(bytes === null ? -1 : bytes.length);
  if (bytes !== null) yield bytes;
}

function int32Of(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value);
  return bytes;
}

async function generate(options: DataSetOptions, path: string): Promise<DataSet> {
  const { dress, partitionCount, smallCount, largeCount } = options;
  const random = xorshift(0x5eed_0001 + partitionCount);
  const pool = isBinary(dress) ? binaryPool(random) : printablePool(random);
  const recordCount = smallCount + largeCount;
  const largeEvery = largeCount === 0 ? Infinity : Math.floor(recordCount / largeCount);
  const whole = new Digests(partitionCount, { withHeaders: true });
  const bare = new Digests(partitionCount, { withHeaders: false });
  const out = createWriteStream(`${path}.tmp`, { highWaterMark: 8 << 20 });
  let valueBytes = 0;
  for (let index = 0; index < recordCount; index += 1) {
    const partition = random() % partitionCount;
    const stripe = Math.floor((index * stripeCount) / recordCount);
    const codec = (partition + stripe) % codecs.length;
    const isLarge = index % largeEvery === largeEvery - 1 && index / largeEvery < largeCount;
    const length = isLarge ? 100_000 + (random() % 800_000) : random() % 2049;
    const key = keyOf(dress, index, random);
    // kcat reads a message without key and value as no message at all, and kafka-python does not write one.
    const mayBeNull = !isLarge && (dress === "rich" || key !== null);
    const record = {
      key,
      value: random() % 50 === 0 && mayBeNull ? null : valueOf(dress, pool, index, length, random),
      headers: headersOf(dress, index, random),
    };
    valueBytes += record.value?.length ?? 0;
    whole.add(partition, record);
    bare.add(partition, record);
    const bytes = Buffer.concat([int32Of(partition), Buffer.from([codec]), ...bodyOf(record, true)]);
    if (!out.write(bytes)) await once(out, "drain");
  }
  out.end();
  await once(out, "close");
  renameSync(`${path}.tmp`, path);
  return {
    ...options,
    path,
    recordCount,
    valueBytes,
    partitions: whole.end(),
    partitionsWithoutHeaders: bare.end(),
  };
}

const isBinary = (dress: Dress): boolean => dress === "rich" || dress === "map";

function keyOf(dress: Dress, index: number, random: () => number): Buffer | null {
  const shape = random() % 10;
  if (dress === "console") return Buffer.from(`key-${random() % 1000}`);
  if (shape === 0) return null;
  if (dress === "kcat") return Buffer.from(`key-${random() % 1000}`);
  if (shape === 1) return Buffer.alloc(0);
  const key = Buffer.from(`key-${index}-`);
  key[key.length - 1] = random() % 256;
  return key;
}

function valueOf(dress: Dress, pool: Buffer, index: number, length: number, random: () => number): Buffer {
  const from = random() % (pool.length - length);
  const value = Buffer.from(pool.subarray(from, from + length));
  // Two records never have the same bytes, or a swap of two would go unseen.
  const label = `${index};`;
  if (length >= label.length) value.write(label, "latin1");
  // Line readers and kcat -Z cannot tell an empty value from null or from the end.
  return length === 0 && !isBinary(dress) ? Buffer.from(label) : value;
}

function headersOf(dress: Dress, index: number, random: () => number): HeaderBytes[] {
  if (dress === "kcat") return [...kcatHeaders];
  const count = dress === "console" ? 1 + (random() % 3) : random() % 4;
  return Array.from({ length: count }, (_, place) => {
    if (dress === "console")
      return { name: Buffer.from(`h${place}`), value: Buffer.from(`v${index}-${random() % 100}`) };
    if (dress === "map") {
      const length = random() % 3;
      return {
        name: Buffer.from(`h${place}`),
        value: Buffer.from([0, random() % 256, 0xff]).subarray(0, length),
      };
    }
    // The same name may come twice: headers are a list, not a map.
    const name = Buffer.from(`h${random() % 3}`);
    const shape = random() % 4;
    if (shape === 0) return { name, value: null };
    return { name, value: shape === 1 ? Buffer.alloc(0) : Buffer.from([0, random() % 256, 0xff, place]) };
  });
}

const poolBytes = 4 << 20;

/** Half noise, half words, in alternating pieces, so that every codec has something to do and to refuse. */
function binaryPool(random: () => number): Buffer {
  const pool = printablePool(random);
  for (let at = 0; at + 512 <= pool.length; at += 1024) {
    for (let index = 0; index < 512; index += 4) pool.writeInt32LE(random() | 0, at + index);
  }
  return pool;
}

function printablePool(random: () => number): Buffer {
  const words = [
    "order",
    "paid",
    "shipped",
    "returned",
    "amount",
    "customer",
    "ledger",
    "account",
    "hold",
    "fast",
  ];
  const pool = Buffer.alloc(poolBytes, 0x20);
  for (let at = 0; at < pool.length - 24; ) {
    at += pool.write(`${words[random() % words.length]}=${random() % 1_000_000} `, at, "latin1");
  }
  return pool;
}

/** A small generator of uint32; the same seed gives the same set on every machine. */
function xorshift(seed: number): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
