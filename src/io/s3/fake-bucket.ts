/**
 * A bucket that speaks S3 over real HTTP, for tests: what a store does while nothing fails, and on demand what real
 * ones and the networks before them do. It looks at the shape of signatures, and at their time, region and key; it
 * does not compute them again.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { concatBytes } from "../../base/bytes.ts";
import { crc32c } from "../../base/crc32c.ts";

export type FakeFault =
  /** Answered by an error; `applies`: and done all the same. */
  | { readonly kind: "error"; readonly status: number; readonly code: string; readonly applies?: boolean }
  /** The connection ends without an answer. */
  | { readonly kind: "reset"; readonly applies?: boolean }
  /** No answer, and no end; `appliesAfterMs`: it is done that much later. */
  | { readonly kind: "stall"; readonly appliesAfterMs?: number }
  /** Done late, and answered then. */
  | { readonly kind: "slow"; readonly ms: number }
  /** Done at once, and answered late. */
  | { readonly kind: "late-answer"; readonly ms: number }
  /** Done twice, the second time later. */
  | { readonly kind: "twice"; readonly againMs: number }
  /** Half of the body of an answer, and the end of the connection. */
  | { readonly kind: "cut" }
  /** Bytes of another place than were asked for. */
  | { readonly kind: "shifted" }
  /** Deletes are answered before they are done. */
  | { readonly kind: "late-delete"; readonly ms: number };

export interface FakeRequest {
  readonly method: string;
  /** Of the bucket's whole name space; null: the bucket itself. */
  readonly key: string | null;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  /** How many requests came before. */
  readonly number: number;
}

export interface FakeBucketOptions {
  readonly bucket?: string;
  readonly region?: string;
  readonly accessKeyId?: string;
  /** What the store's clock is ahead. */
  readonly skewMs?: number;
  /** What a store that must be refused does. */
  readonly weakness?: "ignores-conditions" | "checks-then-writes" | "hides-new-names" | "ignores-ranges";
  readonly lifecycleXml?: string;
  /** Asked at each request. */
  fault?: (request: FakeRequest) => FakeFault | null;
}

const maxSkewMs = 15 * 60_000;
const pageMax = 1_000;

export class FakeBucket {
  readonly objects = new Map<string, Uint8Array>();
  /** Puts that made an object, by key. */
  readonly creations = new Map<string, number>();
  /** All requests, in order. */
  readonly requests: FakeRequest[] = [];
  readonly options: FakeBucketOptions;
  accessKeyId: string;
  readonly #server: Server;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #hidden = new Map<string, number>();
  readonly #sockets = new Set<unknown>();

