/**
 * How fast life is in a world of queues: all at once, or as where little is to do and hours pass: locks of a minute,
 * long work, rests longer than any poll, and deaths half a minute apart. All times in ms.
 */
import { type Pace, sparse } from "./pace.ts";
import type { SimRandom } from "./random.ts";

/** Of workers of share groups. */
export interface WorkPace {
  readonly lockMs: number;
  /** Most time that a worker works on a record alone. */
  readonly workMs: number;
  /** Most time that it does something else, now and then, with records in its hands. */
  readonly idleMs: number;
}

export interface SharePace extends Pace, WorkPace {
  /** Of trouble. */
  readonly troubleMs: number;
  /** Mean time from one fault to the aim of the next. */
  readonly gapMs: number;
  /** How long the broker is away after it died. */
  readonly downtimesMs: readonly number[];
}

/** Much goes on in little time: workers find something whenever they ask. */
const hasty: SharePace = {
  ...sparse,
  restFactor: 10_000,
  pauseFactor: 100,
  troubleMs: 900_000,
  gapMs: 8_000,
  downtimesMs: [10, 100, 500, 3_000],
  lockMs: 15_000,
  workMs: 1_000,
  idleMs: 10_000,
};

/** Of those who have time. */
export const patientWork: WorkPace = { lockMs: 30_000, workMs: 20_000, idleMs: 60_000 };

/** Workers wait for records, and each broker lives long enough to have time-outs of its own. */
const patient = { ...sparse, downtimesMs: [10, 500, 3_000, 10_000], gapMs: 18_000, workMs: 20_000 };

export const drawSharePace = (random: SimRandom): SharePace =>
  random.pick([
    hasty,
    { ...patient, troubleMs: 3_600_000, lockMs: random.pick([30_000, 60_000]), idleMs: 60_000 },
  ]);
