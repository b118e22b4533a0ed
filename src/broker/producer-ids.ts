/**
 * Hands out producer ids from blocks that the journal gave to this broker. An id is told to one client
 * only, also after a crash: the rest of a block that was taken is never used again.
 */
import { type ProducerId, producerId } from "../base/ids.ts";
import type { Journal } from "../metadata/journal.ts";

export class ProducerIds {
  readonly #journal: Pick<Journal, "takeProducerIds">;
  #next = 0;
  #end = 0;
  #taking: Promise<boolean> | null = null;

  constructor(journal: Pick<Journal, "takeProducerIds">) {
    this.#journal = journal;
  }

  /** Null: this broker is fenced. Rejects as `Journal.append` does. */
  async take(): Promise<ProducerId | null> {
    while (this.#next === this.#end) {
      this.#taking ??= this.#takeBlock().finally(() => {
        this.#taking = null;
      });
      if (!(await this.#taking)) return null;
    }
    return producerId(this.#next++);
  }

  async #takeBlock(): Promise<boolean> {
    const block = await this.#journal.takeProducerIds();
    if (block === null) return false;
    this.#next = block.first;
    this.#end = block.first + block.count;
    return true;
  }
}
