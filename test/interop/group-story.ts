/**
 * What happens to a group while it works: members join, leave, are killed and stopped, and the broker is killed,
 * at moments that a seed decides. One that can go on is always left.
 */

/** A member is named by its number, in the order of joining. */
export type GroupEvent =
  | { readonly kind: "join"; readonly member: number }
  /** Asked to end (SIGTERM). */
  | { readonly kind: "leave"; readonly member: number }
  /** SIGKILL. */
  | { readonly kind: "kill"; readonly member: number }
  /** SIGSTOP for longer than the session, then SIGCONT. */
  | { readonly kind: "pause"; readonly member: number }
  /** The broker, with SIGKILL, and at once started again. */
  | { readonly kind: "broker" };

export type GroupStory = readonly { readonly afterMs: number; readonly event: GroupEvent }[];

export interface StoryOptions {
  readonly seed: number;
  /** Of each kind so many times; joins are added where the group would be too small. */
  readonly times: Readonly<Record<GroupEvent["kind"], number>>;
  readonly membersMax: number;
  readonly pauseMs: number;
  /** Most time between two events. */
  readonly restMs: number;
}

export function groupStory({ seed, times, membersMax, pauseMs, restMs }: StoryOptions): GroupStory {
  const random = seeded(seed);
  const story: { afterMs: number; event: GroupEvent }[] = [];
  const running: number[] = [];
  const stopped: { member: number; untilMs: number }[] = [];
  let joined = 0;
  let nowMs = 0;
  const happen = (afterMs: number, event: GroupEvent): void => {
    nowMs += afterMs;
    story.push({ afterMs, event });
  };
  const join = (afterMs: number): void => {
    running.push(joined);
    happen(afterMs, { kind: "join", member: joined });
    joined += 1;
  };
  join(0);
  const kinds = Object.entries(times).flatMap(([kind, count]) =>
    Array.from({ length: count }, () => kind as GroupEvent["kind"]),
  );
  for (const kind of shuffled(kinds, random)) {
    const afterMs = Math.floor(random() * restMs);
    for (const each of stopped.filter(({ untilMs }) => untilMs <= nowMs + afterMs)) {
      stopped.splice(stopped.indexOf(each), 1);
      running.push(each.member);
    }
    if (kind === "broker") {
      happen(afterMs, { kind });
      continue;
    }
    if (kind === "join") {
      if (running.length + stopped.length < membersMax) join(afterMs);
      continue;
    }
    if (running.length < 2) join(0);
    const [member = 0] = running.splice(Math.floor(random() * running.length), 1);
    happen(afterMs, { kind, member });
    if (kind === "pause") stopped.push({ member, untilMs: nowMs + pauseMs });
  }
  return story;
}

function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  return items
    .map((item) => ({ item, place: random() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

/** Numbers in [0, 1) that a seed decides (xorshift32). */
function seeded(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
