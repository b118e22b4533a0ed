/**
 * One client: frames in, answers out in the order of their requests, several in flight. Stage one of the
 * handlers is entered in order of arrival and without a pause in between; their promises settle in any
 * order and wait for those before them. What a client can make us hold is bounded: requests in number and
 * bytes (reading pauses), answers that it does not read (its next request is not started).
 */
import { AssertionFailure } from "../base/assert.ts";
import type { Budget } from "../base/budget.ts";
import type { Socket } from "../base/ports.ts";
import { giveBack, isLent } from "../base/reused-memory.ts";
import type { ConnectionFacts } from "./context.ts";
import { bytesOf, type Call, type Dispatch, isPeerFault } from "./dispatch.ts";
import { type FrameFault, FrameReader } from "../protocol/frame-reader.ts";
import type { BudgetedReader, RequestBudget } from "./request-budget.ts";

export interface ConnectionLimits {
  readonly frameBytesMax: number;
  /** Requests that are worked on at a time. */
  readonly requestsMax: number;
  readonly requestBytesMax: number;
  readonly responseBytesMax: number;
}

/** Why a connection ended, for the log; null: the peer left, or the broker stops. */
export type Ending = { readonly reason: string; readonly cause?: unknown } | null;

export interface ConnectionOwner {
  readonly dispatch: Dispatch;
  readonly budget: RequestBudget;
  /** Answers that clients have not taken, over all connections. */
  readonly answers: Budget;
  readonly limits: ConnectionLimits;
  readonly listenerName: string;
  nowMs(): number;
  onEnd(connection: Connection, ending: Ending): void;
  /** Our bug: memory can no longer be trusted. */
  onBug(failure: AssertionFailure): void;
}

/** A request between its decision and its turn to answer. */
interface Slot {
  /** Null: not settled yet. Empty: there is no answer. */
  chunks: readonly Uint8Array[] | null;
  bytes: number;
  /** An earlier one failed: nobody is told of this one. */
  isDropped: boolean;
}

const noAnswer: readonly Uint8Array[] = [];

/** Of lent memory that may have left; beyond it is left to the collector, as with a client that never lets us pause. */
const leavingBytesMax = 64 * 1024 * 1024;

export class Connection implements ConnectionFacts, BudgetedReader {
  readonly principal = "User:ANONYMOUS";
  peer: ConnectionFacts["peer"] = null;
  readonly beyond: string | null;
  readonly listenerName: string;
  readonly remoteHost: string;
  readonly localHost: string;
  readonly localPort: number;
  clientSoftware: { readonly name: string; readonly version: string } = { name: "", version: "" };
  /** When bytes last moved, in ms of the monotonic clock. */
  activeMs: number;

  readonly #owner: ConnectionOwner;
  readonly #socket: Socket;
  readonly #input: FrameReader;
  /** Arrived whole and not begun. */
  #frames: Uint8Array[] = [];
  /** Requests that were begun and whose answers have not been written, in order. */
  readonly #slots: Slot[] = [];
  /** A `prepare` is under way: nothing later may be decided. */
  #preparing = false;
  #outgoing: Uint8Array[] = [];
  #outgoingBytes = 0;
  /** Lent memory among what was written since the socket was last empty. */
  #leaving: Uint8Array[] = [];
  #leavingBytes = 0;
  /** Answers that wait for earlier ones. */
  #settledBytes = 0;
  #chargedAnswers = 0;
  #flushing = false;
  /** Charged to the budget, and how much of it was begun. */
  #heldBytes = 0;
  #workingBytes = 0;
  #reading = true;
  /** Nothing more will arrive; what did is served, as Kafka does it: a producer with acks 0 may send and leave. */
  #peerEnded = false;
  /** No further request is begun; what was begun is answered. */
  #ending: { readonly why: Ending } | null = null;
  #closed = false;
  readonly #closeListeners = new Set<() => void>();

  constructor(owner: ConnectionOwner, socket: Socket, beyond: string | null = null) {
    this.#owner = owner;
    this.beyond = beyond;
    this.#socket = socket;
    this.#input = new FrameReader(owner.limits.frameBytesMax);
    this.listenerName = owner.listenerName;
    this.remoteHost = socket.remoteAddress;
    this.localHost = socket.localAddress;
    this.localPort = socket.localPort;
    this.activeMs = owner.nowMs();
  }

