/** What is measured of a bucket. */
import type { Clock, Counter, Histogram, Meter } from "../../base/ports.ts";
import type { RequestKind } from "./judgement.ts";
import { RequestCosts } from "./prices.ts";

/** What became of a request. */
export type Outcome = "good" | "exists" | "absent" | "conflict" | "throttled" | "unknown" | "refused";

export interface BucketStateView {
  readonly unreachableMs: number;
  readonly waitingBytes: number;
  readonly clockSkewMs: number;
  readonly inFlight: number;
}

export class S3Metrics {
  readonly #costs: RequestCosts;
  readonly #requests: Counter;
  readonly #retries: Counter;
  readonly #hedges: Counter;
  readonly #hedgesWon: Counter;
  readonly #latencyMs: Histogram;
  readonly #bytes: Counter;

  constructor(meter: Meter, clock: Clock, state: () => BucketStateView) {
    this.#costs = new RequestCosts(clock);
    this.#requests = meter.counter(
      "holdfast_s3_requests_total",
      "Requests to the bucket by kind and by what became of them",
    );
    this.#retries = meter.counter(
      "holdfast_s3_retries_total",
      "Requests that were sent again because the outcome of one before was unknown, by kind",
    );
    this.#hedges = meter.counter(
      "holdfast_s3_hedges_total",
      "Puts of which the same bytes were sent once more",
    );
    this.#hedgesWon = meter.counter(
      "holdfast_s3_hedges_won_total",
      "Puts that were decided by the second sending",
    );
    this.#bytes = meter.counter("holdfast_s3_bytes", "Bytes of bodies sent (put) and received (get)");
    this.#latencyMs = meter.histogram(
      "holdfast_s3_latency_ms",
      "Time from sending a request to the bucket until its answer is whole, by kind",
      [5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000],
    );
    meter.gauge(
      "holdfast_s3_unreachable_ms",
      "How long the bucket has not answered; 0 while it does",
      () => state().unreachableMs,
    );
    meter.gauge(
      "holdfast_s3_waiting_bytes",
      "Bytes of puts that the bucket has not confirmed",
      () => state().waitingBytes,
    );
    meter.gauge(
      "holdfast_s3_clock_skew_ms",
      "How far the store's clock is ahead of this machine's, in whole seconds",
      () => state().clockSkewMs,
    );
    meter.gauge("holdfast_s3_in_flight", "Requests on their way", () => state().inFlight);
    meter.gauge(
      "holdfast_s3_dollars_per_hour",
      "Estimate of what requests cost, by list prices of S3 Standard; without storage and traffic",
      () => this.#costs.dollarsPerHour(),
    );
  }

  /** Each request that was sent is paid for, whatever comes of it. */
  answered(kind: RequestKind, outcome: Outcome, ms: number, bytes: number): void {
    this.#costs.count(kind);
    this.#requests.add(1, { kind, outcome });
    this.#latencyMs.observe(ms, labelsOf[kind]);
    if (bytes > 0) this.#bytes.add(bytes, labelsOf[kind]);
  }

  retried(kind: RequestKind): void {
    this.#retries.add(1, labelsOf[kind]);
  }

  hedged(): void {
    this.#hedges.add(1);
  }

  hedgeWon(): void {
    this.#hedgesWon.add(1);
  }
}

const labelsOf = {
  put: { kind: "put" },
  get: { kind: "get" },
  list: { kind: "list" },
  delete: { kind: "delete" },
  lifecycle: { kind: "lifecycle" },
} as const;
