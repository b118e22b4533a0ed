/**
 * The real process under kill -9 and under power cuts. HOLDFAST_CRASH_CYCLES says how often; without it
 * nothing runs, because the client is a Go program.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { BrokerKind } from "../../tools/brokers.ts";
import { describeReport, run } from "./run.ts";

const cycles = Number(process.env["HOLDFAST_CRASH_CYCLES"] ?? 0);
const target = (process.env["HOLDFAST_TARGET"] ?? "holdfast") as BrokerKind;
const seed = Number(process.env["HOLDFAST_SEED"] ?? 1);
const skip = cycles === 0 ? "set HOLDFAST_CRASH_CYCLES to 10 or 200" : false;

for (const power of [false, true]) {
  const event = power ? "a power cut" : "kill -9";
  test(`${event} under load loses nothing acknowledged, doubles nothing and keeps the order`, {
    skip,
  }, async () => {
    const report = await run({ cycles, target, seed, power });
    console.log(describeReport(report));
    assert.equal(report.passed, true, describeReport(report));
  });
}
