/**
 * The program under test: balances of accounts, kept as the events that made them. What is in memory can be
 * built again at any time by reading the events from the start; a wrong calculation is mended by reading
 * them once more with the right one.
 */
import { type Client, createClient } from "holdfast/client";

export type Event =
  | { readonly kind: "deposited"; readonly cents: number }
  | { readonly kind: "withdrawn"; readonly cents: number };

/** Adds one event to a balance. */
export type Rule = (balance: number, event: Event) => number;

export class Accounts implements AsyncDisposable {
  readonly #client: Client;

  constructor(bootstrap: string) {
    this.#client = createClient({ bootstrap, clientId: "accounts" });
  }

  /** Resolves when the event is on disk. Events of one account keep their order: they share a key. */
  async record(account: string, event: Event): Promise<void> {
    await using producer = this.#client.producer();
    await producer.send({ topic: "account-events", key: account, value: JSON.stringify(event) });
  }

  /** Balances by account, from all events that there are now. */
  async rebuild(rule: Rule): Promise<Map<string, number>> {
    const balances = new Map<string, number>();
    await using events = this.#client.consumer({ topic: "account-events", from: "start", until: "end" });
    for await (const { key, value } of events) {
      const account = String(key);
      const event = JSON.parse(String(value)) as Event;
      balances.set(account, rule(balances.get(account) ?? 0, event));
    }
    return balances;
  }

  /**
   * Keeps a view up to date as a member of a group, each event once it is applied; the view's own position is
   * the group's. To build the view anew after a bug, clear it and call `replay` first.
   */
  async follow(view: Map<string, number>, rule: Rule, until: (view: Map<string, number>) => boolean): Promise<void> {
    await using events = this.#client.consumer({ group: "balances", topic: "account-events" });
    for await (const { key, value } of events) {
      const account = String(key);
      view.set(account, rule(view.get(account) ?? 0, JSON.parse(String(value)) as Event));
      if (until(view)) {
        await events.commitSync();
        break;
      }
    }
  }

  /** The group "balances" begins at the first event again, as `holdfast group seek balances --to start` has it. */
  async replay(): Promise<void> {
    await using admin = this.#client.admin();
    const standing = await admin.listGroupOffsets("balances");
    await admin.alterGroupOffsets(
      "balances",
      standing.map(({ topic, partition }) => ({ topic, partition, offset: 0 })),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#client.close();
  }
}
