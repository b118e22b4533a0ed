/**
 * The project's own producer as an inhabitant of a simulated world: sends records of one partition, notes
 * what its promises say, and comes to its end when every promise has settled. It sends nothing a second
 * time itself, so every value must be found once, or not at all where its promise said so.
 */
import type { Operation } from "../audit/operation.ts";
import { createClient } from "../client/client.ts";
import { DeliveryError } from "../client/errors.ts";
import type { ClientPorts } from "../client/settings.ts";
import type { Actor } from "./actor.ts";
import { recordFacts, recordName } from "./history.ts";

export class ClientProducer {
  readonly #actor: Actor;
  readonly #ports: ClientPorts;
  readonly #options: {
    readonly number: number;
    readonly topic: string;
    readonly partition: number;
    readonly port: number;
    /** Default: the broker at `port` alone. */
    readonly bootstrap?: string;
  };

  constructor(
    actor: Actor,
    ports: ClientPorts,
    options: {
      readonly number: number;
      readonly topic: string;
      readonly partition: number;
      readonly port: number;
      /** Default: the broker at `port` alone. */
      readonly bootstrap?: string;
    },
  ) {
    this.#actor = actor;
    this.#ports = ports;
    this.#options = options;
  }

  /** Writes until `isOver`, then until every promise has settled. */
  async run(isOver: () => boolean): Promise<void> {
    const { number, topic, partition, port, bootstrap } = this.#options;
    const { random, pace } = this.#actor;
    const client = createClient(
      {
        bootstrap: bootstrap ?? `127.0.0.1:${port}`,
        clientId: `producer-${number}`,
        bootstrapTimeoutMs: Math.max(...pace.deliveryTimeoutsMs),
      },
      this.#ports,
    );
    const producer = client.producer({
      deliveryTimeoutMs: random.pick(pace.deliveryTimeoutsMs),
      batchBytes: random.pick([300, 10_000, 200_000]),
      bufferBytes: random.pick([50_000, 5_000_000]),
      inFlightMax: random.pick([1, 5]),
      lingerMs: random.pick([0, 3]),
      compression: random.pick(["none", "none", "gzip", "zstd"]),
    });
    const flying = new Set<Promise<void>>();
    for (let order = 0; !isOver(); ) {
      await producer.ready();
      for (let left = 1 + random.below(5); left > 0; left--) {
        const filler = "x".repeat(random.below(8) === 0 ? random.below(30_000) : 20);
        const value = `${topic}-${partition}-${number}-${order}-${filler}`;
        this.#actor.history.attempted(value, { topic, partition, producer: number, order: order++ });
        const operation = this.#actor.begin("send");
        const place = this.#actor.history.place(topic, partition);
        const step = operation.sends(place, recordName(value), recordFacts(value));
        const one = this.#follow({ value, operation, step }, producer.send({ topic, partition, value }));
        flying.add(one);
        void one.then(() => flying.delete(one));
      }
      await this.#actor.rest(6);
    }
    await Promise.all(flying);
    await client.close();
  }

  async #follow(
    {
      value,
      operation,
      step,
    }: { readonly value: string; readonly operation: Operation; readonly step: number },
    sent: Promise<{ readonly offset: number }>,
  ): Promise<void> {
    const { topic, partition } = this.#options;
    const { history } = this.#actor;
    try {
      const { offset } = await sent;
      // −1: a retry of a batch that the broker took so long ago that it does not know where.
      if (offset >= 0) {
        history.acknowledged([value], { topic, partition, offset });
        operation.stored(step, offset);
      }
      operation.ok(this.#actor.nowMs);
      this.#actor.record(`ack ${topic}/${partition}@${offset}`);
    } catch (cause) {
      if (!(cause instanceof DeliveryError)) throw cause;
      this.#actor.record(`${cause.fate} ${topic}/${partition}: ${cause.message}`);
      if (cause.fate === "not-written") {
        history.refused(value);
        operation.fail(this.#actor.nowMs);
      } else operation.unknown(this.#actor.nowMs);
    }
  }
}