  private constructor(options: FakeBucketOptions) {
    this.options = options;
    this.accessKeyId = options.accessKeyId ?? "AKIDEXAMPLE";
    this.#server = createServer((request, response) => {
      void this.#handle(request, response);
    });
    this.#server.on("connection", (socket) => this.#sockets.add(socket));
  }

  static async start(options: FakeBucketOptions = {}): Promise<FakeBucket> {
    const fake = new FakeBucket(options);
    await new Promise<void>((resolve) => fake.#server.listen(0, "127.0.0.1", resolve));
    return fake;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Connections that were ever made. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** No further connection is taken, and what is open ends. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bodyOf(request);
    if (body === null) return;
    const bucket = this.options.bucket ?? "bucket";
    const url = new URL(request.url ?? "/", "http://fake");
    const isVirtual = (request.headers.host ?? "").startsWith(`${bucket}.`);
    const [, first = "", ...rest] = url.pathname.split("/");
    const named = isVirtual ? bucket : decodeURIComponent(first);
    const path = isVirtual ? [first, ...rest].join("/") : rest.join("/");
    const key = path === "" ? null : decodeURIComponent(path);
    const method = request.method ?? "";
    const seen: FakeRequest = {
      method,
      key,
      query: url.searchParams,
      headers: request.headers,
      number: this.requests.length,
    };
    this.requests.push(seen);
    response.setHeader("date", new Date(Date.now() + (this.options.skewMs ?? 0)).toUTCString());
    const refused = this.#refusal(request, body) ?? (named === bucket ? null : noBucket(named));
    if (refused !== null) return sendError(response, refused);
    const fault = this.options.fault?.(seen) ?? null;
    if (fault !== null && this.#strike(fault, seen, body, response)) return;
    this.#answer(seen, body, response, fault);
  }

  /** True: nothing is left to answer. */
  #strike(fault: FakeFault, seen: FakeRequest, body: Uint8Array, response: ServerResponse): boolean {
    switch (fault.kind) {
      case "error":
        if (fault.applies === true) this.#apply(seen, body);
        sendError(response, { status: fault.status, code: fault.code });
        return true;
      case "reset":
        if (fault.applies === true) this.#apply(seen, body);
        response.socket?.resetAndDestroy();
        return true;
      case "stall":
        if (fault.appliesAfterMs !== undefined) {
          this.#later(fault.appliesAfterMs, () => this.#apply(seen, body));
        }
        return true;
      case "slow":
        this.#later(fault.ms, () => this.#answer(seen, body, response, null));
        return true;
      case "late-answer": {
        if (seen.method !== "PUT") return false;
        const status = this.#apply(seen, body);
        this.#later(fault.ms, () => {
          if (status === 412) sendError(response, { status, code: "PreconditionFailed" });
          else response.writeHead(status).end();
        });
        return true;
      }
      case "twice":
        this.#later(fault.againMs, () => this.#apply(seen, body));
        return false;
      case "late-delete":
        if (seen.method !== "DELETE") return false;
        this.#later(fault.ms, () => this.#apply(seen, body));
        response.writeHead(204).end();
        return true;
      default:
        return false;
    }
  }

  #answer(seen: FakeRequest, body: Uint8Array, response: ServerResponse, fault: FakeFault | null): void {
    const { method, key, query } = seen;
    if (method === "PUT" && this.options.weakness === "checks-then-writes" && key !== null) {
      if (this.objects.has(key)) return sendError(response, { status: 412, code: "PreconditionFailed" });
      this.#later(5, () => {
        this.objects.set(key, body);
        response.writeHead(200).end();
      });
      return;
    }
    if (method === "PUT" || method === "DELETE") {
      const status = this.#apply(seen, body);
      if (status === 412) return sendError(response, { status, code: "PreconditionFailed" });
      response.writeHead(status).end();
      return;
    }
    if (method !== "GET") return sendError(response, { status: 405, code: "MethodNotAllowed" });
    if (key !== null) return this.#get(seen, response, fault);
    if (query.has("lifecycle")) {
      const { lifecycleXml } = this.options;
      if (lifecycleXml === undefined) {
        return sendError(response, { status: 404, code: "NoSuchLifecycleConfiguration" });
      }
      return sendXml(response, 200, lifecycleXml);
    }
    if (query.get("list-type") === "2") return sendXml(response, 200, this.#listing(query));
    sendError(response, { status: 501, code: "NotImplemented" });
  }

  /** The status. */
  #apply({ method, key, headers }: FakeRequest, body: Uint8Array): number {
    if (key === null) return 405;
    if (method === "DELETE") {
      this.objects.delete(key);
      return 204;
    }
    if (method !== "PUT") return 200;
    const { weakness } = this.options;
    const isConditional = headers["if-none-match"] === "*";
    if (isConditional && this.objects.has(key) && weakness !== "ignores-conditions") return 412;
    this.objects.set(key, body);
    this.#hidden.set(key, Date.now());
    this.creations.set(key, (this.creations.get(key) ?? 0) + 1);
    return 200;
  }

  #get({ key, headers }: FakeRequest, response: ServerResponse, fault: FakeFault | null): void {
    const whole = this.objects.get(key as string);
    const isHidden =
      this.options.weakness === "hides-new-names" && Date.now() - (this.#hidden.get(key as string) ?? 0) < 50;
    if (whole === undefined || isHidden) return sendError(response, { status: 404, code: "NoSuchKey" });
    const range = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "");
    if (range === null || this.options.weakness === "ignores-ranges") {
      return sendBody(response, 200, whole, {}, fault);
    }
    const start = Number(range[1]);
    const last = Math.min(Number(range[2]), whole.byteLength - 1);
    if (start >= whole.byteLength) return sendError(response, { status: 416, code: "InvalidRange" });
    const shift = fault?.kind === "shifted" && start > 0 ? 1 : 0;
    const told = { "content-range": `bytes ${start - shift}-${last - shift}/${whole.byteLength}` };
    sendBody(response, 206, whole.subarray(start - shift, last + 1 - shift), told, fault);
  }

  #listing(query: URLSearchParams): string {
    const prefix = query.get("prefix") ?? "";
    const after = query.get("continuation-token") ?? "";
    const size = Math.min(pageMax, Number(query.get("max-keys") ?? pageMax));
    const isEncoded = query.get("encoding-type") === "url";
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const page = keys.slice(0, size);
    const isTruncated = keys.length > size;
    const rows = page.map(
      (key) =>
        `<Contents><Key>${isEncoded ? encodeURIComponent(key) : escaped(key)}</Key><LastModified>2026-11-21T20:00:00.000Z</LastModified><ETag>&quot;${"0".repeat(32)}&quot;</ETag><Size>${this.objects.get(key)?.byteLength}</Size><StorageClass>STANDARD</StorageClass></Contents>`,
    );
    const next = isTruncated
      ? `<NextContinuationToken>${escaped(page.at(-1) ?? "")}</NextContinuationToken>`
      : "";
    return `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>${escaped(prefix)}</Prefix><KeyCount>${page.length}</KeyCount><MaxKeys>${size}</MaxKeys>${isEncoded ? "<EncodingType>url</EncodingType>" : ""}<IsTruncated>${isTruncated}</IsTruncated>${next}${rows.join("")}</ListBucketResult>`;
  }

  #refusal({ headers, method }: IncomingMessage, body: Uint8Array): FakeError | null {
    const shape =
      /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}$/.exec(
        headers.authorization ?? "",
      );
    const date = String(headers["x-amz-date"] ?? "");
    const time = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date);
    if (shape === null || time === null) return { status: 403, code: "AccessDenied" };
    const [, id, day, region, names = ""] = shape;
    const signed = new Set(names.split(";"));
    const needed = [
      "host",
      "x-amz-date",
      "x-amz-content-sha256",
      ...(method === "PUT" ? ["if-none-match"] : []),
    ];
    const isSorted = names === [...signed].sort().join(";");
    if (!isSorted || !needed.every((name) => signed.has(name)) || day !== date.slice(0, 8)) {
      return { status: 403, code: "SignatureDoesNotMatch" };
    }
    if (id !== this.accessKeyId) return { status: 403, code: "InvalidAccessKeyId" };
    const ours = this.options.region ?? "us-east-1";
    if (region !== ours) {
      return { status: 400, code: "AuthorizationHeaderMalformed", more: `<Region>${ours}</Region>` };
    }
    const [, y, m, d, h, min, s] = time.map(Number) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const sentMs = Date.UTC(y, m - 1, d, h, min, s);
    if (Math.abs(sentMs - (Date.now() + (this.options.skewMs ?? 0))) > maxSkewMs) {
      return { status: 403, code: "RequestTimeTooSkewed" };
    }
    const hash = headers["x-amz-content-sha256"];
    if (hash !== "UNSIGNED-PAYLOAD" && hash !== createHash("sha256").update(body).digest("hex")) {
      return { status: 400, code: "XAmzContentSHA256Mismatch" };
    }
    const told = headers["x-amz-checksum-crc32c"];
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32BE(crc32c(body));
    return told === undefined || told === checksum.toString("base64")
      ? null
      : { status: 400, code: "BadDigest" };
  }

  #later(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, ms);
    this.#timers.add(timer);
  }
}

interface FakeError {
  readonly status: number;
  readonly code: string;
  readonly more?: string;
}

const noBucket = (name: string): FakeError => ({
  status: 404,
  code: "NoSuchBucket",
  more: `<BucketName>${name}</BucketName>`,
});

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** Null: it did not come whole. */
async function bodyOf(request: IncomingMessage): Promise<Uint8Array | null> {
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of request) pieces.push(piece as Uint8Array);
  } catch {
    return null;
  }
  return concatBytes(pieces);
}

function sendError(response: ServerResponse, { status, code, more = "" }: FakeError): void {
  sendXml(
    response,
    status,
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${code} &amp; more</Message>${more}<RequestId>1</RequestId></Error>`,
  );
}

function sendXml(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    "content-type": "application/xml",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

function sendBody(
  response: ServerResponse,
  status: number,
  bytes: Uint8Array,
  headers: { readonly [name: string]: string },
  fault: FakeFault | null,
): void {
  response.writeHead(status, { ...headers, "content-length": bytes.byteLength });
  if (fault?.kind !== "cut") {
    response.end(bytes);
    return;
  }
  response.write(bytes.subarray(0, bytes.byteLength >> 1), () => response.socket?.destroy());
}
