/**
 * The object store in a bucket of S3 or of what speaks its protocol. A put is one conditional PUT (`If-None-Match: *`)
 * and never a multipart upload. The store's own word is what counts: created, or the name is taken; everything else,
 * also a conflict, an overload or silence, is an unknown outcome, which the caller asks about again with the same bytes
 * (store/create.ts). A put in the slow tail is sent once more, bytes identical, so that whichever arrives first decides
 * and the other one meets its own object. It never retries a put by itself, and never follows a redirection.
 */
import { assert } from "../../base/assert.ts";
import { crc32c } from "../../base/crc32c.ts";
import { MalformedError, RefusedError } from "../../base/errors.ts";
import { type ObjectStore, sleep } from "../../base/ports.ts";
import { backoffMs } from "../../store/create.ts";
import { OutcomeUnknownError } from "../../store/errors.ts";
import {
  type Answered,
  BucketClient,
  type BucketClientOptions,
  type BucketRequest,
} from "./bucket-client.ts";
import { BucketError, type BucketTrouble } from "./bucket-error.ts";
import { type ExpiryRule, readExpiryRules, readListPage } from "./listing.ts";
import { describeLocation } from "./location.ts";
import { HedgedPut, type PutOutcome } from "./hedged-put.ts";
import { HedgeClock, hedgedBytesMax } from "./hedge.ts";
import { UndecidedPuts } from "./undecided-puts.ts";

export interface S3StoreOptions extends BucketClientOptions {
  /** Objects on a page of a listing; the store has at most 1,000. */
  readonly pageObjects?: number;
  /** A put is never sent a second time before. */
  readonly hedgeMsMin?: number;
}

/** What one PUT may carry on S3. */
const objectBytesMax = 5 * 1024 ** 3;
const documentBytesMax = 8 * 1024 * 1024;
/** Reads change nothing: a few tries are ours, the rest is our caller's. */
const readTriesMax = 3;
const pagesMax = 100_000;
const keyPattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
const keyLengthMax = 200;
/** Refusals of a question that a store need not answer. */
const untold: ReadonlySet<BucketTrouble> = new Set(["denied", "unsupported", "refused"]);

export class S3Store implements ObjectStore {
  readonly #client: BucketClient;
  readonly #hedges: HedgeClock;
  readonly #undecided = new UndecidedPuts();
  readonly #pageObjects: number;

  constructor(options: S3StoreOptions) {
    this.#client = new BucketClient(options);
    this.#hedges = new HedgeClock(options.hedgeMsMin ?? 20);
    this.#pageObjects = options.pageObjects ?? 1_000;
  }

  /** Where the bucket is, for people. */
  get place(): string {
    return describeLocation(this.#client.location);
  }

  /** "The bucket … has been unreachable for 42 s, 12.0 MB wait"; null: it answers. */
  get trouble(): string | null {
    return this.troubleWith(0);
  }

  /** The same, of a caller that keeps back so many bytes, those among them that are on their way. */
  troubleWith(keptBytes: number): string | null {
    const { reachability } = this.#client;
    const ms = reachability.unreachableMs;
    if (ms === 0) return null;
    const waitingBytes = Math.max(keptBytes, this.#client.waitingBytes);
    return `bucket unreachable for ${Math.round(ms / 1000)} s (${reachability.why}), ${(waitingBytes / 1e6).toFixed(1)} MB waiting`;
  }

  /** How far the store's clock was ahead of ours in its last answer, in whole seconds. */
  get clockSkewMs(): number {
    return this.#client.skewMs;
  }

  async get(
    key: string,
    range?: { readonly start: number; readonly length: number },
    into?: Uint8Array,
  ): Promise<Uint8Array | null> {
    checkKey(key);
    if (range === undefined) {
      const whole = await this.#read({ kind: "get", key, answerBytesMax: objectBytesMax });
      return whole.kind === "absent" ? null : whole.answer.body;
    }
    const { start, length } = range;
    if (length === 0) return (await this.get(key, { start, length: 1 })) === null ? null : new Uint8Array(0);
    return this.#retried("get", async () => {
      const headers = { range: `bytes=${start}-${start + length - 1}` };
      // A store that ignores the range sends everything: refused by its length, unless the part was everything.
      const part = await this.#client.ask({ kind: "get", key, headers, answerBytesMax: length, into });
      if (part.kind === "absent") return null;
      if (part.kind === "beyond") return new Uint8Array(0);
      return partOf(part.answer, start, length);
    });
  }

