/**
 * A process that races with others for the names of a store, and for slots of its journal. It prints what it was told,
 * a JSON object a line; the one that judges compares that with what stands in the store.
 *
 *     node contender.ts STORE NAMES SEED
 */
import { createHash } from "node:crypto";
import { openStorage } from "../../src/cli/start/storage.ts";
import { nodeId } from "../../src/base/ids.ts";
import { systemClock } from "../../src/io/clock.ts";
import { systemRandom } from "../../src/io/random.ts";
import { quietLogger, SummingMeter } from "../../src/io/s3/store-fixture.ts";
import { sha256 } from "../../src/io/sha256.ts";
import { Journal } from "../../src/metadata/journal.ts";
import { create } from "../../src/store/create.ts";

export type Told =
  | { readonly kind: "name"; readonly name: string; readonly won: boolean; readonly digest: string }
  | { readonly kind: "producers"; readonly first: number; readonly count: number }
  | { readonly kind: "epoch"; readonly epoch: number };

const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex").slice(0, 16);
const tell = (told: Told): void => void process.stdout.write(`${JSON.stringify(told)}\n`);
const bytesMax = 60_000;

export async function contend(place: string, names: number): Promise<void> {
  const env = { clock: systemClock, random: systemRandom(), log: quietLogger, meter: new SummingMeter() };
  const choice = { kind: "store", name: place, endpoint: undefined, region: undefined } as const;
  const opened = await openStorage(choice, env, { direct: true, environment: process.env });
  if (opened.storage.kind !== "objects") throw new Error(`${place} is no shared store`);
  const { store } = opened.storage;
  const journal = await Journal.open({ store, env, sha256, walKind: "object" });
  const epoch = await journal.register({
    name: `127.0.0.1:${process.pid}`,
    nodeId: nodeId(-1),
    rack: null,
    listeners: [],
    window: 1,
    software: "contender",
  });
  tell({ kind: "epoch", epoch });
  for (let at = 0; at < names; at++) {
    const name = `race/${String(at).padStart(4, "0")}`;
    const own = env.random.bytes(1 + (env.random.u32() % bytesMax));
    const [created, producers] = await Promise.all([
      create(store, name, own, env),
      at % 5 === 0 ? journal.takeProducerIds() : null,
    ]);
    const bytes = created.kind === "mine" ? own : created.body;
    tell({ kind: "name", name, won: created.kind === "mine", digest: digestOf(bytes) });
    if (producers !== null) tell({ kind: "producers", first: producers.first, count: producers.count });
  }
  await journal.close();
  opened.close();
}

if (import.meta.main) await contend(process.argv[2] ?? "", Number(process.argv[3]));
