/** What workers of a share group are given: records that say by their value where they lie, and which of them are poison. */

/** "sound": to be accepted. "rejected": its worker rejects it. "deadly": whoever is given it dies of it. */
export type JobKind = "sound" | "rejected" | "deadly";

export interface Poison {
  /** Of so many records of a partition one is; 0: none. */
  readonly rejectedEvery: number;
  readonly deadlyEvery: number;
}

export const noPoison: Poison = { rejectedEvery: 0, deadlyEvery: 0 };

/** Not the first, so that also a short play has sound neighbours on both sides. */
const place = 7;
/** So far apart that not every partition has its poison at the same time. */
const partitionStep = 7_919;

export function jobKind(partition: number, offset: number, { rejectedEvery, deadlyEvery }: Poison): JobKind {
  const at = offset + partition * partitionStep;
  if (deadlyEvery > 0 && at % deadlyEvery === place) return "deadly";
  if (rejectedEvery > 0 && at % rejectedEvery === place) return "rejected";
  return "sound";
}

/** `1-7`, `1-8!rejected`, `1-9!deadly`: workers look at what is behind the exclamation mark. */
export function jobValue(partition: number, offset: number, poison: Poison): string {
  const kind = jobKind(partition, offset, poison);
  return kind === "sound" ? `${partition}-${offset}` : `${partition}-${offset}!${kind}`;
}
