/**
 * Real processes on one store, without a lock: a name is created once, whoever races and whoever is killed, and the
 * journal gives nothing twice. Over a directory that they share, and over MinIO.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { systemClock } from "../../src/io/clock.ts";
import { systemRandom } from "../../src/io/random.ts";
import { openStorage } from "../../src/cli/start/storage.ts";
import { quietLogger, SummingMeter } from "../../src/io/s3/store-fixture.ts";
import { start } from "../../tools/processes.ts";
import type { Told } from "./contender.ts";
import { bucket, startMinio } from "./minio.ts";

const scale = Number(process.env["HOLDFAST_RACES"] ?? 1);
const names = 150 * scale;
const contenders = 4;
const kills = 6 * scale;
const env = { clock: systemClock, random: systemRandom(), log: quietLogger, meter: new SummingMeter() };
const scratch = mkdtempSync(join(tmpdir(), "holdfast-race-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** Races until all contenders came to the end; `kills` times one is killed on its way, and another one takes its place. */
async function race(place: string, settings: Readonly<Record<string, string>>): Promise<readonly Told[]> {
  const told: Told[] = [];
  let killed = 0;
  const run = async (): Promise<void> => {
    for (;;) {
      const mayDie = killed < kills;
      let lines = 0;
      const lifeLines = mayDie ? 1 + (env.random.u32() % 40) : Infinity;
      const args = [join(import.meta.dirname, "contender.ts"), place, String(names)];
      const child = start(process.execPath, args, {
        env: { HOME: scratch, ...settings },
        timeoutMs: 240_000,
        onLine(line) {
          // The last line of one that was killed may be cut.
          if (!line.endsWith("}")) return;
          told.push(JSON.parse(line) as Told);
          if (++lines >= lifeLines && killed < kills) {
            killed++;
            child.signal("SIGKILL");
          }
        },
      });
      const { code, stderr } = await child.ended;
      if (code === 0) return;
      assert.equal(code, null, stderr);
    }
  };
  await Promise.all(Array.from({ length: contenders }, run));
  assert.ok(killed > 0, "somebody was killed");
  return told;
}

async function judge(place: string, told: readonly Told[]): Promise<string> {
  const choice = { kind: "store", name: place, endpoint: undefined, region: undefined } as const;
  const opened = await openStorage(choice, env, { direct: true, environment: process.env });
  assert.equal(opened.storage.kind, "objects");
  const { store } = opened.storage as Extract<typeof opened.storage, { kind: "objects" }>;
  assert.equal((await store.list("race/")).length, names);
  const winners = new Map<string, number>();
  let compared = 0;
  for (const each of told) {
    if (each.kind !== "name") continue;
    const bytes = (await store.get(each.name)) as Uint8Array;
    const stands = createHash("sha256").update(bytes).digest("hex").slice(0, 16);
    assert.equal(
      each.digest,
      stands,
      `${each.name}: somebody was told of other bytes than those that stand there`,
    );
    if (each.won) winners.set(each.name, (winners.get(each.name) ?? 0) + 1);
    compared++;
  }
  assert.ok(
    [...winners.values()].every((count) => count === 1),
    "a name has one winner at most",
  );
  assert.ok(winners.size >= names - kills, "only one that was killed wins without telling");
  const firsts = told.flatMap((each) => (each.kind === "producers" ? [each.first] : []));
  assert.equal(new Set(firsts).size, firsts.length, "no producer id is given twice");
  const epochs = told.flatMap((each) => (each.kind === "epoch" ? [each.epoch] : []));
  assert.equal(new Set(epochs).size, epochs.length, "no epoch is given twice");
  opened.close();
  return `${compared} answers for ${names} names, ${firsts.length} blocks of producer ids, ${epochs.length} processes`;
}

test("over a shared directory, processes that race and die agree about every name", async (t) => {
  const place = `file:${join(scratch, "shared")}`;
  t.diagnostic(await judge(place, await race(place, {})));
});

test("over MinIO, processes that race and die agree about every name", async (t) => {
  const minio = await startMinio(join(scratch, "minio"));
  try {
    Object.assign(process.env, minio.env, { HOME: scratch });
    const place = `s3://${bucket}/race`;
    t.diagnostic(await judge(place, await race(place, minio.env)));
  } finally {
    await minio.stop();
  }
});

test("a directory that is begun one way is refused the other way, and what was abandoned in it goes after a day", async () => {
  const directory = join(scratch, "ways");
  const shared = {
    kind: "store",
    name: `file:${directory}`,
    endpoint: undefined,
    region: undefined,
  } as const;
  (await openStorage(shared, env, { direct: true, environment: process.env })).close();
  await assert.rejects(
    openStorage({ kind: "data", directory }, env, { direct: true, environment: process.env }),
    /was begun with --store, by brokers that share it: start this one with --store file:/,
  );
  const [old, young] = [".tmp-1", ".tmp-2"].map((name) => join(directory, "store", name)) as [string, string];
  for (const path of [old, young]) writeFileSync(path, "half");
  const yesterday = Date.now() / 1000 - 25 * 3600;
  utimesSync(old, yesterday, yesterday);
  (await openStorage(shared, env, { direct: true, environment: process.env })).close();
  assert.deepEqual([existsSync(old), existsSync(young)], [false, true]);
  assert.deepEqual(readdirSync(directory), ["store"]);
  const own = join(scratch, "own");
  (
    await openStorage({ kind: "data", directory: own }, env, { direct: true, environment: process.env })
  ).close();
  await assert.rejects(
    openStorage({ ...shared, name: `file:${own}` }, env, { direct: true, environment: process.env }),
    /was begun with --data, by one broker that has it alone: start that with --data /,
  );
});
