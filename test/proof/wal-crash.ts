/**
 * The power fails, or the process is killed, whenever a workload changed the disk or the truth. Of what is pending then,
 * every prefix is kept, and every subset where it is 8 units or fewer (of more: every subset of the first
 * and of the last 8). Each disk that results is recovered and compared with the truth, and recovery itself
 * is interrupted in the same way.
 */
import { isDeepStrictEqual } from "node:util";
import type { SimDisk } from "../../src/sim/disk.ts";
import { SimRandom } from "../../src/sim/random.ts";
import {
  check,
  type EpochFacts,
  type SweepOptions,
  type SweepResult,
  unbroken,
  Violation,
  WalWorld,
} from "./wal-world.ts";
import { type Workload, workloads } from "./wal-workloads.ts";

/** The same on a disk that tears blocks apart. */
const inSectors = (workload: Workload): Workload => ({
  ...workload,
  name: `${workload.name} (sectors of 512 bytes)`,
  world: { ...workload.world, blockBytes: 512 },
});

interface Moment {
  readonly disk: SimDisk;
  readonly facts: readonly EpochFacts[];
}

export async function run(options: SweepOptions): Promise<SweepResult> {
  const { sample, seed = 1, variant = unbroken } = options;
  const random = new SimRandom(seed).fork("crash sweep");
  const counts = { workloads: 0, moments: 0, crashes: 0, kills: 0, "crashes in recovery": 0 };
  for (const workload of [...workloads, ...workloads.map(inSectors)]) {
    if (options.workload !== undefined && workload.name !== options.workload) continue;
    counts.workloads++;
    const moments = await momentsOf(workload, options);
    for (const [index, moment] of moments.entries()) {
      if (sample && !random.chance(8 / moments.length)) continue;
      counts.moments++;
      const replay = `workload "${workload.name}", seed ${seed}, moment ${index}`;
      for (const kept of keptSubsets(moment.disk.pending().length, sample ? random : null)) {
        counts.crashes++;
        const disk = moment.disk.clone({});
        disk.crash((_, unit) => kept(unit));
        await judge(disk, moment, variant, `${replay}, power loss`);
      }
      counts.kills++;
      const killed = moment.disk.clone({});
      killed.kill();
      await judge(killed, moment, variant, `${replay}, kill`);
      if (!sample || random.chance(0.2)) {
        counts["crashes in recovery"] += await interruptRecovery(moment, { ...options, random, replay });
      }
    }
  }
  return { name: "power loss and kill at every moment", counts };
}

async function judge(
  disk: SimDisk,
  moment: Moment,
  variant: NonNullable<SweepOptions["variant"]>,
  replay: string,
): Promise<void> {
  try {
    await check(disk, moment.facts, variant);
  } catch (cause) {
    throw cause instanceof Violation ? new Violation(`${cause.message} (${replay})`) : cause;
  }
}

/** Every moment of a workload at which the disk or the truth was another than before. */
async function momentsOf(workload: Workload, options: SweepOptions): Promise<readonly Moment[]> {
  const { seed = 1, variant = unbroken } = options;
  const world = new WalWorld({ seed, variant, ...workload.world });
  const moments: Moment[] = [];
  let before: unknown = null;
  const look = (diskChanged: boolean) => {
    const facts = world.facts();
    const truth = facts.map(({ appended, acked, released, recovered }) => ({
      appended,
      acked,
      released,
      recovered: recovered !== null,
    }));
    if (!diskChanged && isDeepStrictEqual(truth, before)) return;
    before = truth;
    moments.push({ disk: world.disk.clone({}), facts });
  };
  world.disk.onStep = () => look(true);
  world.scheduler.afterEvent = () => look(false);
  await world.play(workload.play);
  return moments;
}

/** Which of `count` units are kept: prefixes, and subsets of 8. A sample takes some of them. */
function* keptSubsets(count: number, sample: SimRandom | null): Generator<(unit: number) => boolean> {
  const few = Math.min(count, 8);
  const take = () => sample === null || sample.chance(6 / (count + 2 ** few));
  yield () => false;
  for (let prefix = 1; prefix <= count; prefix++) if (take()) yield (unit) => unit < prefix;
  for (let bits = 1; bits < 2 ** few; bits++) {
    if (take()) yield (unit) => unit < 8 && (bits & (1 << unit)) !== 0;
    if (count > 8 && take()) yield (unit) => unit < count - 8 || (bits & (1 << (unit - count + 8))) !== 0;
  }
}

/** After a kill: the power fails at every step of the recovery, with all or nothing or every second unit kept. */
async function interruptRecovery(
  moment: Moment,
  options: SweepOptions & { readonly random: SimRandom; readonly replay: string },
): Promise<number> {
  const { variant = unbroken } = options;
  const images: SimDisk[] = [];
  const disk = moment.disk.clone({});
  disk.kill();
  disk.onStep = () => {
    if (!options.sample || options.random.chance(0.2)) images.push(disk.clone({}));
  };
  await judge(disk, moment, variant, `${options.replay}, kill`);
  const ways = [() => false, () => true, (unit: number) => unit % 2 === 0];
  for (const image of images) {
    for (const way of ways) {
      const crashed = image.clone({});
      crashed.crash((_, unit) => way(unit));
      await judge(crashed, moment, variant, `${options.replay}, power loss in the recovery after a kill`);
    }
  }
  return images.length * ways.length;
}
