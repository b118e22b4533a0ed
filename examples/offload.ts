/**
 * The program under test: offload and poll. Who asks for something slow is given a number at once and asks again with it;
 * workers do what was asked for, as many as there are, and put results into a compacted topic by that number.
 */
import { randomUUID } from "node:crypto";
import { type Client, createClient, type Producer, type Queue } from "holdfast/client";

const resultsTopic = "results";
/** Results that are kept for who asks again; the topic keeps them all. */
const resultsMax = 10_000;

export type Answer = { readonly state: "unknown" | "done" | "failed"; readonly result?: string };

/** What a web server would have: `submit` behind POST, `ask` behind GET. */
export class Desk implements AsyncDisposable {
  readonly #client: Client;
  readonly #queue: Queue;
  readonly #answers = new Map<string, Answer>();

  private constructor(client: Client) {
    this.#client = client;
    this.#queue = client.queue("jobs");
  }

  static async open(bootstrap: string): Promise<Desk> {
    const desk = new Desk(createClient({ bootstrap }));
    const results = desk.#client.consumer({ topic: resultsTopic });
    await results.ready();
    void (async () => {
      for await (const { key, value } of results) desk.#keep(String(key), JSON.parse(String(value)) as Answer);
    })();
    return desk;
  }

  /** The number to ask with. When it is there the job is durable, whatever dies. */
  async submit(job: string): Promise<string> {
    const id = randomUUID();
    await this.#queue.send({ key: id, value: job });
    return id;
  }

  ask(id: string): Answer {
    return this.#answers.get(id) ?? { state: "unknown" };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close();
  }

  #keep(id: string, answer: Answer): void {
    this.#answers.set(id, answer);
    const [oldest] = this.#answers.keys();
    if (this.#answers.size > resultsMax && oldest !== undefined) this.#answers.delete(oldest);
  }
}

/** Works until the queue is closed. The result is durable before the job is done: a job without a result comes again. */
export function work(queue: Queue, results: Producer, compute: (job: string) => Promise<string>): Promise<void> {
  return queue.work(
    async ({ key, value, deliveryCount }) => {
      const answer = await compute(String(value)).then(
        (result): Answer => ({ state: "done", result }),
        (cause: unknown): Answer => {
          if (deliveryCount < 3) throw cause;
          return { state: "failed", result: String(cause) };
        },
      );
      await results.send({ topic: resultsTopic, key, value: JSON.stringify(answer) });
    },
    { concurrency: 2, onFailed: () => undefined },
  );
}
