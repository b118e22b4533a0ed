/**
 * Change data capture: Debezium's connector for PostgreSQL, in Kafka Connect, takes a snapshot of a table and then
 * every change of it into a topic, while the table is worked on and the worker and the broker are killed
 * (`kill -9`). The snapshot and the changes behind it must be what was done to the table: no change missing, none
 * twice, in the order of the database's log. See framework.ts for the environment.
 */
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { debeziumClasspath, loopback } from "../../tools/toolbox.ts";
import { connectWorker, type Worker } from "./connect-worker.ts";
import {
  type CommittedRecord,
  conforms,
  endedWell,
  eventually,
  expectSame,
  full,
  readCommitted,
  type Scene,
  startJava,
} from "./framework.ts";
import { type Postgres, startPostgres } from "./postgres.ts";

const kills = full ? 10 : 1;
const rowCount = full ? 5_000 : 500;
const pauseMs = 5;
const topic = "shop.public.orders";
const catchUpMs = 180_000;

conforms(
  "Debezium for PostgreSQL 17",
  "takes a snapshot of a table and every change of it, each exactly once (exactly.once.source.support)",
  full ? 1_200_000 : 300_000,
  async (scene) => {
    const database = await startPostgres();
    try {
      return await captured(scene, database);
    } finally {
      await database.stop();
    }
  },
  "3.6.3",
);

/** What was done to the table, or what the topic says of it: an operation, a row, and the number of the change. */
interface Change {
  readonly operation: string;
  readonly id: number;
  /** Of a row that was deleted nothing but its key is told. */
  readonly change: number | undefined;
}

async function captured(scene: Scene, database: Postgres) {
  const { random } = scene;
  const broker = await scene.broker("broker");
  const orders = await worked(database);
  const jars = await debeziumClasspath();
  const worker = await connectWorker(broker, scene.directory, { exactlyOnce: "enabled", jars });
  await worker.start();
  await worker.configure("orders", connectorOf(database));
  const told = async (): Promise<Change[]> => (await readCommitted(broker.address, topic)).map(changeOf);
  // A snapshot that is interrupted is taken again, from the beginning: that is Debezium's own.
  await moved(worker, told, rowCount);
  let seen = rowCount;
  for (let times = 0; times < kills; times++) {
    if (random.below(4) > 0) seen = await moved(worker, told, seen);
    await sleep(random.below(2_000));
    if (times % 3 === 0) {
      await broker.kill();
      await broker.start();
      await sleep(random.below(1_000));
    }
    await worker.end("SIGKILL");
    await worker.start();
  }
  await moved(worker, told, seen);
  const done = await orders.end();
  const last = done.at(-1);
  const all = await eventually("the last change is told", catchUpMs, async () => {
    await worker.expectNoFailure();
    const changes = await told();
    return isSame(changes.at(-1), last) ? changes : undefined;
  });
  await worker.end("SIGTERM");
  const snapshot = all.filter(({ operation }) => operation === "r");
  const stream = all.filter(({ operation }) => operation !== "r");
  const behind = done.slice(done.length - stream.length);
  expectSame("changes", stream.map(lineOf), behind.map(lineOf));
  // The table as it was just before the first change that is told.
  const table = tableAfter(done.slice(0, done.length - stream.length));
  const rows = Array.from(table, ([id, change]) => `${id} ${change}`);
  expectSame(
    "rows",
    snapshot.map(({ id, change }) => `${id} ${change}`).toSorted(inOrder),
    rows.toSorted(inOrder),
  );
  return { recordCount: all.length, snapshot: snapshot.length, changes: stream.length, kills };
}

/** Waits until more is told than before; answers how much. */
async function moved(worker: Worker, told: () => Promise<Change[]>, before: number): Promise<number> {
  return eventually("more changes are told", catchUpMs, async () => {
    await worker.expectNoFailure();
    const { length } = await told();
    return length > before ? length : undefined;
  });
}

/** The table, worked on until told to end; answers what was done to it then. */
async function worked(database: Postgres): Promise<{ end(): Promise<Change[]> }> {
  const url = `jdbc:postgresql://${loopback}:${database.port}/postgres?user=${database.user}`;
  const done: Change[] = [];
  let isReady = false;
  const input = new PassThrough();
  const process = await startJava("Orders", [url, "1", `${rowCount}`, `${pauseMs}`], {
    input,
    jars: await debeziumClasspath(),
    onLine: (line) => {
      if (line === "ready") isReady = true;
      const [operation = "", id, change] = line.split(" ");
      if (change !== undefined) done.push({ operation, id: Number(id), change: Number(change) });
    },
  });
  await eventually("the table is filled", 60_000, () => {
    assert.ok(process.isRunning(), "the table is worked on");
    return isReady || undefined;
  });
  return {
    end: async () => {
      input.end();
      await endedWell("the work on the table", process);
      return done;
    },
  };
}

function connectorOf({ port, user }: Postgres): Record<string, string> {
  const json = "org.apache.kafka.connect.json.JsonConverter";
  return {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "tasks.max": "1",
    "plugin.name": "pgoutput",
    "publication.autocreate.mode": "filtered",
    "database.hostname": loopback,
    "database.port": `${port}`,
    "database.user": user,
    "database.password": "none",
    "database.dbname": "postgres",
    "topic.prefix": "shop",
    "table.include.list": "public.orders",
    "tombstones.on.delete": "false",
    "exactly.once.support": "required",
    "topic.creation.default.partitions": "1",
    "topic.creation.default.replication.factor": "1",
    "key.converter": json,
    "value.converter": json,
    "key.converter.schemas.enable": "false",
    "value.converter.schemas.enable": "false",
  };
}

function changeOf({ key, value }: CommittedRecord): Change {
  const { id } = JSON.parse(key) as { readonly id: number };
  const { op, after } = JSON.parse(value) as {
    readonly op: string;
    readonly after: { readonly change: number } | null;
  };
  return { operation: op, id, change: after?.change };
}

/** Of a row that was deleted, which change did it is not told. */
const lineOf = ({ operation, id, change }: Change): string =>
  operation === "d" ? `d ${id}` : `${operation} ${id} ${change}`;

const inOrder = (a: string, b: string): number => a.localeCompare(b);

function isSame(told: Change | undefined, done: Change | undefined): boolean {
  if (told?.operation !== done?.operation || told?.id !== done?.id) return false;
  return told?.operation === "d" || told?.change === done?.change;
}

function tableAfter(changes: readonly Change[]): Map<number, number | undefined> {
  const table = new Map<number, number | undefined>();
  for (const { operation, id, change } of changes) {
    if (operation === "d") table.delete(id);
    else table.set(id, change);
  }
  return table;
}
