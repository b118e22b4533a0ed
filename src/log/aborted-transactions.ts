/** Which batches belong to aborted transactions, as the footers of a partition's segments tell. */
import type { ProducerId } from "../base/ids.ts";
import type { BatchView } from "../record/batch.ts";
import type { AbortedTransaction } from "./segment-format.ts";

export class AbortedTransactions {
  /** Ascending; those of one producer do not overlap. */
  readonly #byProducer = new Map<ProducerId, AbortedTransaction[]>();
  #isComplete = true;

  /** Whether every footer could be read: else nobody knows which transactions were committed. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** A footer cannot be read. */
  missSome(): void {
    this.#isComplete = false;
  }

  /** Of the next footer, in the order of offsets. */
  add(transactions: readonly AbortedTransaction[]): void {
    for (const transaction of transactions) {
      const known = this.#byProducer.get(transaction.producerId);
      if (known === undefined) this.#byProducer.set(transaction.producerId, [transaction]);
      else known.push(transaction);
    }
  }

  /** Whether it holds data of an aborted transaction. */
  has(batch: BatchView): boolean {
    if (!batch.isTransactional || batch.isControl) return false;
    const { baseOffset } = batch;
    const transactions = this.#byProducer.get(batch.producerId) ?? [];
    let low = 0;
    let high = transactions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((transactions[middle] as AbortedTransaction).lastOffset < baseOffset) low = middle + 1;
      else high = middle;
    }
    const next = transactions[low];
    return next !== undefined && next.firstOffset <= baseOffset;
  }
}
