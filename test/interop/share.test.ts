/**
 * Java's share consumer and our own client as members of share groups, against a real broker process: members join,
 * leave, are killed and stopped, and the broker is killed, while records arrive. Every record must be accepted, none
 * be given out after its acceptance was answered, and none more often than allowed.
 *
 *   HOLDFAST_INTEROP   sample (one short story for each version) or full (longer ones, and for each way to
 *                      acknowledge); without it nothing runs
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
import { type ShareMember, shareMembers, type ShareMode } from "./share-members.ts";
import { playShareGroup, type ShareOutcome } from "./share-play.ts";

const scale = process.env["HOLDFAST_INTEROP"];
const target = (process.env["HOLDFAST_TARGET"] ?? "holdfast") as BrokerKind;
const seed = Number(process.env["HOLDFAST_SEED"] ?? 1);
const skip = scale === undefined ? "set HOLDFAST_INTEROP to sample or full" : false;

const lockMs = 3_000;
const pauseMs = lockMs + 2_000;
const sizes =
  scale === "full"
    ? {
        times: { join: 8, leave: 2, kill: 3, pause: 2, broker: 3 },
        membersMax: 8,
        restMs: 3_000,
        recordsPerSecond: 1_000,
        drainMs: 120_000,
      }
    : {
        times: { join: 2, leave: 1, kill: 1, pause: 1, broker: 1 },
        membersMax: 3,
        restMs: 1_500,
        recordsPerSecond: 300,
        drainMs: 90_000,
      };

interface Case {
  readonly member: ShareMember;
  readonly what: string;
  readonly modes: readonly ShareMode[];
}

const both: readonly ShareMode[] = ["explicit", "implicit"];
const cases = shareMembers().flatMap((member): Case[] => {
  const mixed = { member, what: "both ways", modes: both };
  if (scale !== "full") return [mixed];
  return [mixed, ...both.map((mode) => ({ member, what: `${mode} acknowledgement`, modes: [mode] }))];
});

describe("share groups", { concurrency: 1 }, () => {
  for (const [index, { member, what, modes }] of cases.entries()) {
    const name = `${member.client} ${member.version}, ${what}`;
    test(`${name}: every record is accepted, and none is given out after that was answered`, {
      skip,
      timeout: 600_000,
    }, async (context) => {
      const begun = performance.now();
      let outcome: Partial<InteropResult> = {};
      try {
        const { accepted } = await played({ member, what, modes }, seed + index, (line) =>
          context.diagnostic(line),
        );
        outcome = { recordCount: accepted };
      } catch (error) {
        outcome = { failure: error instanceof Error ? error.message.slice(0, 2000) : String(error) };
        throw error;
      } finally {
        keep(member, what, { ...outcome, seconds: Math.round(performance.now() - begun) / 1000 });
      }
    });
  }
});

function keep({ client, version, language }: ShareMember, what: string, outcome: Partial<InteropResult>) {
  if (scale === undefined) return;
  const result: InteropResult = {
    client,
    version,
    language,
    target,
    kind: "shares",
    what,
    killed: true,
    passed: outcome.failure === undefined,
    seconds: 0,
    at: new Date().toISOString(),
    commit: testedCommit(),
    ...outcome,
  };
  keepNewest(`share-${target}-${scale}`, { scale, results: [result] });
}

async function played(
  { member, modes }: Case,
  storySeed: number,
  tell: (line: string) => void,
): Promise<ShareOutcome> {
  const { times, membersMax, restMs, recordsPerSecond, drainMs } = sizes;
  mkdirSync(join(cacheDirectory, "interop"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "interop", "share-"));
  const story = groupStory({ seed: storySeed, times, membersMax, pauseMs, restMs });
  const outcome = await playShareGroup({
    member,
    modes,
    story,
    target,
    directory,
    lockMs,
    pauseMs,
    recordsPerSecond,
    drainMs,
  });
  const { violations, ...counts } = outcome;
  const told = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  tell(`seed ${storySeed}: ${told.join(", ")}`);
  assert.deepEqual(violations, [], `seed ${storySeed}`);
  // What a failed run left behind is the evidence.
  rmSync(directory, { recursive: true, force: true });
  return outcome;
}
