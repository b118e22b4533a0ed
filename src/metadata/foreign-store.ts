/** Why a store that holds a cluster is not for this start, in a sentence that says what to do. */
import { RefusedError } from "../base/errors.ts";
import type { ClusterState } from "./state.ts";

export interface Wanted {
  /** Null: whichever is found. */
  readonly clusterId: string | null;
  readonly walKind: "file" | "object";
  /** The highest format level that this software can read. */
  readonly levelMax: number;
}

/** Throws `RefusedError`. */
export function refuseForeign(state: ClusterState, wanted: Wanted): void {
  const { clusterId, walKind, level } = state;
  if (wanted.clusterId !== null && wanted.clusterId !== clusterId) {
    throw new RefusedError(
      `The store belongs to cluster ${clusterId}, not to ${wanted.clusterId}. Name the store of ${wanted.clusterId}, or leave the cluster id out.`,
    );
  }
  if (walKind !== wanted.walKind) {
    throw new RefusedError(
      `The store was begun with a WAL of ${describeKind(walKind)}, and this start asks for ${describeKind(wanted.walKind)}. Start it the way it was begun.`,
    );
  }
  if (level > wanted.levelMax) {
    throw new RefusedError(
      `The store has format level ${level}, and this version of Holdfast knows ${wanted.levelMax}. Start the version that wrote it, or a later one.`,
    );
  }
}

function describeKind(kind: "file" | "object"): string {
  return kind === "file" ? "files" : "objects in the store";
}
