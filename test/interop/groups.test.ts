/**
 * Other people's clients and our own as members of consumer groups, of the classic protocol and of KIP-848, against
 * a real broker process: members join, leave, are killed and stopped, and the broker is killed, while records
 * arrive. Every record must be processed, and no commit be ahead of that.
 *
 *   HOLDFAST_INTEROP   sample (short stories of up to 4 members) or full (all protocols, groups of up to
 *                      8); without it nothing runs
 *   HOLDFAST_TARGET    kafka instead of holdfast, which tells whose fault a failure is
 *   HOLDFAST_SEED      another story; it is printed
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { BrokerKind } from "../../tools/brokers.ts";
import { type InteropResult, keepNewest, testedCommit } from "../../tools/interop-results.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { groupStory } from "./group-story.ts";
import { playGroup } from "./groups.ts";
import { type GroupProtocol, groupProtocols, type Member, members } from "./members.ts";

const scale = process.env["HOLDFAST_INTEROP"];
const target = (process.env["HOLDFAST_TARGET"] ?? "holdfast") as BrokerKind;
const seed = Number(process.env["HOLDFAST_SEED"] ?? 1);
const skip = scale === undefined ? "set HOLDFAST_INTEROP to sample or full" : false;

const sessionMs = 5_000;
const pauseMs = sessionMs + 2_000;
const sizes =
  scale === "full"
    ? {
        times: { join: 8, leave: 2, kill: 3, pause: 2, broker: 3 },
        membersMax: 8,
        restMs: 3_000,
        recordsPerSecond: 2_000,
        drainMs: 120_000,
        concurrency: 3,
      }
    : {
        times: { join: 2, leave: 1, kill: 1, pause: 1, broker: 1 },
        membersMax: 4,
        restMs: 1_500,
        recordsPerSecond: 800,
        drainMs: 60_000,
        concurrency: 3,
      };

const nameOf: Readonly<Record<GroupProtocol, string>> = {
  classic: "classic, eager",
  cooperative: "classic, cooperative",
  consumer: "KIP-848",
};

/** In a sample, one kind of the classic protocol for each client, by turns. */
const pairs = members().flatMap((member, place) => {
  const classic = (["classic", "cooperative"] as const).filter((each) => member.lacks[each] === undefined);
  const chosen = classic[place % classic.length];
  return groupProtocols
    .filter((each) => scale !== "sample" || each === "consumer" || each === chosen)
    .map((protocol) => ({ member, protocol }));
});

describe("consumer groups", { concurrency: sizes.concurrency }, () => {
  for (const [index, { member, protocol }] of pairs.entries()) {
    const what = nameOf[protocol];
    const name = `${member.client} ${member.version}, ${what}`;
    const lacks = member.lacks[protocol];
    const spared = member.spared[protocol];
    if (lacks !== undefined) {
      test(name, { skip: skip === false ? lacks : skip }, () => undefined);
      if (skip === false) keep(member, what, { skipped: lacks });
      continue;
    }
    test(`${name}: every record is processed, and no commit is ahead of that`, {
      skip,
      timeout: 900_000,
    }, async (context) => {
      const begun = performance.now();
      let recordCount = 0;
      let failure: string | undefined;
      try {
        const counts = await played(member, protocol, seed + index, (line) => context.diagnostic(line));
        recordCount = counts.processed;
      } catch (error) {
        failure = error instanceof Error ? error.message.slice(0, 2000) : String(error);
        throw error;
      } finally {
        const seconds = Math.round(performance.now() - begun) / 1000;
        const remark = spared === undefined ? {} : { remark: spared.why };
        keep(member, what, {
          recordCount,
          seconds,
          ...remark,
          ...(failure === undefined ? {} : { failure }),
        });
      }
    });
  }
});

function keep({ client, version, language }: Member, what: string, outcome: Partial<InteropResult>): void {
  if (scale === undefined) return;
  const result: InteropResult = {
    client,
    version,
    language,
    target,
    kind: "groups",
    what,
    killed: true,
    passed: outcome.failure === undefined,
    seconds: 0,
    at: new Date().toISOString(),
    commit: testedCommit(),
    ...outcome,
  };
  // A sample and a full run may go on side by side.
  keepNewest(`groups-${target}-${scale}`, { scale, results: [result] });
}

async function played(
  member: Member,
  protocol: GroupProtocol,
  storySeed: number,
  tell: (line: string) => void,
) {
  const { times, membersMax, restMs, recordsPerSecond, drainMs } = sizes;
  mkdirSync(join(cacheDirectory, "interop"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "interop", "group-"));
  const story = groupStory({ seed: storySeed, times, membersMax, pauseMs, restMs });
  const { violations, ...counts } = await playGroup({
    member,
    protocol,
    story,
    target,
    directory,
    sessionMs,
    pauseMs,
    recordsPerSecond,
    drainMs,
  });
  const told = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  tell(`seed ${storySeed}: ${told.join(", ")}`);
  assert.deepEqual(violations, [], `seed ${storySeed}`);
  // What a failed run left behind is the evidence.
  rmSync(directory, { recursive: true, force: true });
  return counts;
}
