/** The bounds on Holdfast alone, by name. */
import { idleGroups } from "./probes/groups.ts";
import { manyPartitionsCost } from "./probes/many-partitions.ts";
import type { Probe } from "./probes/probe.ts";
import { connections, idleRss, readyBuilt, readySource, reopen } from "./probes/rest.ts";
import { sustained } from "./probes/sustained.ts";
import { sync } from "./probes/sync.ts";

/** The sustained load is last and by far the longest. */
const probes: readonly Probe[] = [
  readyBuilt,
  readySource,
  idleRss,
  connections,
  reopen,
  sync,
  manyPartitionsCost,
  idleGroups,
  sustained,
];

/** Picks probes by a list of names separated by commas; `all` picks every one, `short` all but the sustained load. */
export function chooseProbes(wanted: string): readonly Probe[] {
  if (wanted === "none") return [];
  if (wanted === "all") return probes;
  if (wanted === "short") return probes.filter((probe) => probe !== sustained);
  return wanted.split(",").map((name) => {
    const found = probes.find((probe) => probe.name === name);
    if (found === undefined)
      throw new Error(
        `No probe is called ${name}; there are ${probes.map((probe) => probe.name).join(", ")}`,
      );
    return found;
  });
}
