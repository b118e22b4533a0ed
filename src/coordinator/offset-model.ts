/**
 * What tests expect of committed offsets, told by the whole history each time: the newest commit holds that
 * no deletion, no abort and no open transaction hides.
 */
import type { ProducerId } from "../base/ids.ts";
import type { TransactionOutcome } from "./shard.ts";

export type OffsetStep =
  | { readonly kind: "commit"; readonly topic: string; readonly at: number }
  /** A commit inside the producer's transaction. */
  | { readonly kind: "hold"; readonly topic: string; readonly at: number; readonly producer: ProducerId }
  | { readonly kind: "mark"; readonly producer: ProducerId; readonly outcome: TransactionOutcome }
  | { readonly kind: "delete"; readonly topic: string }
  | { readonly kind: "restart" };

export interface ExpectedOffset {
  readonly committed: number | undefined;
  /** An open transaction is about to change it. */
  readonly isUnstable: boolean;
}

export function expectedOffset(steps: readonly OffsetStep[], topic: string): ExpectedOffset {
  let committed: number | undefined;
  let isUnstable = false;
  steps.forEach((step, index) => {
    if (step.kind === "delete" && step.topic === topic) [committed, isUnstable] = [undefined, false];
    if ((step.kind !== "commit" && step.kind !== "hold") || step.topic !== topic) return;
    const outcome = step.kind === "commit" ? "commit" : endOf(step.producer, steps.slice(index));
    if (outcome === "commit") committed = step.at;
    if (outcome === "open") isUnstable = true;
  });
  return { committed, isUnstable };
}

function endOf(producer: ProducerId, later: readonly OffsetStep[]): TransactionOutcome | "open" {
  for (const step of later) if (step.kind === "mark" && step.producer === producer) return step.outcome;
  return "open";
}
