/**
 * One decision in the making: the records that it writes and the answers that it gives. A record is
 * applied to the state in the moment in which it is written, so what follows in the same decision sees it,
 * and a replay of the records comes to the same state. Nothing here waits, and nothing leaves: the runtime
 * appends all records of a turn as one frame and lets the answers go when that is durable (I1, I4).
 */

/** Stands for one request that waits for its answer; only the runtime makes them. */
export interface Ticket<Res> {
  readonly id: number;
  /** Never there: it ties the type of the answer to the ticket. */
  readonly answer?: Res;
}

export interface Reply {
  readonly ticket: Ticket<unknown>;
  readonly response: unknown;
}

/** `R`: the records of the shard that decides. */
export class Turn<R> {
  readonly records: R[] = [];
  readonly replies: Reply[] = [];
  /** For time-outs: never goes back. */
  readonly monotonicMs: number;
  /** For times that records tell. */
  readonly wallMs: number;
  readonly #apply: (record: R) => void;

  constructor(now: { readonly monotonicMs: number; readonly wallMs: number }, apply: (record: R) => void) {
    this.monotonicMs = now.monotonicMs;
    this.wallMs = now.wallMs;
    this.#apply = apply;
  }

  write(record: R): void {
    this.records.push(record);
    this.#apply(record);
  }

  reply<Res>(ticket: Ticket<Res>, response: Res): void {
    this.replies.push({ ticket, response });
  }
}
