/**
 * One request and its answer over HTTP. Every wait has an end: connecting, no progress, and the whole. When this
 * settles the request is over for us: no byte of its body is read from the caller's memory any more, and none of the
 * answer is written into it. Only a whole answer is an answer: a body that was cut is an error.
 */
import type { Agent as HttpAgent, ClientRequest, IncomingMessage } from "node:http";
import { HoldfastError } from "../../base/errors.ts";
import type { Clock, Timer } from "../../base/ports.ts";

export interface ExchangeLimits {
  /** Until connected, TLS included. */
  readonly connectMs: number;
  /** Without any byte going or coming. */
  readonly stallMs: number;
  /** The whole; what a large body takes at a slow rate comes on top. */
  readonly totalMs: number;
}

export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: { readonly [name: string]: string };
  readonly chunks?: readonly Uint8Array[];
  /** Of the chunks. */
  readonly length?: number;
  /** A longer good answer (2xx) is refused. */
  readonly answerBytesMax: number;
  /** Where the body of a good answer (2xx) may be put, if it fits. */
  readonly into?: Uint8Array | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  /** Names in small letters. */
  readonly headers: { readonly [name: string]: string | undefined };
  readonly body: Uint8Array;
}

/** No whole answer: the request may have taken effect, or may yet. */
export class NoAnswerError extends HoldfastError {
  readonly code = "NO_ANSWER";
  override readonly name = "NoAnswerError";
  override readonly retriable = true;
}

/** Bytes a second below which a transfer counts as stuck. */
const slowestBytesPerMs = 64;
/** Smaller bodies leave in one piece with their header. */
const onePieceBytes = 64 * 1024;
const pieceBytes = 256 * 1024;
/** What a refusal may have to say. */
const errorBytesMax = 1024 * 1024;

export function exchange(
  request: HttpRequest,
  wire: { readonly agent: HttpAgent; readonly clock: Clock; readonly limits: ExchangeLimits },
  signal?: AbortSignal,
): Promise<HttpAnswer> {
  const { agent, clock, limits } = wire;
  const { url, method, length = 0, chunks = [] } = request;
  const { request: open } = process.getBuiltinModule(url.protocol === "https:" ? "node:https" : "node:http");
  return new Promise((resolve, reject) => {
    let isOver = false;
    let stall: Timer | null = null;
    const timers: Timer[] = [];
    const finish = (): boolean => {
      if (isOver) return false;
      isOver = true;
      stall?.cancel();
      for (const timer of timers) timer.cancel();
      signal?.removeEventListener("abort", onAbort);
      return true;
    };
    const fail = (why: string, cause?: unknown): void => {
      if (!finish()) return;
      sent.destroy();
      reject(new NoAnswerError(`${method} ${url.host}: ${why}`, { cause }));
    };
    const onAbort = (): void => fail("given up");
    const progress = (): void => {
      if (isOver) return;
      stall?.cancel();
      stall = clock.schedule(limits.stallMs, () => fail(`nothing moved for ${limits.stallMs} ms`));
    };

    const sent: ClientRequest = open(url, {
      agent,
      method,
      headers: { ...request.headers, ...(method === "PUT" ? { "content-length": String(length) } : {}) },
    });
    sent.on("error", (cause) => fail(reasonOf(cause), cause));
    if (signal?.aborted === true) return onAbort();
    signal?.addEventListener("abort", onAbort);
    const totalMs = limits.totalMs + Math.max(length, request.into?.byteLength ?? 0) / slowestBytesPerMs;
    timers.push(clock.schedule(totalMs, () => fail(`no answer within ${Math.round(totalMs)} ms`)));
    sent.on("socket", (socket) => {
      if (!socket.connecting && !("encrypted" in socket && !sent.reusedSocket)) return progress();
      const event = "encrypted" in socket ? "secureConnect" : "connect";
      const timer = clock.schedule(limits.connectMs, () =>
        fail(`no connection within ${limits.connectMs} ms`),
      );
      timers.push(timer);
      socket.once(event, () => {
        timer.cancel();
        progress();
      });
    });
    sent.on("response", (response) => {
      progress();
      receive(response, request, progress, fail, (answer) => {
        if (!finish()) return;
        // A refusal may come before the body has left: the rest of it never will.
        if (!sent.writableFinished) sent.destroy();
        resolve(answer);
      });
    });
    send(sent, chunks, length, progress, () => isOver);
  });
}

function send(
  sent: ClientRequest,
  chunks: readonly Uint8Array[],
  length: number,
  progress: () => void,
  isOver: () => boolean,
): void {
  if (length <= onePieceBytes) {
    sent.end(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
    return;
  }
  let chunk = 0;
  let at = 0;
  // The next piece is handed over when the one before has left, so that little lies in the socket's buffers.
  const next = (error?: Error | null): void => {
    if (isOver() || (error ?? null) !== null) return;
    progress();
    while (chunk < chunks.length && at === (chunks[chunk] as Uint8Array).byteLength) {
      chunk++;
      at = 0;
    }
    if (chunk === chunks.length) {
      sent.end();
      return;
    }
    const piece = (chunks[chunk] as Uint8Array).subarray(at, at + pieceBytes);
    at += piece.byteLength;
    sent.write(piece, next);
  };
  next();
}

function receive(
  response: IncomingMessage,
  { method, into, answerBytesMax }: HttpRequest,
  progress: () => void,
  fail: (why: string, cause?: unknown) => void,
  done: (answer: HttpAnswer) => void,
): void {
  const status = response.statusCode ?? 0;
  const headers = response.headers as HttpAnswer["headers"];
  const told = headers["content-length"];
  const isGood = status >= 200 && status < 300;
  // Without it a body that was cut would look whole.
  if (told === undefined && method === "GET" && isGood && headers["transfer-encoding"] === undefined) {
    return fail("the answer does not say how long it is");
  }
  const expected = told === undefined ? null : Number(told);
  const bytesMax = isGood ? answerBytesMax : errorBytesMax;
  if (expected !== null && expected > bytesMax) {
    return fail(`the answer has ${expected} bytes, more than the ${bytesMax} that were asked for`);
  }
  const target = isGood && into !== undefined && (expected ?? Infinity) <= into.byteLength ? into : null;
  const pieces: Uint8Array[] = [];
  let received = 0;
  response.on("data", (piece: Uint8Array) => {
    progress();
    if (received + piece.byteLength > (expected ?? bytesMax)) return fail("the answer is too long");
    if (target === null) pieces.push(piece);
    else target.set(piece, received);
    received += piece.byteLength;
  });
  response.on("error", (cause) => fail(reasonOf(cause), cause));
  response.on("close", () => {
    if (!response.complete) fail("the answer was cut");
  });
  response.on("end", () => {
    if (!response.complete || (expected !== null && received !== expected)) return fail("the answer was cut");
    const whole = pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces);
    done({ status, headers, body: target === null ? whole : target.subarray(0, received) });
  });
}

function reasonOf(cause: Error): string {
  const { code } = cause as NodeJS.ErrnoException;
  switch (code) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "its name is not known here";
    case "ECONNREFUSED":
      return "nothing listens there";
    case "ECONNRESET":
    case "EPIPE":
      return "the connection was reset";
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return `its certificate is not trusted here (${code}); name the one of its issuer in NODE_EXTRA_CA_CERTS`;
    case "EPROTO":
    case "ERR_SSL_WRONG_VERSION_NUMBER":
      return "it does not speak TLS; is the endpoint one of http://?";
    default:
      return code === undefined ? cause.message : `${cause.message} (${code})`;
  }
}
