/** What is counted of share groups on this broker, and what is looked up when someone asks. */
import type { Counter, Meter } from "../../base/ports.ts";
import type { AcknowledgeBatch } from "../../coordinator/share/delivery/acknowledgement.ts";
import type { AcquiredRecords } from "../../coordinator/share/delivery/acquisition.ts";
import type { DeathReason } from "../../coordinator/share/delivery/state.ts";

/** Read when someone looks. */
export interface ShareGauges {
  readonly sessions: () => number;
  readonly sharePartitions: () => number;
  readonly ready: () => number;
  readonly inFlight: () => number;
  readonly archiving: () => number;
  readonly oldestSeconds: () => number;
  readonly bytes: () => number;
}

const typeNames = ["gap", "accept", "release", "reject", "renew"] as const;

export class ShareMetrics {
  readonly #deliveries: Counter;
  readonly #redeliveries: Counter;
  readonly #acknowledgements: Counter;
  readonly #refused: Counter;
  readonly #timedOut: Counter;
  readonly #deadLettered: Counter;
  readonly #dropped: Counter;
  readonly #lost: Counter;

  constructor(meter: Meter, gauges: ShareGauges) {
    const counter = (name: string, help: string): Counter => meter.counter(`holdfast_share_${name}`, help);
    this.#deliveries = counter("deliveries_total", "Records given to members of share groups, each time.");
    this.#redeliveries = counter("redeliveries_total", "Of these, records that were given before.");
    this.#acknowledgements = counter(
      "acknowledgements_total",
      "Records of which a member said what became of them, by type.",
    );
    this.#refused = counter(
      "acknowledgements_refused_total",
      "Acknowledgements of records that the member did not hold, or no longer.",
    );
    this.#timedOut = counter(
      "lock_timeouts_total",
      "Records whose member neither acknowledged nor renewed them in time.",
    );
    this.#deadLettered = counter("dead_letters_total", "Records that became dead letters, by reason.");
    this.#dropped = counter(
      "dropped_total",
      "Records that nobody accepted and that are no dead letters: their group has no topic for them. By reason.",
    );
    this.#lost = counter(
      "records_gone_total",
      "Records that the log lost before a group was done with them: deleted by retention or DeleteRecords, or damaged.",
    );
    const gauge = (name: string, help: string, read: () => number): void =>
      meter.gauge(`holdfast_share_${name}`, help, read);
    gauge("sessions_count", "Members of share groups that read from this broker.", gauges.sessions);
    gauge("partitions_count", "Share-partitions that are served here.", gauges.sharePartitions);
    gauge("ready_records", "Records that could be given to members now, over all groups.", gauges.ready);
    gauge("in_flight_records", "Records that members hold.", gauges.inFlight);
    gauge("archiving_records", "Records whose dead letters are not written yet.", gauges.archiving);
    gauge(
      "oldest_seconds",
      "For how long the longest waiting share-partition has not got past its first record that is not done.",
      gauges.oldestSeconds,
    );
    gauge("bytes", "About what the deliveries of all share-partitions take in memory.", gauges.bytes);
  }

  delivered(acquired: readonly AcquiredRecords[], count: number): void {
    this.#deliveries.add(count);
    let again = 0;
    for (const { first, last, deliveryCount } of acquired) if (deliveryCount > 1) again += last - first + 1;
    if (again > 0) this.#redeliveries.add(again);
  }

  acknowledged(batches: readonly AcknowledgeBatch[]): void {
    const counts = [0, 0, 0, 0, 0];
    for (const { first, last, types } of batches) {
      for (const type of types)
        counts[type] = (counts[type] ?? 0) + (types.length === 1 ? last - first + 1 : 1);
    }
    for (const [type, count] of counts.entries()) {
      if (count > 0) this.#acknowledgements.add(count, { type: typeNames[type] ?? "other" });
    }
  }

  refused(): void {
    this.#refused.add(1);
  }
  timedOut(count: number): void {
    this.#timedOut.add(count);
  }
  deadLettered(reason: DeathReason, count: number): void {
    this.#deadLettered.add(count, { reason });
  }
  dropped(reason: DeathReason, count: number): void {
    this.#dropped.add(count, { reason });
  }
  expiredByLog(count: number): void {
    this.#lost.add(count, { reason: "deleted" });
  }
  damaged(count: number): void {
    this.#lost.add(count, { reason: "damaged" });
  }
}
