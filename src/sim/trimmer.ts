/** Deletes the oldest records of one partition now and then; nobody else does, so it knows where the log may begin. */
import { offset, partitionIndex } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { DeleteRecords } from "../protocol/messages/delete-records.ts";
import { ListedOffset, ListOffsets } from "../protocol/messages/list-offsets.ts";
import type { Actor } from "./actor.ts";
import { Disconnected, type Caller } from "./client.ts";
import { SimConsumer } from "./consumer.ts";
import { Visitor } from "./visitor.ts";

export class Trimmer extends Visitor {
  readonly #topic: string;
  readonly #reader: SimConsumer;
  /** The log begins at least here, as was answered. */
  #least = 0;
  /** And at most here, as was asked. */
  #most = 0;

  constructor(actor: Actor, topic: string) {
    super(actor);
    this.#topic = topic;
    this.#reader = new SimConsumer(actor, topic, 0);
    this.comesFor(DeleteRecords, (client) => this.#trim(client));
    this.comesFor(ListOffsets, async (client) => void (await this.#start(client)));
  }

  /** Where the log begins. */
  async #start(client: Caller): Promise<number> {
    const start = await this.#reader.end(client, ListedOffset.earliest);
    this.answers++;
    if (start < this.#least || start > this.#most) {
      this.violate(
        `${this.#topic} begins at ${start}; ${this.#least} was answered and ${this.#most} asked for`,
      );
    }
    this.#least = Math.max(this.#least, start);
    this.actor.history.startSeen(this.#topic, 0, start);
    return start;
  }

  async #trim(client: Caller): Promise<void> {
    const start = await this.#start(client);
    const end = await this.#reader.end(client, ListedOffset.latest);
    // Now and then everything.
    const wanted = this.actor.random.below(10) === 0 ? end : start + this.actor.random.below(end - start + 1);
    this.#most = Math.max(this.#most, wanted);
    const { topics } = await this.ask(client, DeleteRecords, 2, {
      topics: [
        {
          name: this.#topic,
          partitions: [{ partitionIndex: partitionIndex(0), offset: offset(wanted) }],
        },
      ],
      timeoutMs: 10_000,
    });
    const result = topics[0]?.partitions[0];
    if (result?.errorCode !== ErrorCode.NONE) {
      if (this.isFine(result?.errorCode, "DeleteRecords")) return;
      throw new Disconnected("records were not deleted");
    }
    if (result.lowWatermark !== wanted)
      this.violate(`${this.#topic} was to begin at ${wanted}, and begins at ${result.lowWatermark}`);
    this.#least = Math.max(this.#least, wanted);
    this.actor.history.startSeen(this.#topic, 0, wanted);
  }
}
