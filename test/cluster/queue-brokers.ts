/** The brokers of a storm of queues: killed, stopped, restarted, and brought back when others have replaced them. */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Broker } from "../../tools/brokers.ts";
import { endOfZombie, expectClean } from "./storm.ts";

export interface QueueBrokersOptions {
  /** One, or those of a cluster. */
  readonly brokers: readonly Broker[];
  /** Where what they said is kept when they end. */
  readonly directory: string;
  /** From one event to the next, and how long one that was killed stays away, in ms. */
  readonly everyMs: number;
  readonly awayMs: number;
  readonly random: () => number;
  readonly isOver: () => boolean;
  readonly tell: (line: string) => void;
  readonly fail: (fault: string) => void;
}

type BrokerEvent = "kill" | "all" | "pause" | "restart";
const aloneEvents: readonly BrokerEvent[] = ["kill", "kill", "kill", "pause", "restart"];
const clusterEvents: readonly BrokerEvent[] = ["kill", "kill", "kill", "pause", "pause", "restart", "all"];

/** Of three brokers: longer than the others are patient. */
const zombieMs = 12_000;

export class QueueBrokers {
  readonly #options: QueueBrokersOptions;
  readonly #brokers: readonly Broker[];
  readonly #happened: Record<string, number> = {};
  /** Something is done to a broker. */
  #isHappening = false;

  constructor(options: QueueBrokersOptions) {
    this.#options = options;
    this.#brokers = options.brokers;
  }

  /** How often what happened to them. */
  get counts(): Readonly<Record<string, number>> {
    return this.#happened;
  }

  get #isAlone(): boolean {
    return this.#brokers.length === 1;
  }

  /** Resolves when the storm is over, and all of them run. */
  async rage(): Promise<void> {
    await Promise.all([this.#storm(), this.#bringBack()]);
  }

  /** Asks each to end. */
  async end(): Promise<void> {
    for (const broker of this.#brokers) await this.#end(broker);
  }

  async #storm(): Promise<void> {
    const { everyMs, random, isOver, tell, fail } = this.#options;
    const kinds = this.#isAlone ? aloneEvents : clusterEvents;
    while (!isOver()) {
      await sleep(everyMs * (0.5 + random()));
      while (this.#isHappening) await sleep(100);
      if (isOver()) return;
      const kind = kinds[Math.floor(random() * kinds.length)] ?? "kill";
      const broker = this.#brokers[Math.floor(random() * this.#brokers.length)] as Broker;
      if (!isAlive(broker.pid())) continue;
      this.#happened[kind] = (this.#happened[kind] ?? 0) + 1;
      tell(`broker ${this.#brokers.indexOf(broker)}: ${kind}`);
      this.#isHappening = true;
      try {
        await this.#happen(kind, broker);
      } catch (cause) {
        fail(`${kind} of a broker: ${String(cause)}`);
      } finally {
        this.#isHappening = false;
      }
    }
  }

  /** Others may have taken one for dead that was slow: it ends by itself, and says so, and is started again. */
  async #bringBack(): Promise<void> {
    const { isOver, tell, fail } = this.#options;
    while (!isOver()) {
      await sleep(1_000);
      for (const broker of this.#brokers) {
        if (this.#isHappening || isAlive(broker.pid())) continue;
        this.#happened["replaced"] = (this.#happened["replaced"] ?? 0) + 1;
        tell(`broker ${this.#brokers.indexOf(broker)}: was replaced`);
        this.#isHappening = true;
        try {
          await endOfZombie(broker);
          await this.#keepSaid(broker);
          await broker.start();
        } catch (cause) {
          fail(`a broker ended by itself: ${String(cause)}`);
        } finally {
          this.#isHappening = false;
        }
      }
    }
  }

  /** What an ended broker said, as evidence. */
  async #keepSaid(broker: Broker): Promise<void> {
    const { stdout, stderr } = await broker.whenEnded(0);
    const at = this.#brokers.indexOf(broker);
    appendFileSync(
      join(this.#options.directory, "brokers.log"),
      `── broker ${at}, until ${Date.now()}\n${stdout}\n${stderr}\n`,
    );
  }

  /** Resolves when all run again. */
  async #happen(kind: BrokerEvent, broker: Broker): Promise<void> {
    const { awayMs, random } = this.#options;
    switch (kind) {
      case "kill":
        await broker.kill();
        await this.#keepSaid(broker);
        await sleep(this.#isAlone ? awayMs : awayMs + random() * zombieMs);
        await broker.start();
        return;
      case "all":
        await Promise.all(this.#brokers.map((each) => each.kill()));
        for (const each of this.#brokers) await this.#keepSaid(each);
        await sleep(awayMs);
        await Promise.all(this.#brokers.map((each) => each.start()));
        return;
      case "restart":
        await expectClean(broker);
        await this.#keepSaid(broker);
        await broker.start();
        return;
      case "pause":
        process.kill(broker.pid(), "SIGSTOP");
        await sleep(this.#isAlone ? awayMs : zombieMs);
        // Others may have taken over, or have been too busy to: if it was replaced, it ends, and is brought back.
        process.kill(broker.pid(), "SIGCONT");
        return;
      default:
        kind satisfies never;
    }
  }

  async #end(broker: Broker): Promise<void> {
    const { code, signal, stderr } = await broker.stop();
    await this.#keepSaid(broker);
    if (code !== 0) this.#options.fail(`a broker ended with ${code ?? signal}: ${stderr.slice(-2000)}`);
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