  open(): void {
    this.#owner.budget.join(this);
    this.#socket.open({
      onData: (bytes) => this.#onData(bytes),
      room: () => this.#input.room,
      onEnd: () => {
        this.#peerEnded = true;
        this.#pump();
      },
      onDrain: () => {
        this.activeMs = this.#owner.nowMs();
        this.#giveBackWhatLeft();
        this.#accountAnswers();
        this.#pump();
        this.#flush();
      },
      onClose: () => this.#onClose(),
    });
  }

  onClose(listener: () => void): () => void {
    if (this.#closed || this.#ending !== null) {
      listener();
      return () => {};
    }
    this.#closeListeners.add(listener);
    return () => this.#closeListeners.delete(listener);
  }

  /** A handler has a request of this client that is not answered yet. */
  get working(): boolean {
    return this.#workingBytes > 0;
  }

  get idleBytes(): number {
    return this.#heldBytes - this.#workingBytes;
  }
  get missingBytes(): number {
    return this.#input.missingBytes;
  }

  get #pendingAnswerBytes(): number {
    return this.#settledBytes + this.#outgoingBytes + this.#socket.pendingBytes;
  }

  /** Keeps the process's account of answers true; called wherever they grow or leave. */
  #accountAnswers(): void {
    const pending = this.#closed ? 0 : this.#pendingAnswerBytes;
    if (pending > this.#chargedAnswers) this.#owner.answers.charge(pending - this.#chargedAnswers);
    else if (pending < this.#chargedAnswers) this.#owner.answers.give(this.#chargedAnswers - pending);
    this.#chargedAnswers = pending;
  }

  #onData(bytes: Uint8Array): void {
    if (this.#closed || this.#ending !== null) return;
    this.activeMs = this.#owner.nowMs();
    const fault = this.#input.push(bytes, this.#frames);
    this.#heldBytes += bytes.byteLength;
    this.#owner.budget.charge(bytes.byteLength);
    this.#pump();
    this.#owner.budget.unlock();
    if (fault !== null) this.finish({ reason: describeFault(fault, this.#owner.limits.frameBytesMax) });
    this.#settleReading();
    // All answers that were found at once leave in one write.
    this.#flush();
  }

  /** Begins requests in order, as long as nothing holds them back. (An end empties `#frames`.) */
  #pump(): void {
    const { requestsMax, responseBytesMax } = this.#owner.limits;
    let begun = 0;
    while (
      begun < this.#frames.length &&
      !this.#preparing &&
      this.#slots.length < requestsMax &&
      this.#pendingAnswerBytes < responseBytesMax
    ) {
      this.#begin(this.#frames[begun++] as Uint8Array);
    }
    if (begun > 0) this.#frames = begun === this.#frames.length ? [] : this.#frames.slice(begun);
    if (this.#peerEnded && this.#frames.length === 0 && !this.#preparing) this.finish(null);
    else this.#settleReading();
  }

  #begin(frame: Uint8Array): void {
    const bytes = frame.byteLength + 4;
    this.#workingBytes += bytes;
    this.#owner.budget.begin(bytes);
    const slot: Slot = { chunks: null, bytes, isDropped: false };
    this.#slots.push(slot);
    try {
      const call = this.#owner.dispatch.begin(frame, this);
      if (Array.isArray(call)) return this.#settle(slot, call);
      const prepared = this.#owner.dispatch.prepare(call);
      if (prepared === undefined) return this.#decide(slot, call, call.request);
      this.#preparing = true;
      prepared.then(
        (request) => {
          this.#preparing = false;
          this.#decide(slot, call, request);
          this.#pump();
        },
        (error: unknown) => this.#fail(slot, error),
      );
    } catch (error) {
      this.#fail(slot, error);
    }
  }

  #decide(slot: Slot, call: Call, request: unknown): void {
    try {
      const result = this.#owner.dispatch.decide(call, request);
      if (result instanceof Promise) {
        result.then(
          (response: unknown) => this.#answer(slot, call, response),
          (error: unknown) => this.#fail(slot, error),
        );
      } else {
        this.#answer(slot, call, result);
      }
    } catch (error) {
      this.#fail(slot, error);
    }
  }

  #answer(slot: Slot, call: Call, response: unknown): void {
    try {
      this.#settle(slot, response === null ? noAnswer : this.#owner.dispatch.answer(call, response));
    } catch (error) {
      this.#fail(slot, error);
    }
  }

  /** The request is done with: its memory goes back, its answer leaves after those before it. */
  #settle(slot: Slot, chunks: readonly Uint8Array[]): void {
    const requestBytes = slot.bytes;
    slot.chunks = chunks;
    slot.bytes = bytesOf(chunks);
    if (this.#closed) return;
    if (!slot.isDropped) this.#settledBytes += slot.bytes;
    while (this.#slots.length > 0) {
      const first = this.#slots[0] as Slot;
      if (first.chunks === null) break;
      this.#slots.shift();
      for (const chunk of first.chunks) this.#outgoing.push(chunk);
      this.#settledBytes -= first.bytes;
      this.#outgoingBytes += first.bytes;
    }
    this.#workingBytes -= requestBytes;
    this.#heldBytes -= requestBytes;
    this.#owner.budget.end(requestBytes);
    this.#accountAnswers();
    this.#flushSoon();
  }

  #fail(slot: Slot, error: unknown): void {
    if (error instanceof AssertionFailure) {
      this.#owner.onBug(error);
      return;
    }
    this.#dropBehind(slot);
    // Before `finish`, so that a handler that failed as the first of many does not hold up the end.
    if (slot.chunks === null) this.#settle(slot, noAnswer);
    this.#preparing = false;
    // An error of the peer is told in one sentence. Any other leaves the fate of the request unknown,
    // and a closed connection is how Kafka's protocol says so.
    if (isPeerFault(error)) this.finish({ reason: error.message });
    else this.finish({ reason: "a request failed", cause: error });
  }

  /** Where one answer is missing, none may follow: a client would take it for that of another request. */
  #dropBehind(slot: Slot): void {
    const at = this.#slots.indexOf(slot);
    if (at < 0) return;
    for (const each of this.#slots.splice(at + 1)) {
      each.isDropped = true;
      if (each.chunks !== null) this.#settledBytes -= each.bytes;
    }
  }

  /** Several answers that become ready in one turn leave together. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => queueMicrotask(() => this.#flush()));
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#closed) return;
    if (this.#outgoing.length > 0) {
      const chunks = this.#outgoing;
      this.#outgoing = [];
      this.#outgoingBytes = 0;
      this.#noteLent(chunks);
      this.#socket.write(chunks);
      this.#accountAnswers();
    }
    if (this.#ending !== null) {
      if (this.#slots.length === 0) this.#socket.end();
      return;
    }
    if (this.#frames.length > 0) this.#pump();
    else this.#settleReading();
  }

  #noteLent(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) {
      if (!isLent(chunk)) continue;
      this.#leaving.push(chunk);
      this.#leavingBytes += chunk.byteLength;
    }
    if (this.#leavingBytes > leavingBytesMax) this.#forgetLent();
  }

  /** Only an empty socket reads nothing any more; one that was closed says nothing of what the kernel still has. */
  #giveBackWhatLeft(): void {
    if (this.#closed || this.#leavingBytes === 0 || this.#socket.pendingBytes > 0) return;
    const left = this.#leaving;
    this.#forgetLent();
    for (const chunk of left) giveBack(chunk);
  }

  #forgetLent(): void {
    this.#leaving = [];
    this.#leavingBytes = 0;
  }

  /** Reads exactly when no bound is reached. */
  #settleReading(): void {
    const { requestsMax, requestBytesMax, responseBytesMax } = this.#owner.limits;
    const wanted =
      this.#ending === null &&
      // What a peer says may be what others wait for: were it to wait for them, two brokers could for each other.
      (this.peer !== null || this.#owner.budget.mayRead(this)) &&
      this.#slots.length + this.#frames.length < requestsMax &&
      // A single request may be larger than the bound; it must be able to arrive.
      (this.#heldBytes < requestBytesMax || (this.#slots.length === 0 && this.#frames.length === 0)) &&
      this.#pendingAnswerBytes < responseBytesMax;
    if (wanted === this.#reading || this.#closed) return;
    this.#reading = wanted;
    if (wanted) this.#socket.resume();
    else this.#socket.pause();
  }

  stopReading(): void {
    this.#settleReading();
  }
  readOn(): void {
    this.#settleReading();
  }
  giveUp(): void {
    this.destroy({ reason: "it held memory for requests that did not go on while others waited for it" });
  }

  close(reason: string): void {
    this.finish({ reason });
  }

  /** Begins nothing more, answers what was begun, then closes. */
  finish(why: Ending): void {
    if (this.#closed || this.#ending !== null) return;
    this.#ending = { why };
    this.#frames = [];
    // Nobody waits for records any longer on behalf of this client.
    for (const listener of this.#closeListeners) listener();
    this.#closeListeners.clear();
    this.#settleReading();
    this.#flushSoon();
  }

  destroy(why: Ending): void {
    if (this.#closed) return;
    this.#ending ??= { why };
    this.#socket.destroy();
  }

  #onClose(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#outgoing = [];
    this.#forgetLent();
    this.#frames = [];
    this.#accountAnswers();
    this.#owner.budget.leave(this, this.#heldBytes, this.#workingBytes);
    for (const listener of this.#closeListeners) listener();
    this.#closeListeners.clear();
    this.#owner.onEnd(this, this.#ending?.why ?? null);
  }
}

/** What a length that cannot be one tells about who is speaking. */
function describeFault({ claimed, start }: FrameFault, frameBytesMax: number): string {
  const word = String.fromCharCode(...start);
  if (start[0] === 0x16 && start[1] === 0x03) {
    return "it speaks TLS, and this listener does not; set security.protocol=PLAINTEXT in the client";
  }
  if (/^(GET |POST|HEAD|PUT |OPTI|DELE|PATC|CONN|TRAC|PRI )$/.test(word)) {
    return "it speaks HTTP, and this is the port for Kafka clients; metrics and health are on the port given by --http";
  }
  if (claimed < 0) return `it claims a request of ${claimed} bytes, which is no length`;
  return `it claims a request of ${claimed} bytes, and socket.request.max.bytes allows ${frameBytesMax}`;
}
