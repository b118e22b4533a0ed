/**
 * The program under test: reads orders and writes an invoice for each, exactly once for whoever reads committed
 * records. What is read, what is written and how far the group has got are one transaction, so that a crash
 * anywhere leaves all of it or nothing.
 */
import { type Client, createClient, type GroupConsumer, type TransactionalProducer } from "holdfast/client";

export interface Invoice {
  readonly order: string;
  readonly cents: number;
}

export class Invoicer implements AsyncDisposable {
  readonly #client: Client;
  readonly #consumer: GroupConsumer;
  readonly #producer: TransactionalProducer;
  /** Rejects when an order cannot be priced, or when another process has come with this one's name. */
  readonly done: Promise<void>;

  /** `name`: of this process, the same after a restart. The next one with it puts this one out. */
  constructor(bootstrap: string, name: string, price: (order: string) => number) {
    this.#client = createClient({ bootstrap, clientId: name });
    this.#consumer = this.#client.consumer({ group: "invoicing", topic: "orders" });
    this.#producer = this.#client.producer({ transactionalId: `invoicer-${name}` });
    const transforming = this.#consumer.transform(this.#producer, {
      handle: ({ key, value }, { send }) => {
        const order = String(value);
        const invoice: Invoice = { order, cents: price(order) };
        void send({ topic: "invoices", key, value: JSON.stringify(invoice) });
      },
      recordsMax: 10,
    });
    // Whatever ends it: the other members of the group go on with what was this one's.
    this.done = transforming.finally(() => this.#consumer.close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#consumer.close();
    await this.done.catch(() => undefined);
    await this.#client.close();
  }
}

/** All invoices that are committed by now. */
export async function invoices(bootstrap: string): Promise<Invoice[]> {
  await using client = createClient({ bootstrap });
  const found: Invoice[] = [];
  for await (const { value } of client.consumer({ topic: "invoices", until: "end" })) {
    found.push(JSON.parse(String(value)) as Invoice);
  }
  return found;
}