  async putIfAbsent(
    key: string,
    chunks: readonly Uint8Array[],
    length: number,
  ): Promise<"created" | "exists"> {
    checkKey(key);
    assert(
      length === chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0),
      "the chunks of an object have the length that was told",
    );
    if (length > objectBytesMax) {
      throw new RefusedError(
        `${key} would have ${length} bytes, and a bucket takes at most ${objectBytesMax} in one put.`,
      );
    }
    const client = this.#client;
    if (this.#undecided.begin(key, length)) client.metrics.retried("put");
    client.waitingBytes = this.#undecided.bytes;
    const begunMs = client.clock.monotonicMs();
    const hedgeMs = length <= hedgedBytesMax ? this.#hedges.delayMs(length) : null;
    const outcome = await new HedgedPut({
      clock: client.clock,
      hedgeMs,
      put: (signal) => this.#putOnce(key, chunks, length, signal),
      mayHedge: () => {
        if (!client.hasRoom(length) || !this.#hedges.take()) return false;
        client.metrics.hedged();
        return true;
      },
      onHedgeWon: () => {
        client.metrics.hedgeWon();
        this.#hedges.won();
      },
    }).outcome();
    this.#undecided.end(key, outcome.kind !== "failed");
    client.waitingBytes = this.#undecided.bytes;
    if (outcome.kind === "failed") throw outcome.error;
    this.#hedges.observe(length, client.clock.monotonicMs() - begunMs);
    return outcome.kind;
  }

  async list(prefix: string): Promise<readonly { readonly key: string; readonly bytes: number }[]> {
    const { prefix: root } = this.#client.location;
    const found: { key: string; bytes: number }[] = [];
    let token: string | undefined;
    for (let page = 0; page < pagesMax; page++) {
      const { objects, next } = await this.#page(root + prefix, token);
      for (const { key, bytes } of objects) {
        const own = key.slice(root.length);
        // What others have put beside ours is neither touched nor an error.
        if (key.startsWith(root + prefix) && keyPattern.test(own)) found.push({ key: own, bytes });
      }
      // Some stores list in an order of their own.
      if (next === undefined) return found.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
      if (next === token) break;
      token = next;
    }
    throw new OutcomeUnknownError(`the listing of ${prefix} does not come to an end`);
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    await this.#read({ kind: "delete", key, answerBytesMax: documentBytesMax });
  }

  /** Rules that delete objects under our prefix; null: the store does not tell. */
  async expiryRules(): Promise<readonly ExpiryRule[] | null> {
    const { prefix } = this.#client.location;
    try {
      const found = await this.#read({
        kind: "lifecycle",
        key: null,
        query: [["lifecycle", ""]],
        answerBytesMax: documentBytesMax,
      });
      if (found.kind === "absent") return [];
      return readExpiryRules(Buffer.from(found.answer.body).toString()).filter(
        (rule) => prefix.startsWith(rule.prefix) || rule.prefix.startsWith(prefix),
      );
    } catch (error) {
      // Not allowed, or unknown to this store: no reason to stop, only nothing to tell.
      const isUntold = error instanceof BucketError && untold.has(error.trouble);
      if (isUntold) return null;
      if (error instanceof MalformedError) return null;
      throw error;
    }
  }

  /** Ends idle connections. Nothing else is held. */
  close(): void {
    this.#client.close();
  }

  async #putOnce(
    key: string,
    chunks: readonly Uint8Array[],
    length: number,
    signal: AbortSignal,
  ): Promise<PutOutcome> {
    const headers = { "if-none-match": "*", "x-amz-checksum-crc32c": checksumOf(chunks) };
    const request = { kind: "put", key, headers, chunks, length, answerBytesMax: documentBytesMax } as const;
    try {
      const { kind, answer } = await this.#client.ask(request, signal);
      if (kind === "good") return { kind: "created" };
      if (kind === "exists") return { kind: "exists" };
      throw new OutcomeUnknownError(`PUT ${key}: HTTP ${answer.status}`);
    } catch (error) {
      if (!(error instanceof OutcomeUnknownError || error instanceof BucketError)) throw error;
      return { kind: "failed", error };
    }
  }

  #page(prefix: string, token: string | undefined): Promise<ReturnType<typeof readListPage>> {
    const query: [string, string][] = [
      ["encoding-type", "url"],
      ["list-type", "2"],
      ["max-keys", String(this.#pageObjects)],
      ["prefix", prefix],
    ];
    if (token !== undefined) query.push(["continuation-token", token]);
    return this.#retried("list", async () => {
      const { kind, answer } = await this.#client.ask({
        kind: "list",
        key: null,
        query,
        answerBytesMax: documentBytesMax,
      });
      if (kind !== "good") throw new OutcomeUnknownError(`the listing was answered by HTTP ${answer.status}`);
      try {
        return readListPage(Buffer.from(answer.body).toString());
      } catch (cause) {
        if (!(cause instanceof MalformedError)) throw cause;
        throw new OutcomeUnknownError(`the listing cannot be read: ${cause.message}`, { cause });
      }
    });
  }

  #read(request: BucketRequest): Promise<Answered> {
    return this.#retried(request.kind, () => this.#client.ask(request));
  }

  async #retried<T>(kind: BucketRequest["kind"], ask: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof OutcomeUnknownError) || attempt === readTriesMax) throw error;
      }
      this.#client.metrics.retried(kind);
      await sleep(this.#client.clock, backoffMs(attempt, this.#client.random));
    }
  }
}

function checkKey(key: string): void {
  assert(key.length <= keyLengthMax && keyPattern.test(key), "a key is made of plain names between slashes");
}

/** The store compares it with what arrived: a body that was altered on its way is not created. */
function checksumOf(chunks: readonly Uint8Array[]): string {
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(chunks.reduce((crc, chunk) => crc32c(chunk, crc), 0));
  return checksum.toString("base64");
}

/** Bytes of another place must never pass for those that were asked for. */
function partOf({ status, headers, body }: Answered["answer"], start: number, length: number): Uint8Array {
  if (status === 200 && start === 0) return body;
  const told = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers["content-range"] ?? "");
  const [from, last, size] = [Number(told?.[1]), Number(told?.[2]), Number(told?.[3])];
  const isAsked = from === start && last - from + 1 === body.byteLength && body.byteLength <= length;
  const isWhole = body.byteLength === length || Number.isNaN(size) || last + 1 === size;
  if (status !== 206 || !isAsked || !isWhole) {
    throw new OutcomeUnknownError(
      `bytes ${start} to ${start + length - 1} were asked for, and HTTP ${status} gave "${headers["content-range"] ?? "no range"}"`,
    );
  }
  return body;
}
