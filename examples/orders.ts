/**
 * The program under test: orders go to every department (fan-out: a group each), and the workers of a
 * department share them (load balancing: the members of one group).
 */
import { type Client, createClient, type GroupConsumer } from "holdfast/client";

export type Work = (order: string, worker: string) => Promise<void>;

/** One worker of a department. It stops when it is closed, and what it had finished by then is not done again. */
export class Worker implements AsyncDisposable {
  readonly #client: Client;
  readonly #consumer: GroupConsumer;
  /** Rejects when the work on an order failed: that order will be worked on again. */
  readonly done: Promise<void>;

  constructor(bootstrap: string, facts: { department: string; name: string; work: Work }) {
    const { department, name, work } = facts;
    this.#client = createClient({ bootstrap, clientId: name });
    this.#consumer = this.#client.consumer({ group: department, topic: "orders" });
    this.done = this.#consumer.run({
      concurrency: 4,
      handle: (record) => work(String(record.value), name),
    });
  }

  /** Resolves when this worker has been given its part of the orders. */
  ready(): Promise<void> {
    return this.#consumer.ready();
  }

  /** The partitions that this worker reads now. */
  get partitions(): readonly number[] {
    return this.#consumer.assignment.map(({ partition }) => partition);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#consumer.close();
    await this.done;
    await this.#client.close();
  }
}
