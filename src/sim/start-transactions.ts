/** Lets producers of transactions begin: some that only write, and some that transform what is read. */
import type { Actor } from "./actor.ts";
import { SimConsumer } from "./consumer.ts";
import type { History } from "./history.ts";
import type { SimRandom } from "./random.ts";
import type { TransactionalActor } from "./transactor.ts";
import { TransactionalId } from "./transactional-id.ts";
import type { Place, TransactionProtocol } from "./transactional-producer.ts";
import { Transactor } from "./transactor.ts";
import { Transformer } from "./transformer.ts";

/** So that no other producer of the world has their numbers. */
const firstNumber = 200;

export interface Transactions {
  readonly actors: readonly TransactionalActor[];
  readonly ids: readonly TransactionalId[];
  /** Nobody of them writes anywhere but to `targets` any more. */
  readonly written: Promise<unknown>;
  readonly done: Promise<unknown>;
  /** Each reads one partition for one group, and ends when it is told where that ends. */
  readonly transformers: readonly {
    readonly group: string;
    readonly source: Place;
    readonly finish: (end: number) => void;
  }[];
}

/** The transformers end when they have transformed all that was written. */
export async function finishTransformers(
  written: Promise<unknown>,
  transactions: Transactions | null,
  actor: Actor,
): Promise<void> {
  await written;
  for (const { source, finish } of transactions?.transformers ?? [])
    finish(await new SimConsumer(actor, source.topic, source.partition).readEnd());
}

export function startTransactions(
  draw: SimRandom,
  options: {
    readonly history: History;
    readonly places: readonly Place[];
    /** Into which only transformers write. */
    readonly targets: readonly Place[];
    /** How many ids of producers that only write, and of transformers. */
    readonly writers: number;
    readonly transformers: number;
    /** Topics that may be without records, so that what was committed there expires. */
    readonly mayExpire?: (topic: string) => boolean;
    readonly actor: (name: string) => Actor;
    readonly isOver: () => boolean;
  },
): Transactions {
  const { history, places, targets, actor, isOver } = options;
  for (const { topic } of [...places, ...targets]) history.takesTransactions(topic);
  let number = firstNumber;
  const ids: TransactionalId[] = [];
  const anId = (name: string): TransactionalId => {
    const id = new TransactionalId(name);
    ids.push(id);
    return id;
  };
  // By turns, beginning with either.
  const protocols = draw.pick([["old", "new"] as const, ["new", "old"] as const]);
  const writers = Array.from({ length: options.writers }, (_, at) => {
    const id = anId(`writer-${at}`);
    const protocol = protocols[at % 2] as TransactionProtocol;
    return Array.from({ length: draw.pick([1, 1, 2]) }, (_unused, copy) => {
      const self = actor(`transactor-${at}-${copy}`);
      return new Transactor(self, { id, protocol, number: number++, places });
    });
  }).flat();
  const transformers = Array.from({ length: options.transformers }, (_, at) => {
    const id = anId(`transformer-${at}`);
    const group = `transformers-${at}`;
    const source = draw.pick(places);
    const protocol = protocols[at % 2] as TransactionProtocol;
    const copies = Array.from({ length: draw.pick([1, 1, 2]) }, (_unused, copy) => {
      const self = actor(`transformer-${at}-${copy}`);
      const mayExpire = options.mayExpire?.(source.topic) ?? false;
      return new Transformer(self, { id, protocol, group, source, targets, number: number++, mayExpire });
    });
    return { group, source, copies, finish: (end: number) => copies.forEach((copy) => copy.finish(end)) };
  });
  const written = Promise.all(writers.map((writer) => writer.run(isOver)));
  const transforming = transformers.flatMap(({ copies }) => copies.map((copy) => copy.run(isOver)));
  return {
    ids,
    actors: [...writers, ...transformers.flatMap(({ copies }) => copies)],
    written,
    done: Promise.all([written, ...transforming]),
    transformers,
  };
}
