import assert from "node:assert/strict";
import { test } from "node:test";
import { aWorld } from "../../test/proof/journal-world.ts";
import type { RefusedError } from "../base/errors.ts";
import { DailyProbe } from "./daily-probe.ts";
import { OutcomeUnknownError } from "./errors.ts";
import type { ProbeVerdict } from "./probe.ts";

const hourMs = 3_600_000;
const ok: ProbeVerdict = { status: "ok", about: "races", text: "one won." };
const wrong: ProbeVerdict = { status: "wrong", about: "races", text: "two won. Do not use it." };

function probing(answer: (count: number) => readonly ProbeVerdict[] | Error) {
  const { scheduler, env } = aWorld();
  const probes: number[] = [];
  const told: RefusedError[] = [];
  const probe = new DailyProbe({
    ...env,
    name: "s3://b/",
    async *probe() {
      probes.push(scheduler.nowMs / hourMs);
      const verdicts = answer(probes.length);
      if (verdicts instanceof Error) throw verdicts;
      yield* verdicts;
    },
    onUnsound: (cause) => told.push(cause),
  });
  const run = (hours: number): Promise<void> => scheduler.run({ untilMs: scheduler.nowMs + hours * hourMs });
  return { probe, probes, told, run };
}

test("a store is tried within the first day, and about daily from then on", async () => {
  const { probe, probes, told, run } = probing(() => [ok]);
  await run(240);
  probe.close();
  await run(240);
  assert.ok(probes.length >= 9 && probes.length <= 12, String(probes.length));
  assert.ok((probes[0] as number) < 24);
  for (let at = 1; at < probes.length; at++) {
    const hours = (probes[at] as number) - (probes[at - 1] as number);
    assert.ok(hours > 21 && hours < 27, String(hours));
  }
  assert.deepEqual(told, []);
});

test("a store that turned unsound is told once, and not tried again", async () => {
  const { probes, told, run } = probing((count) => (count < 3 ? [ok] : [ok, wrong, wrong]));
  await run(240);
  assert.equal(probes.length, 3);
  assert.deepEqual(
    told.map(({ message }) => message),
    [
      "s3://b/ cannot keep records safely any more; races: two won. Do not use it. This broker stops, before it acknowledges what could be lost.",
    ],
  );
});

test("a store that does not answer is no unsound store, and is asked again an hour later", async () => {
  const late: ProbeVerdict = { status: "unknown", about: "races", text: "late", facts: { timedOut: true } };
  const { probe, probes, told, run } = probing((count) =>
    count === 1 ? new OutcomeUnknownError("away") : count === 2 ? [late] : [ok],
  );
  await run(48);
  probe.close();
  assert.deepEqual(told, []);
  assert.deepEqual(
    [1, 2].map((at) => Math.round((probes[at] as number) - (probes[at - 1] as number))),
    [1, 1],
  );
});
