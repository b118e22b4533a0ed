/** Follows a compacted topic and keeps what it says of each key, as an application keeps its table. */
import { type Offset, offset } from "../base/ids.ts";
import { ListedOffset } from "../protocol/messages/list-offsets.ts";
import type { Actor } from "./actor.ts";
import { Disconnected, type Caller } from "./client.ts";
import { SimConsumer } from "./consumer.ts";
import { type TableHistory, TableView } from "./table-history.ts";

export class TableReader {
  readonly #actor: Actor;
  readonly #consumer: SimConsumer;
  readonly #history: TableHistory;
  /** Shorter than `delete.retention.ms`: whoever was away for longer may have missed tombstones, and begins anew. */
  readonly #awayMaxMs: number;
  readonly #napMs: number;
  #view = new TableView();
  #position: Offset | null = null;
  /** Whether the last answer brought it to the end of the log. */
  #isAtEnd = false;
  /** When it was at the end last. */
  #atEndMs: number;

  constructor(
    actor: Actor,
    options: {
      readonly topic: string;
      readonly history: TableHistory;
      readonly awayMaxMs: number;
      /** Between two reads it rests for up to so long. */
      readonly napMs: number;
    },
  ) {
    this.#actor = actor;
    this.#consumer = new SimConsumer(actor, options.topic, 0);
    this.#history = options.history;
    this.#awayMaxMs = options.awayMaxMs;
    this.#napMs = options.napMs;
    this.#atEndMs = actor.nowMs;
  }

  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      try {
        const client = await this.#actor.connect("table-reader");
        try {
          while (!isOver()) {
            if (this.#actor.random.below(60) === 0) this.#position = null;
            await this.#read(client);
            if (this.#napMs > 0) await this.#actor.wait(this.#napMs);
          }
        } finally {
          client.close();
        }
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
        await this.#actor.pause(20);
      }
      if (this.#actor.hasDied()) this.#position = null;
    }
  }

  /** Reads all of it once more, from its start. How many records are left. Rejects with `Disconnected`. */
  async readAll(): Promise<number> {
    const client = await this.#actor.connect("judge");
    try {
      this.#position = null;
      let records = 0;
      do records += await this.#read(client);
      while (!this.#isAtEnd);
      this.#consumer.reachedEnd();
      return records;
    } finally {
      client.close();
    }
  }

  /** One answer. How many records were in it. */
  async #read(client: Caller): Promise<number> {
    if (this.#actor.nowMs - this.#atEndMs > this.#awayMaxMs) this.#position = null;
    if (this.#position === null) {
      this.#view = new TableView();
      this.#atEndMs = this.#actor.nowMs;
      this.#position = offset(await this.#consumer.end(client, ListedOffset.earliest));
    }
    const floor = this.#history.floor();
    let records = 0;
    const sentMs = this.#actor.nowMs;
    const next = await this.#consumer.fetch(client, this.#position, (value, _at, _timestampMs, name) => {
      records++;
      this.#history.shown(this.#view, name, value);
    });
    if (next === null) throw new Disconnected("the table could not be read");
    this.#position = next;
    this.#isAtEnd = this.#consumer.hasAll && (await this.#isEnd(client, next));
    if (this.#isAtEnd) {
      this.#history.judge(this.#view, floor);
      this.#atEndMs = sentMs;
    }
    return records;
  }

  /** Who was replaced and has not heard of it yet serves the log as it was in its time; an end that is asked for it must prove. */
  async #isEnd(client: Caller, position: Offset): Promise<boolean> {
    if (!this.#actor.hasSeveralBrokers) return true;
    return (await this.#consumer.end(client, ListedOffset.latest)) <= position;
  }
}
