/** What a loop was given and has not asked to go on behind: one record, or one batch. */
import type { IncomingRecord } from "../incoming-record.ts";
import type { RecordBatch } from "../reader.ts";
import type { Share } from "./share.ts";

export class Lent {
  #now: { readonly share: Share; readonly at: number } | undefined = undefined;

  lend(share: Share | undefined, taken: IncomingRecord | RecordBatch): void {
    const at = "records" in taken ? taken.records[0]?.offset : taken.offset;
    this.#now = share === undefined || at === undefined ? undefined : { share, at };
  }

  /** The loop is done with it. */
  finish(): void {
    const now = this.#now;
    this.#now = undefined;
    now?.share.finish(now.at);
  }

  /** The loop was left; returns whose it is. It is unfinished, and stays so. */
  takeBack(): Share | undefined {
    const share = this.#now?.share;
    this.#now = undefined;
    return share;
  }

  /** What was lent of the share does not count any more. */
  forget(share: Share | undefined): void {
    if (this.#now?.share === share) this.#now = undefined;
  }
}
