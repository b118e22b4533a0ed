/**
 * The program under test: change data capture from a database that has no log to read. Who changes a row puts
 * the change into the table `outbox` in the same database transaction; a relay brings it to a topic. How far
 * the relay has got is a record in the same transaction as the changes, so that after a crash nothing is missed
 * and nothing is there twice. The first time it writes a snapshot of the table, and where in the outbox that was
 * taken: what changes meanwhile comes behind it.
 */
import type { DatabaseSync } from "node:sqlite";
import { type Client, createClient, type TransactionalProducer } from "holdfast/client";

export function createTables(db: DatabaseSync): void {
  db.exec(`
    CREATE TABLE stock (article TEXT PRIMARY KEY, pieces INTEGER NOT NULL);
    CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, article TEXT NOT NULL, pieces INTEGER);
  `);
}

/** `pieces` null: the article is gone. Both tables change, or neither. */
export function change(db: DatabaseSync, article: string, pieces: number | null): void {
  db.exec("BEGIN IMMEDIATE");
  if (pieces === null) db.prepare("DELETE FROM stock WHERE article = ?").run(article);
  else db.prepare("INSERT OR REPLACE INTO stock VALUES (?, ?)").run(article, pieces);
  db.prepare("INSERT INTO outbox (article, pieces) VALUES (?, ?)").run(article, pieces);
  db.exec("COMMIT");
}

interface Change {
  readonly article: string;
  readonly pieces: number | null;
}

const changesTopic = "stock";
const positionTopic = "stock-position";
const changesMax = 100;

export class Relay implements AsyncDisposable {
  readonly #db: DatabaseSync;
  readonly #client: Client;
  readonly #producer: TransactionalProducer;
  /** The last row of the outbox that is in the topic; null: nothing is yet. */
  #position: number | null = null;

  private constructor(bootstrap: string, db: DatabaseSync) {
    this.#db = db;
    this.#client = createClient({ bootstrap, clientId: "relay" });
    this.#producer = this.#client.producer({ transactionalId: "stock-relay" });
  }

  /** Takes over from whoever relayed before, where that got to. */
  static async start(bootstrap: string, db: DatabaseSync): Promise<Relay> {
    const relay = new Relay(bootstrap, db);
    // First: from now on a predecessor can commit nothing more, and what it committed can be read.
    await relay.#producer.connect();
    const positions = relay.#client.consumer({ topic: positionTopic, until: "end" });
    for await (const { value } of positions) relay.#position = Number(String(value));
    await positions.close();
    return relay;
  }

  /** Brings over what there is, at most `changesMax` changes; how many. Rejects with `ProducerFencedError` when another has taken over. */
  async round(): Promise<number> {
    const { changes, position } = this.#position === null ? this.#snapshot() : this.#next(this.#position);
    if (position === this.#position) return 0;
    await this.#producer.transaction((tx) => {
      for (const { article, pieces } of changes) {
        void tx.send({ topic: changesTopic, key: article, value: pieces === null ? null : String(pieces) });
      }
      void tx.send({ topic: positionTopic, key: "outbox", value: String(position) });
    });
    this.#position = position;
    // It is in the topic for good; to delete it once more does no harm.
    this.#db.prepare("DELETE FROM outbox WHERE id <= ?").run(position);
    return changes.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close();
  }

  /** The table, and the last change that it has seen: read in one database transaction. */
  #snapshot(): { readonly changes: readonly Change[]; readonly position: number } {
    this.#db.exec("BEGIN");
    const changes = this.#db.prepare("SELECT article, pieces FROM stock").all() as unknown as Change[];
    const last = this.#db.prepare("SELECT coalesce(max(id), 0) AS id FROM outbox").get() as { id: number };
    this.#db.exec("COMMIT");
    return { changes, position: last.id };
  }

  #next(position: number): { readonly changes: readonly Change[]; readonly position: number } {
    const rows = this.#db
      .prepare("SELECT id, article, pieces FROM outbox WHERE id > ? ORDER BY id LIMIT ?")
      .all(position, changesMax) as unknown as (Change & { readonly id: number })[];
    return { changes: rows, position: rows.at(-1)?.id ?? position };
  }
}

/** The table as whoever reads the topic has it. */
export async function replica(bootstrap: string): Promise<Map<string, number>> {
  await using client = createClient({ bootstrap });
  const stock = new Map<string, number>();
  for await (const { key, value } of client.consumer({ topic: changesTopic, until: "end" })) {
    if (value === null) stock.delete(String(key));
    else stock.set(String(key), Number(String(value)));
  }
  return stock;
}
