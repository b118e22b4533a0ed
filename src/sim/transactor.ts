/**
 * Writes transactions over several partitions, one life after the other: commits, aborts, dies between any two
 * requests, sleeps over its time-out, and now and then leaves a transaction alone. Several may have one
 * transactional id, and then fence each other without knowing.
 */
import type { Operation } from "../audit/operation.ts";
import type { Actor } from "./actor.ts";
import { recordFacts, recordName } from "./history.ts";
import { Nap } from "./nap.ts";
import type { TransactionalId } from "./transactional-id.ts";
import {
  Died,
  type Place,
  Refused,
  type TransactionBatch,
  TransactionalProducer,
  type TransactionProtocol,
  type TransactionWork,
} from "./transactional-producer.ts";

const batchesMax = 5;
/** Of a transaction that transforms, about. */
const outputBatchesMax = 8;

export interface TransactorOptions {
  readonly id: TransactionalId;
  readonly protocol: TransactionProtocol;
  /** Names its records; no other producer has it. */
  readonly number: number;
  readonly places: readonly Place[];
}

/** Somebody with a transactional id, and what he does with it in each life. */
export abstract class TransactionalActor {
  protected readonly actor: Actor;
  protected readonly nap: Nap;
  readonly #id: TransactionalId;
  readonly #protocol: TransactionProtocol;
  #lives = 0;
  transactions = 0;

  constructor(
    actor: Actor,
    options: { readonly id: TransactionalId; readonly protocol: TransactionProtocol },
  ) {
    this.actor = actor;
    this.nap = new Nap(actor);
    this.#id = options.id;
    this.#protocol = options.protocol;
  }

  async run(isOver: () => boolean): Promise<void> {
    const { pace } = this.actor;
    while (!this.isDone(isOver)) {
      const producer = new TransactionalProducer(this.actor, {
        id: this.#id,
        protocol: this.#protocol,
        timeoutMs: pace.transactionMs,
        name: `.${++this.#lives}`,
      });
      try {
        await producer.init();
        await this.live(producer, isOver);
      } catch (cause) {
        if (!(cause instanceof Died) && !(cause instanceof Refused)) throw cause;
        // Whoever took over is left alone for a while.
        await this.actor.pause(cause instanceof Died ? 20 : 300);
      } finally {
        await producer.close();
      }
    }
  }

  /** Whether it may end now, where it is between two lives. */
  protected isDone(isOver: () => boolean): boolean {
    return isOver();
  }

  /** Rejects with `Died` or `Refused`. */
  protected abstract live(producer: TransactionalProducer, isOver: () => boolean): Promise<void>;

  /** False: it was refused, as after its time-out, and the producer goes on with its next epoch (KIP-360). */
  protected async perform(producer: TransactionalProducer, work: TransactionWork): Promise<boolean> {
    this.transactions++;
    try {
      await producer.perform(work);
      return true;
    } catch (cause) {
      if (!(cause instanceof Refused) || this.actor.random.chance(0.5)) throw cause;
      await producer.init();
      return false;
    }
  }

  /** A request of some kind would be welcome now. */
  wake(): void {
    this.nap.wake();
  }
}

export class Transactor extends TransactionalActor {
  readonly #number: number;
  readonly #places: readonly Place[];
  #nextOrder = 0;

  constructor(actor: Actor, options: TransactorOptions) {
    super(actor, options);
    this.#number = options.number;
    this.#places = options.places;
  }

  protected override async live(producer: TransactionalProducer, isOver: () => boolean): Promise<void> {
    const { random } = this.actor;
    while (!isOver()) {
      const count = random.between(1, batchesMax);
      await this.perform(producer, {
        batches: Array.from({ length: count }, () => this.#batch()),
        offsets: null,
        isCommitted: random.chance(0.7),
      });
      await this.nap.rest(4);
    }
  }

  #batch(): TransactionBatch {
    const place = this.actor.random.pick(this.#places);
    return plainBatch(this.actor, place, {
      number: this.#number,
      count: this.actor.random.between(1, 3),
      nextOrder: () => this.#nextOrder++,
    });
  }
}

/** As many records as that, in not too many batches for any of these places: each request may be the last of its process. */
export function outputBatches(
  actor: Actor,
  count: number,
  output: { readonly targets: readonly Place[]; readonly number: number; readonly nextOrder: () => number },
): readonly TransactionBatch[] {
  const { random } = actor;
  const batches: TransactionBatch[] = [];
  for (let left = count; left > 0; ) {
    const records = Math.min(left, Math.max(random.between(1, 6), Math.ceil(count / outputBatchesMax)));
    left -= records;
    batches.push(plainBatch(actor, random.pick(output.targets), { ...output, count: records }));
  }
  return batches;
}

/** Records without keys, whose values name them. */
export function plainBatch(
  actor: Actor,
  { topic, partition }: Place,
  options: { readonly number: number; readonly count: number; readonly nextOrder: () => number },
): TransactionBatch {
  const { history, random } = actor;
  const timestamp = actor.clock.wallMs();
  const orders = Array.from({ length: options.count }, options.nextOrder);
  const values = orders.map((order) => {
    const filler = "x".repeat(random.below(12) === 0 ? random.below(10_000) : 20);
    return `${topic}-${partition}-${options.number}-${order}-${filler}`;
  });
  return {
    topic,
    partition,
    records: values.map((value) => ({ value, timestamp })),
    tell: (operation: Operation) =>
      values.map((value, at) => {
        history.attempted(value, {
          topic,
          partition,
          producer: options.number,
          order: orders[at] as number,
        });
        return operation.sends(
          history.place(topic, partition),
          recordName(value),
          recordFacts(value, timestamp),
        );
      }),
    committed: (base) => {
      if (base >= 0) history.acknowledged(values, { topic, partition, offset: base });
    },
    aborted: () => {
      for (const value of values) history.refused(value);
    },
  };
}
