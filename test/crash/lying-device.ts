/**
 * A device that acknowledges syncs of the WAL and drops the bytes at a power cut. No broker can keep records
 * on it, but it must come up again every time, say what it lost, and take and acknowledge new ones.
 *
 *   node test/crash/lying-device.ts [--cycles 10] [--seed 1]
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Broker, startBroker } from "../../tools/brokers.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { powerCut } from "./power-cut.ts";
import { seeded, startLoad } from "./run.ts";

export interface LyingReport {
  readonly cycles: number;
  readonly acked: number;
  readonly undone: number;
}

/** Throws when the broker does not come up or acknowledges nothing. Each cycle has a topic and a client of its own: a producer rightly gives up when its records are gone. */
export async function runLying(options: {
  readonly cycles: number;
  readonly seed: number;
}): Promise<LyingReport> {
  mkdirSync(join(cacheDirectory, "crash"), { recursive: true });
  const directory = realpathSync(mkdtempSync(join(cacheDirectory, "crash", "lying-")));
  const cut = await powerCut(directory, { lying: "/wal/" });
  const broker: Broker = await startBroker("holdfast", { directory, env: cut.env });
  const random = seeded(options.seed);
  const report = { cycles: options.cycles, acked: 0, undone: 0 };
  for (let cycle = 1; cycle <= options.cycles; cycle += 1) {
    const load = await startLoad(broker.address, `lying-${cycle}`);
    await load.acknowledges(1 + Math.floor(random() * 5000));
    await broker.kill();
    report.undone += cut.apply(random);
    report.acked += load.acked();
    // Its producers would go on asking for what is gone.
    await load.abandon();
    await broker.start();
  }
  await broker.stop();
  rmSync(directory, { recursive: true, force: true });
  return report;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { cycles: { type: "string", default: "10" }, seed: { type: "string", default: "1" } },
  });
  const report = await runLying({ cycles: Number(values.cycles), seed: Number(values.seed) });
  console.log(JSON.stringify(report));
}
