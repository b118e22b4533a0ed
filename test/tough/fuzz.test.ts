import assert from "node:assert/strict";
import { test } from "node:test";
import { capturedFrames, runRound } from "./attack.ts";
import { cpuMsMax } from "./fuzz.ts";

test("a broker under mutated frames serves its honest client, holds nothing for who has left, and spends no long time on any", async () => {
  assert.ok(capturedFrames().length > 50);
  const { mutants, answers, closed, honestRecords, worst, beforeFirstAnswer, frames } = await runRound({
    seed: 4,
    frames: 2_500,
  });
  assert.ok(mutants > 800 && answers > 300 && closed > 100 && honestRecords > 5);
  assert.ok(beforeFirstAnswer > 500 && frames - beforeFirstAnswer > 300);
  // Garbage of other tests is collected meanwhile, so that a single outlier says little here.
  assert.ok((worst[1]?.cpuMs ?? 0) < cpuMsMax, JSON.stringify(worst[1]));
});
