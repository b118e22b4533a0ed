/** The one writer of a compacted topic in transactions: values and tombstones for few keys, some of them aborted. */
import type { Actor } from "./actor.ts";
import { recordFacts } from "./history.ts";
import type { TableHistory } from "./table-history.ts";
import type { TransactionalId } from "./transactional-id.ts";
import type {
  TransactionalProducer,
  TransactionBatch,
  TransactionProtocol,
} from "./transactional-producer.ts";
import { TransactionalActor } from "./transactor.ts";

const keyCount = 12;

export class LedgerWriter extends TransactionalActor {
  readonly #topic: string;
  readonly #history: TableHistory;

  constructor(
    actor: Actor,
    options: {
      readonly id: TransactionalId;
      readonly protocol: TransactionProtocol;
      readonly topic: string;
      readonly history: TableHistory;
    },
  ) {
    super(actor, options);
    this.#topic = options.topic;
    this.#history = options.history;
  }

  protected override async live(producer: TransactionalProducer, isOver: () => boolean): Promise<void> {
    const { random } = this.actor;
    while (!isOver()) {
      await this.perform(producer, {
        batches: Array.from({ length: random.between(1, 3) }, () => this.#batch()),
        offsets: null,
        isCommitted: random.chance(0.7),
      });
      await this.nap.rest(2);
    }
  }

  #batch(): TransactionBatch {
    const { random, history, clock } = this.actor;
    const timestamp = clock.wallMs();
    const made = Array.from({ length: random.between(1, 3) }, () => {
      const key = `k${random.below(keyCount)}`;
      const write = this.#history.attempt(key, random.below(4) === 0);
      const name = `${this.#topic}-${write.order}`;
      const value = write.isTombstone ? null : `${name}-${"x".repeat(random.below(200))}`;
      return {
        write,
        name,
        record: { key, value, timestamp, headers: [{ key: "n", value: Buffer.from(name) }] },
      };
    });
    return {
      topic: this.#topic,
      partition: 0,
      records: made.map(({ record }) => record),
      tell: (operation) =>
        made.map(({ write, name, record }) =>
          operation.sends(history.place(this.#topic, 0), name, {
            ...recordFacts(record.value ?? "", timestamp, record.key),
            isTombstone: write.isTombstone,
          }),
        ),
      committed: () => {
        for (const { write } of made) this.#history.acknowledged(write);
      },
      aborted: () => {
        for (const { write } of made) this.#history.aborted(write);
      },
    };
  }
}
