/**
 * Every disk call of every workload fails once: before it did anything, in the middle, after the fact (a
 * failed sync that drops what was pending), for want of space; and every sync lies once. So does every
 * call of a recovery. Afterwards the process is killed or the power fails, and the next start must find
 * everything that was acknowledged; after a lie, it must name what is missing below anything it finds.
 */
import { DiskError } from "../../src/base/errors.ts";
import type { WalEntry } from "../../src/log/wal.ts";
import { recoverEpoch } from "../../src/log/wal-recovery.ts";
import type { DiskCall, DiskFault, SimDisk } from "../../src/sim/disk.ts";
import { SimRandom } from "../../src/sim/random.ts";
import {
  check,
  clusterId,
  type EpochFacts,
  sameEntry,
  type SweepOptions,
  type SweepResult,
  unbroken,
  Violation,
  WalWorld,
} from "./wal-world.ts";
import { type Workload, workloads } from "./wal-workloads.ts";

const failures: readonly { readonly name: string; readonly fault: DiskFault }[] = [
  { name: "EIO", fault: { kind: "error", errno: "EIO" } },
  { name: "EIO after 5,000 bytes", fault: { kind: "error", errno: "EIO", written: 5000 } },
  { name: "EIO after the fact", fault: { kind: "error-after", errno: "EIO" } },
  { name: "ENOSPC after 4,096 bytes", fault: { kind: "error", errno: "ENOSPC", written: 4096 } },
];
const syncs: ReadonlySet<string> = new Set(["sync", "writeSynced", "syncDirectory"]);

export async function run(options: SweepOptions): Promise<SweepResult> {
  const { sample, seed = 1, variant = unbroken } = options;
  const random = new SimRandom(seed).fork("fault sweep");
  const counts = {
    workloads: 0,
    "failed calls": 0,
    "lying syncs": 0,
    "failed calls in recovery": 0,
    recoveries: 0,
  };
  for (const workload of workloads) {
    counts.workloads++;
    const { calls, disk, facts } = await playWith(workload, options, () => undefined);
    for (const call of calls) {
      for (const { name, fault } of failures) {
        if (sample && !random.chance(2 / calls.length)) continue;
        counts["failed calls"]++;
        const after = await playWith(workload, options, ({ number }) =>
          number === call.number ? fault : undefined,
        );
        for (const ending of endings) {
          counts.recoveries++;
          const replay = `workload "${workload.name}", seed ${seed}, call ${call.number} (${call.operation} ${call.path}): ${name}, then ${ending.name}`;
          const ended = after.disk.clone({});
          ending.end(ended);
          await retold(replay, () => check(ended, after.facts, variant));
        }
      }
      if (syncs.has(call.operation) && (!sample || random.chance(4 / calls.length))) {
        counts["lying syncs"]++;
        const after = await playWith(workload, options, ({ number }) =>
          number === call.number ? { kind: "lie" } : undefined,
        );
        const replay = `workload "${workload.name}", seed ${seed}, call ${call.number} (${call.operation} ${call.path}) lies, then power loss`;
        const cut = after.disk.clone({});
        cut.crash(() => false);
        await retold(replay, () => judgeLie(cut, after.facts));
      }
    }
    counts["failed calls in recovery"] += await failRecovery(workload, disk, facts, { ...options, random });
  }
  return { name: "every disk call fails once, every sync lies once", counts };
}

const endings: readonly { readonly name: string; readonly end: (disk: SimDisk) => void }[] = [
  { name: "a kill", end: (disk) => disk.kill() },
  { name: "power loss with nothing kept", end: (disk) => disk.crash(() => false) },
  {
    name: "power loss with every second unit kept",
    end: (disk) => disk.crash((_, index) => index % 2 === 0),
  },
];

async function retold<T>(replay: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw cause instanceof Violation ? new Violation(`${cause.message} (${replay})`) : cause;
  }
}

interface Played {
  readonly calls: readonly DiskCall[];
  readonly disk: SimDisk;
  readonly facts: readonly EpochFacts[];
}

async function playWith(
  workload: Workload,
  options: SweepOptions,
  fault: (call: DiskCall) => DiskFault | undefined,
): Promise<Played> {
  const { seed = 1, variant = unbroken } = options;
  const world = new WalWorld({ seed, variant, ...workload.world });
  const calls: DiskCall[] = [];
  world.disk.fault = (call) => {
    calls.push(call);
    return fault(call);
  };
  await world.play(workload.play);
  // A while later: what failed in the background has had its time.
  await world.advance(5);
  return { calls, disk: world.disk, facts: world.facts() };
}

/** Entries that came back are true; one that is missing in front of one that is there is named or a gap. */
async function judgeLie(disk: SimDisk, facts: readonly EpochFacts[]): Promise<void> {
  for (const { epoch, entries, released, releasedCount, recovered } of facts) {
    // A lie about what RECOVER relied on cannot be told from damage: the second reading reports it.
    const result = await recoverEpoch({ disk, clusterId, epoch, released, recorded: recovered });
    let next = releasedCount;
    for (const { entry } of result.entries) {
      while (next < entries.length && !sameEntry(entry, entries[next] as WalEntry)) {
        const { partition, baseOffset, count } = entries[next] as WalEntry;
        const named = result.holes.some(
          (hole) => hole.partition === partition && hole.from <= baseOffset && baseOffset < hole.to,
        );
        if (!named && !result.jumped && count > 0)
          throw new Violation(`entry ${next + 1} vanished in silence`);
        next++;
      }
      if (next === entries.length) throw new Violation("an entry came back that was not appended there");
      next++;
    }
  }
}

async function failRecovery(
  workload: Workload,
  disk: SimDisk,
  facts: readonly EpochFacts[],
  options: SweepOptions & { readonly random: SimRandom },
): Promise<number> {
  const { sample, seed = 1, variant = unbroken, random } = options;
  let tried = 0;
  for (let failing = 0; ; failing++) {
    const killed = disk.clone({});
    killed.kill();
    let reached = false;
    const skipped = sample && !random.chance(0.1);
    if (failing > 200) throw new Error("a recovery of so small a log makes fewer calls");
    killed.fault = ({ number }) => {
      if (number !== failing) return undefined;
      reached = true;
      return { kind: "error", errno: "EIO", written: 3000 };
    };
    try {
      for (const { epoch, released, recovered } of facts) {
        await recoverEpoch({ disk: killed, clusterId, epoch, released, recorded: recovered });
      }
    } catch (cause) {
      if (!(cause instanceof DiskError)) throw cause;
    }
    if (!reached) return tried;
    if (skipped) continue;
    tried++;
    killed.fault = null;
    for (const ending of endings) {
      const ended = killed.clone({});
      ending.end(ended);
      const replay = `workload "${workload.name}", seed ${seed}, call ${failing} of its recovery fails, then ${ending.name}`;
      await retold(replay, () => check(ended, facts, variant));
    }
  }
}
