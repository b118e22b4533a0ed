/** Turns starting points into offsets: what "start", "end", a time or "the last n" mean in each partition now. */
import { type Offset, offset } from "../base/ids.ts";
import { ListedOffset } from "../protocol/messages/list-offsets.ts";
import type { Cluster } from "./cluster.ts";
import type { StartingPoint } from "./consumer-options.ts";
import type { Links } from "./links.ts";
import { type Isolation, lookUpOffsets } from "./offset-lookup.ts";

export interface PlaceQuestion {
  readonly topic: string;
  readonly partition: number;
  readonly to: StartingPoint;
}

export interface Place {
  /** The offset to begin at. */
  readonly at: Offset;
  /** What the partition held when it was asked; `undefined`: nobody had to ask. */
  readonly range: { readonly start: Offset; readonly end: Offset } | undefined;
}

/** In the order of the questions. With `withEnds` each has its range. Rejects as `lookUpOffsets` does. */
export async function findPlaces(
  access: { readonly cluster: Cluster; readonly links: Links },
  questions: readonly PlaceQuestion[],
  options: { readonly isolation: Isolation; readonly withEnds: boolean },
): Promise<readonly Place[]> {
  const ranged = questions.filter(({ to }) => options.withEnds || needsRange(to));
  const timed = questions.filter(({ to }) => typeof to === "object" && "timeMs" in to);
  const ask = async (
    asked: readonly PlaceQuestion[],
    timestamp: (to: StartingPoint) => number,
  ): Promise<ReadonlyMap<PlaceQuestion, Offset>> => {
    if (asked.length === 0) return new Map();
    const wanted = asked.map(({ topic, partition, to }) => ({ topic, partition, timestamp: timestamp(to) }));
    const found = await lookUpOffsets(access, wanted, options.isolation);
    return new Map(asked.map((question, index) => [question, (found[index] as { offset: Offset }).offset]));
  };
  const [starts, ends, times] = await Promise.all([
    ask(ranged, () => ListedOffset.earliest),
    ask(ranged, () => ListedOffset.latest),
    ask(timed, (to) => (to as { readonly timeMs: number }).timeMs),
  ]);
  return questions.map((question) => {
    const start = starts.get(question);
    const end = ends.get(question);
    const range = start === undefined || end === undefined ? undefined : { start, end };
    return { at: placeOf(question.to, range, times.get(question)), range };
  });
}

/** Only an offset is known without asking. */
function needsRange(to: StartingPoint): boolean {
  return typeof to !== "number";
}

function placeOf(to: StartingPoint, range: Place["range"], timed: Offset | undefined): Offset {
  if (typeof to === "number") return offset(to);
  const { start, end } = range as NonNullable<Place["range"]>;
  if (to === "start") return start;
  if (to === "end") return end;
  if ("last" in to) return offset(Math.max(start, end - to.last));
  // No record is as young as that: the first to come will be.
  return timed === undefined || timed < 0 ? end : timed;
}
