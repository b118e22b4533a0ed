/** How fast life is in a simulated world: the same models, in haste or as real programs wait. All times in ms. */

export interface Pace {
  /** By which pauses after trouble are multiplied. */
  readonly pauseFactor: number;
  /** By which pauses between work are multiplied. */
  readonly restFactor: number;
  /** How long a consumer lets the broker wait for records. */
  readonly pollMs: number;
  /** The same of members of groups, who have heartbeats to send meanwhile. */
  readonly memberPollMs: number;
  /** After so long without a heartbeat a member is out. */
  readonly sessionMs: number;
  /** One of them is drawn for each producer that users have. */
  readonly deliveryTimeoutsMs: readonly number[];
  /** After so long open, a transaction is aborted. */
  readonly transactionMs: number;
  /** Longer than any request that reached the broker can be under way in it. */
  readonly settleMs: number;
  /** In which peace must bring every client to its end. */
  readonly peaceMs: number;
}

/** Everything all the time: sessions end within a breath. */
export const dense: Pace = {
  pauseFactor: 1,
  restFactor: 1,
  pollMs: 50,
  memberPollMs: 50,
  sessionMs: 400,
  deliveryTimeoutsMs: [500, 60_000],
  transactionMs: 700,
  settleMs: 1_000,
  peaceMs: 120_000,
};

/** Sessions, polls and pauses as they are in earnest. */
export const sparse: Pace = {
  pauseFactor: 200,
  restFactor: 40_000,
  pollMs: 30_000,
  memberPollMs: 8_000,
  sessionMs: 45_000,
  deliveryTimeoutsMs: [10_000, 120_000],
  transactionMs: 60_000,
  settleMs: 15_000,
  peaceMs: 1_800_000,
};
