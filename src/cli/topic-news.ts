/** A topic that was made because somebody wrote to it: said, with what was perhaps meant, so that a typo does not go unseen. */
import { HoldfastError } from "../base/errors.ts";
import type { Client } from "../client/client.ts";
import { similarNames } from "../client/similar-names.ts";
import { paintFor, type Terminal } from "./terminal.ts";

export class TopicNews {
  readonly #client: Client;
  readonly #topic: string;
  /** Names of all topics before; null: this one was among them. */
  readonly #others: readonly string[] | null;

  private constructor(client: Client, topic: string, others: readonly string[] | null) {
    this.#client = client;
    this.#topic = topic;
    this.#others = others;
  }

  /** Looks before anything is written. Rejects as any first call does: no broker, not Kafka. */
  static async before(client: Client, topic: string): Promise<TopicNews> {
    const names = (await client.admin().listTopics({ internal: true })).map(({ name }) => name);
    return new TopicNews(client, topic, names.includes(topic) ? null : names);
  }

  async tell(terminal: Terminal): Promise<void> {
    if (this.#others === null) return;
    let partitions: number | undefined;
    try {
      const topics = await this.#client.admin().listTopics({ internal: true });
      partitions = topics.find(({ name }) => name === this.#topic)?.partitions;
    } catch (error) {
      // The records are acknowledged, and that stays true; only the number of partitions is not known.
      if (!(error instanceof HoldfastError)) throw error;
    }
    const [near] = similarNames(this.#topic, this.#others);
    const count =
      partitions === undefined ? "" : partitions === 1 ? ": 1 partition" : `: ${partitions} partitions`;
    const meant =
      near === undefined
        ? ""
        : ` Did you mean "${near}"? holdfast topic delete ${this.#topic} takes the new one back.`;
    await terminal.stderr.write(
      `${paintFor(terminal.stderr, terminal.env)("dim", `topic "${this.#topic}" created${count}.${meant}`)}\n`,
    );
  }
}
