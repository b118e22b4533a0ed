/** An `S3Store` before a `FakeBucket`, with short times, for tests. */
import { systemClock } from "../clock.ts";
import { systemRandom } from "../random.ts";
import type { Clock, Facts, Logger, Meter } from "../../base/ports.ts";
import { CredentialSource, findCredentials } from "./credentials.ts";
import type { FakeBucket } from "./fake-bucket.ts";
import { locateBucket } from "./location.ts";
import { S3Store, type S3StoreOptions } from "./store.ts";

export const quietLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** Sums by name and labels: `holdfast_s3_requests_total{kind="get"}` is under "holdfast_s3_requests_total get". */
export class SummingMeter implements Meter {
  readonly sums = new Map<string, number>();
  readonly gauges = new Map<string, () => number>();

  counter(name: string): ReturnType<Meter["counter"]> {
    return { add: (amount, labels) => this.#add([name, ...Object.values(labels ?? {})].join(" "), amount) };
  }
  gauge(name: string, _help: string, read: () => number): void {
    this.gauges.set(name, read);
  }
  histogram(name: string): ReturnType<Meter["histogram"]> {
    return { observe: (_value, labels) => this.#add([name, ...Object.values(labels ?? {})].join(" "), 1) };
  }
  sum(name: string): number {
    return this.sums.get(name) ?? 0;
  }
  read(name: string): number {
    return this.gauges.get(name)?.() ?? NaN;
  }
  #add(name: string, amount: number): void {
    this.sums.set(name, this.sum(name) + amount);
  }
}

/** Waits are a fraction of what they are told, for tests that meet many of them. */
export const hastyClock = (factor: number): Clock => ({
  ...systemClock,
  schedule: (delayMs, run) => systemClock.schedule(delayMs / factor, run),
});

export const keys = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "secret" };

export function storeBefore(
  fake: FakeBucket,
  options: Partial<S3StoreOptions> & {
    readonly url?: string;
    readonly env?: { readonly [name: string]: string };
    readonly region?: string;
  } = {},
): S3Store & { readonly meter: SummingMeter; readonly lines: readonly string[] } {
  const { url = "s3://bucket/holdfast", env = keys, region, ...rest } = options;
  const clock = options.clock ?? systemClock;
  const meter = new SummingMeter();
  const lines: string[] = [];
  const note = (event: string, facts?: Facts): void =>
    void lines.push(`${event} ${JSON.stringify(facts ?? {})}`);
  const log = { debug: note, info: note, warn: note, error: note };
  const store = new S3Store({
    clock,
    log,
    meter,
    random: systemRandom(),
    location: locateBucket(url, { endpoint: fake.endpoint, region }),
    credentials: new CredentialSource(findCredentials(env, clock), { clock, log }),
    ...rest,
  });
  return Object.assign(store, { meter, lines });
}
