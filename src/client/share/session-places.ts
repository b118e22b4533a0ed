/**
 * The partitions of a share session: which are wanted, which of them the broker was told of, and which are not to be
 * asked for before a time. A fetch says the difference only: those that are new, those that shall be forgotten.
 */
import { partitionIndex } from "../../base/ids.ts";
import type { ShareFetchRequest } from "../../protocol/messages/share-fetch.ts";
import { type Carried, nameOf } from "./acknowledgements.ts";
import type { SharePlace } from "./membership.ts";

/** By `nameOf`. */
export type NamedPlaces = ReadonlyMap<string, SharePlace>;

export class SessionPlaces {
  #wanted: NamedPlaces = new Map();
  /** As the broker has it. */
  #told: NamedPlaces = new Map();
  /** On the monotonic clock. */
  readonly #notBeforeMs = new Map<string, number>();

  /** Nothing is wanted. */
  get isEmpty(): boolean {
    return this.#wanted.size === 0;
  }

  want(places: readonly SharePlace[]): void {
    this.#wanted = new Map(places.map((place) => [nameOf(place), place]));
  }

  postpone(place: SharePlace, untilMs: number): void {
    this.#notBeforeMs.set(nameOf(place), untilMs);
  }

  /** When partitions that are postponed may be asked for. */
  times(): Iterable<number> {
    return this.#notBeforeMs.values();
  }

  /** Those that may be asked for. */
  at(nowMs: number): NamedPlaces {
    if (this.#notBeforeMs.size === 0) return this.#wanted;
    for (const [name, untilMs] of this.#notBeforeMs) if (untilMs <= nowMs) this.#notBeforeMs.delete(name);
    return new Map([...this.#wanted].filter(([name]) => !this.#notBeforeMs.has(name)));
  }

  /** What a fetch of these says of partitions, with the words that it carries. */
  toTell(asked: NamedPlaces, carried: Carried): Pick<ShareFetchRequest, "topics" | "forgottenTopicsData"> {
    const added = [...asked].flatMap(([name, place]) => (this.#told.has(name) ? [] : [place]));
    const gone = [...this.#told].flatMap(([name, place]) => (asked.has(name) ? [] : [place]));
    return { topics: topicsOf(added, carried), forgottenTopicsData: forgotten(gone) };
  }

  /** It was answered. */
  told(asked: NamedPlaces): void {
    this.#told = asked;
  }

  /** The broker begins anew. */
  forget(): void {
    this.#told = new Map();
  }
}

function topicsOf(added: readonly SharePlace[], carried: Carried): ShareFetchRequest["topics"] {
  const topics = new Map(
    carried.topics.map(({ topicId, partitions }) => [topicId, { topicId, partitions: [...partitions] }]),
  );
  for (const place of added) {
    // It is named already, with what is said of it.
    if (carried.wishes.has(nameOf(place))) continue;
    const { topicId, partition } = place;
    const topic = topics.get(topicId) ?? { topicId, partitions: [] };
    topics.set(topicId, topic);
    topic.partitions.push({ partitionIndex: partitionIndex(partition), acknowledgementBatches: [] });
  }
  return [...topics.values()];
}

function forgotten(gone: readonly SharePlace[]): ShareFetchRequest["forgottenTopicsData"] {
  const topics = new Map<SharePlace["topicId"], SharePlace[]>();
  for (const place of gone) topics.set(place.topicId, [...(topics.get(place.topicId) ?? []), place]);
  return [...topics].map(([topicId, places]) => ({
    topicId,
    partitions: places.map(({ partition }) => partitionIndex(partition)),
  }));
}
