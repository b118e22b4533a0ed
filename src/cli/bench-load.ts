/** What the benches have in common: the topic, the records, and their options under our names and Kafka's. */
import { randomFillSync } from "node:crypto";
import type { Client } from "../client/client.ts";
import type { ConnectionOptions } from "./connect.ts";
import type { FigureOptions } from "./measurement.ts";
import { UsageError } from "./usage-error.ts";

export interface BenchOptions extends ConnectionOptions, FigureOptions {
  readonly topic: string;
  readonly records?: number;
  readonly messages?: number;
  readonly numRecords?: number;
}

export interface SendingOptions extends BenchOptions {
  readonly size: number;
  readonly recordSize?: number;
  readonly partitions?: number;
  readonly rate?: number;
  readonly throughput?: number;
  readonly compression?: "none" | "gzip" | "snappy" | "lz4" | "zstd";
}

export function recordsOf({ records, messages, numRecords }: BenchOptions, otherwise: number): number {
  return records ?? messages ?? numRecords ?? otherwise;
}

/** Records a second; `Infinity`: as many as there can be. */
export function rateOf({ rate, throughput }: SendingOptions, otherwise = Number.POSITIVE_INFINITY): number {
  const given = rate ?? throughput ?? otherwise;
  return given < 0 ? Number.POSITIVE_INFINITY : given;
}

export const sizeOf = ({ size, recordSize }: SendingOptions): number => recordSize ?? size;

/** Throws `UsageError`. */
export function checkFigureOptions({ csv, json }: FigureOptions): void {
  if (csv === true && json === true) throw new UsageError("--csv and --json exclude each other.");
}

/** Nobody must have made it before. */
export async function ensureTopic(
  client: Client,
  topic: string,
  partitions: number | undefined,
): Promise<void> {
  const admin = client.admin();
  const known = await admin.listTopics();
  if (known.some(({ name }) => name === topic)) return;
  await admin.createTopics([{ topic, ...(partitions === undefined ? {} : { partitions }) }]);
}

/** Bytes of chance that values are cut from. */
const poolBytes = 1 << 20;

/** Values of so many bytes, half of them chance, so that a codec finds something to do as in real data. */
export class Values {
  readonly #pool: Buffer;
  readonly #size: number;
  #at = 0;

  constructor(size: number) {
    this.#size = size;
    this.#pool = Buffer.alloc(poolBytes + size);
    randomFillSync(this.#pool);
    const alphabet = "abcdefghijklmnop";
    for (let at = 0; at < this.#pool.length; at++) {
      this.#pool[at] = alphabet.charCodeAt((this.#pool[at] as number) & 15);
    }
  }

  /** A view that stays as it is. */
  next(): Buffer {
    this.#at = (this.#at + 61) % poolBytes;
    return this.#pool.subarray(this.#at, this.#at + this.#size);
  }
}
