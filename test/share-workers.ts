/** What tests of share groups have in common: workers in processes of their own, before a door that can be meddled with. */
import type { TestContext } from "node:test";
import type { Message } from "../src/client/share/message.ts";
import type { ShareConsumerOptions } from "../src/client/share/options.ts";
import type { ShareConsumer } from "../src/client/share/share-consumer.ts";
import { Door } from "./door.ts";
import { Process } from "./group-fixture.ts";
import { aBroker, type SimulatedBroker } from "./simulated-broker.ts";

export const lockMs = 15_000;

export class ShareWorld {
  readonly #test: TestContext;
  readonly broker: SimulatedBroker;
  readonly door: Door;

  private constructor(test: TestContext, broker: SimulatedBroker, door: Door) {
    this.#test = test;
    this.broker = broker;
    this.door = door;
  }

  /** Topic t with `partitions`, and group g, which begins at the start and locks for `lockMs`. */
  static async make(test: TestContext, partitions = 2): Promise<ShareWorld> {
    const broker = await aBroker(test, { "group.share.record.lock.duration.ms": String(lockMs) });
    await broker.createTopic("t", partitions);
    const world = new ShareWorld(test, broker, await Door.before(broker));
    const admin = world.process().client.admin();
    await world.run(admin.alterConfigs([{ group: "g", set: { "share.auto.offset.reset": "earliest" } }]));
    return world;
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.broker.scheduler.runUntil(promise);
  }

  pass(ms: number): Promise<void> {
    return this.broker.scheduler.run({ untilMs: this.broker.scheduler.nowMs + ms });
  }

  /** In the world's time. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.broker.scheduler.schedule(ms, resolve));
  }

  process(): Process {
    return new Process(this.#test, this.broker, this.door.bootstrap);
  }

  worker(options: Partial<ShareConsumerOptions> = {}, process = this.process()): ShareConsumer {
    return process.client.shareConsumer({ group: "g", topic: "t", ...options });
  }

  /** Messages that are not done. */
  async waiting(): Promise<number> {
    const offsets = await this.run(this.process().client.admin().listShareGroupOffsets("g"));
    return offsets.reduce((sum, { lag }) => sum + lag, 0);
  }
}

export const textOf = ({ value }: Message): string => String(value);

/** The next `count` messages of a worker. */
export async function take(worker: ShareConsumer, count: number): Promise<Message[]> {
  const taken: Message[] = [];
  for await (const message of worker) if (taken.push(message) === count) break;
  return taken;
}

/** Resolves when the check holds, in the world's time. */
export async function until(world: ShareWorld, holds: () => boolean, limitMs = 600_000): Promise<void> {
  const endMs = world.broker.scheduler.nowMs + limitMs;
  while (!holds()) {
    if (world.broker.scheduler.nowMs > endMs) throw new Error(`it does not hold after ${limitMs} ms`);
    await world.sleep(20);
  }
}
