/**
 * Thousands of histories of correct logs, drawn from seeds: producers with several batches under way,
 * transactions with and without the offsets of their input, readers, groups with rebalances, crashes, unknown outcomes, lagging brokers, retention and
 * compaction. The checker must find nothing in any; a world with one broken rule it must not pass for ever.
 */
import { check, describeReport } from "../../src/audit/check.ts";
import { cleaner, looker, producer, reader, readEverything, transactor } from "./audit-clients.ts";
import { admin, handleEverything, member, ModelGroup } from "./audit-group.ts";
import { glimpser, Transformation, transformer } from "./audit-transactions.ts";
import { CleanWorld, type Variant } from "./audit-world.ts";

export interface CleanOptions {
  readonly histories: number;
  readonly firstSeed?: number;
  readonly variant?: Variant;
}

export type Counts = { readonly [what: string]: number };

/** Throws at the first history with a finding; tells what was in all of them. */
export async function run({
  histories,
  firstSeed = 1,
  variant,
}: CleanOptions): Promise<{ readonly counts: Counts }> {
  const counts: { [what: string]: number } = { histories, "false alarms": 0 };
  for (let seed = firstSeed; seed < firstSeed + histories; seed++) {
    const world = tell(seed, variant ?? null);
    const report = check(world.history);
    for (const [what, count] of Object.entries(world.counts)) counts[what] = (counts[what] ?? 0) + count;
    if (report.bugs.length > 0) {
      throw new Error(
        `seed ${seed}: ${report.bugs.map(({ kind }) => kind).join(", ")}\n${describeReport(report)}`,
      );
    }
  }
  return Promise.resolve({ counts });
}

/** One world from its beginning to its end. */
export function tell(seed: number, variant: Variant | null): CleanWorld {
  const world = new CleanWorld(seed, variant);
  const { random } = world;
  const several = <T>(most: number, make: (name: string) => T, kind: string): T[] =>
    Array.from({ length: random.between(variant === null ? 0 : 1, most) }, (_, number) =>
      make(`${kind}${number}`),
    );
  const group = new ModelGroup(world, "g");
  const members = several(3, (name) => name, "member");
  const transformation = new Transformation(world, "t");
  world.run([
    ...several(3, (name) => producer(world, name), "producer"),
    ...several(2, (name) => transactor(world, name), "transactor"),
    ...several(3, (name) => reader(world, name), "reader"),
    ...several(2, (name) => looker(world, name), "looker"),
    ...several(3, (name) => transformer(transformation, name), "transformer"),
    ...several(1, (name) => glimpser(world, name), "glimpser"),
    ...members.map((name) => member(world, group, name)),
    admin(world, group, members),
    cleaner(world),
  ]);
  world.isOver = true;
  world.abortAll();
  transformation.finish();
  handleEverything(world, group);
  readEverything(world);
  return world;
}
