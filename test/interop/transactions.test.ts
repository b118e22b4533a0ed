/**
 * Other people's clients and our own copy a topic in transactions (consume, transform, produce), as groups whose
 * members and broker are killed, and some of whose transactions are aborted on purpose. Whoever reads with
 * read_committed must see every record once.
 *
 *   HOLDFAST_INTEROP   sample (short stories of some clients) or full (all of them); without it nothing runs
 *   HOLDFAST_TARGET    kafka instead of holdfast, which tells whose fault a failure is
 *   HOLDFAST_SEED      another story; it is printed
 *   HOLDFAST_TOLD      with it, what happens and what copiers print is told, with milliseconds
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { BrokerKind } from "../../tools/brokers.ts";
import { keepNewest, testedCommit } from "../../tools/interop-results.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { type Copier, copiers } from "./copiers.ts";
import { followers } from "./followers.ts";
import { groupStory } from "./group-story.ts";
import { type CopyOutcome, playCopy } from "./transactions.ts";

const scale = process.env["HOLDFAST_INTEROP"];
const target = (process.env["HOLDFAST_TARGET"] ?? "holdfast") as BrokerKind;
const seed = Number(process.env["HOLDFAST_SEED"] ?? 1);
const isTold = process.env["HOLDFAST_TOLD"] !== undefined;
const skip = scale === undefined ? "set HOLDFAST_INTEROP to sample or full" : false;

const sessionMs = 5_000;
const timeoutMs = 5_000;
const pauseMs = 7_000;
const sizes =
  scale === "full"
    ? {
        times: { join: 5, leave: 1, kill: 6, pause: 2, broker: 4 },
        membersMax: 4,
        restMs: 3_000,
        recordsPerSecond: 600,
        recordsMax: 60_000,
        drainMs: 120_000,
        concurrency: 2,
      }
    : {
        times: { join: 2, leave: 1, kill: 2, pause: 0, broker: 2 },
        membersMax: 2,
        restMs: 1_200,
        recordsPerSecond: 300,
        recordsMax: 12_000,
        drainMs: 60_000,
        concurrency: 3,
      };

const cast = copiers().filter(({ inSample }) => scale !== "sample" || inSample);

describe("copying in transactions", { concurrency: sizes.concurrency }, () => {
  for (const [index, copier] of cast.entries()) {
    test(`${copier.client} ${copier.version}, ${copier.what}: every record is copied once`, {
      skip,
      timeout: 900_000,
    }, async (context) => {
      const begun = performance.now();
      let records = 0;
      let failure: string | undefined;
      try {
        const outcome = await played(copier, index, (line) => context.diagnostic(line));
        records = outcome.records;
      } catch (error) {
        failure = error instanceof Error ? error.message.slice(0, 2000) : String(error);
        throw error;
      } finally {
        keep(copier, records, Math.round(performance.now() - begun) / 1000, failure);
      }
    });
  }
});

async function played(copier: Copier, index: number, tell: (line: string) => void): Promise<CopyOutcome> {
  const { times, membersMax, restMs, recordsPerSecond, recordsMax, drainMs } = sizes;
  mkdirSync(join(cacheDirectory, "interop"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "interop", "copy-"));
  const storySeed = seed + index;
  const others = followers().filter(({ client }) => client !== copier.client);
  const [during, after] = [others[storySeed % others.length], others[(storySeed + 1) % others.length]];
  assert.ok(during !== undefined && after !== undefined);
  const outcome = await playCopy({
    copier,
    story: groupStory({
      seed: storySeed,
      times: copier.isAlone ? { ...times, join: 0, leave: 0, kill: 0, pause: 0 } : times,
      membersMax,
      pauseMs,
      restMs,
    }),
    target,
    directory,
    sessionMs,
    timeoutMs,
    pauseMs,
    recordsPerSecond,
    recordsMax,
    drainMs,
    during,
    after,
    tell: isTold ? (line) => console.error(Math.round(performance.now()), line) : undefined,
  });
  const { violations, ...counts } = outcome;
  const told = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  tell(`seed ${storySeed}, read by ${during.client} and ${after.client}: ${told.join(", ")}`);
  assert.deepEqual(violations, [], `seed ${storySeed}`);
  // Otherwise nothing was said of aborted records, which are there.
  assert.ok(counts.aborts > 0 && counts.hidden >= counts.aborted, `seed ${storySeed}: ${told.join(", ")}`);
  // What a failed run left behind is the evidence.
  rmSync(directory, { recursive: true, force: true });
  return outcome;
}

function keep(copier: Copier, recordCount: number, seconds: number, failure: string | undefined): void {
  if (scale === undefined) return;
  const { client, version, language, what, remark } = copier;
  const result = {
    client,
    version,
    language,
    target,
    kind: "transactions" as const,
    what,
    killed: true,
    passed: failure === undefined,
    seconds,
    at: new Date().toISOString(),
    commit: testedCommit(),
    recordCount,
    ...(remark === undefined ? {} : { remark }),
    ...(failure === undefined ? {} : { failure }),
  };
  keepNewest(`transactions-${target}-${scale}`, { scale, results: [result] });
}
