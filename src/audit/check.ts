/**
 * The judgement on a history: every anomaly in it, by name. Linear in the length of the history, but for the
 * search of shortest cycles in what is known to have one. Changes nothing in the history, which may go on.
 */
import { findCycles } from "./cycles.ts";
import { findDivergence } from "./divergence.ts";
import { Evidence } from "./evidence.ts";
import { Findings, type FindingsOfKind } from "./findings.ts";
import { findGroupAnomalies } from "./group-safety.ts";
import type { History } from "./history.ts";
import { findLogAnomalies } from "./log-anomalies.ts";
import { findLosses } from "./losses.ts";
import { findWrongLookups } from "./lookups.ts";
import { Readings } from "./readings.ts";
import { findSendOrder } from "./send-order.ts";
import { findTransactionAnomalies } from "./transactions.ts";
import { type UnseenAt, unseenOverTime } from "./unseen.ts";
import { findWatermarkAnomalies } from "./watermarks.ts";

export interface Report {
  /** What no correct log can do. Empty: nothing was found. */
  readonly bugs: readonly FindingsOfKind[];
  /** What it can. */
  readonly allowed: readonly FindingsOfKind[];
  /** How many acknowledged records nobody had read, over time. */
  readonly unseen: readonly UnseenAt[];
  readonly operations: number;
  readonly steps: number;
  /** How often the innermost loops went round. */
  readonly work: number;
}

export function check(history: History): Report {
  const findings = new Findings(history);
  const evidence = new Evidence(history);
  const readings = new Readings(evidence, findings);
  findLogAnomalies(evidence, findings);
  findLosses(evidence, readings, findings);
  findDivergence(evidence, readings, findings);
  findSendOrder(evidence, findings);
  findWatermarkAnomalies(evidence, findings);
  findWrongLookups(evidence, findings);
  findGroupAnomalies(evidence, findings);
  findTransactionAnomalies(evidence, findings);
  findCycles(evidence, findings);
  const unseen = unseenOverTime(evidence);
  const all = findings.all();
  return {
    unseen,
    bugs: all.filter(({ verdict }) => verdict === "bug"),
    allowed: all.filter(({ verdict }) => verdict === "allowed"),
    operations: history.operations.kind.length,
    steps: history.steps.kind.length,
    work: findings.work + evidence.work,
  };
}

/** The report for a person: a line for each kind with its count, and its examples below. */
export function describeReport(report: Report): string {
  const lines = [
    `${report.operations} operations, ${report.steps} steps: ${total(report.bugs)} anomalies, ${total(report.allowed)} that are allowed`,
  ];
  for (const { kind, verdict, count, examples } of [...report.bugs, ...report.allowed]) {
    lines.push(`${verdict === "bug" ? "✗" : "·"} ${kind}: ${count}`);
    for (const { sentence, operations } of examples) {
      lines.push(`    ${sentence}`, ...operations.map((operation) => `      ${operation}`));
    }
  }
  return lines.join("\n");
}

function total(groups: readonly FindingsOfKind[]): number {
  return groups.reduce((sum, { count }) => sum + count, 0);
}
