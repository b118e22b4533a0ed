/**
 * What the test asks of every client: to write a data set, ending only when every record is acknowledged, and
 * to read a topic back, answering one digest per partition over all that it was given.
 */
import type { Ended } from "../../tools/processes.ts";
import type { DataSet, Dress, HeaderBytes, PartitionDigest } from "./data-set.ts";

export interface Exchange {
  readonly address: string;
  readonly topic: string;
  readonly set: DataSet;
  readonly timeoutMs: number;
  /** Told now and then how many records the client has written or read. */
  readonly onProgress: (count: number) => void;
}

/** A client as one row of docs/compatibility.md. */
export interface Client {
  readonly client: string;
  readonly version: string;
  readonly language: string;
  /** What the reader of the table must know beside it, as a sentence. */
  readonly remark?: string;
}

export interface Writer extends Client {
  readonly dress: Dress;
  readonly partitionCount: number;
  write(exchange: Exchange): Promise<void>;
}

export interface ReadBack {
  readonly partitions: readonly PartitionDigest[];
  readonly withHeaders: boolean;
}

export interface Reader extends Client {
  read(exchange: Exchange): Promise<ReadBack>;
}

/** Does what a newcomer does first, with the client's default settings and its own admin client. */
export interface Tourist extends Client {
  tour(address: string, topic: string, timeoutMs: number): Promise<void>;
}

/** What goes over a command line is never null in the sets that are made for it. */
export function textOf(bytes: Buffer | null): string {
  if (bytes === null) throw new Error("A key or header that is null cannot be written on a command line");
  return bytes.toString("latin1");
}

export function header(text: string, separator: string): HeaderBytes {
  const at = text.indexOf(separator);
  return { name: Buffer.from(text.slice(0, at)), value: Buffer.from(text.slice(at + 1)) };
}

export function expectRunning(what: string, ended: Ended): never {
  throw new Error(
    `${what} ended (${ended.code ?? ended.signal}) before it had all records: ${ended.stderr.slice(-2000)}`,
  );
}

export function expectSuccess(what: string, ended: Ended): void {
  if (ended.code === 0) return;
  throw new Error(
    `${what} ended with ${ended.code ?? ended.signal}: ${ended.stdout.slice(-2000)}\n${ended.stderr.slice(-4000)}`,
  );
}
