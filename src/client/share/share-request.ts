/** What a share fetch says of partitions: those that are new to the session, those that carry words, those that it shall forget. */
import { partitionIndex } from "../../base/ids.ts";
import type { ShareFetchRequest } from "../../protocol/messages/share-fetch.ts";
import { type Carried, nameOf } from "./acknowledgements.ts";
import type { SharePlace } from "./membership.ts";

export function topicsOf(added: readonly SharePlace[], carried: Carried): ShareFetchRequest["topics"] {
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

export function forgotten(gone: readonly SharePlace[]): ShareFetchRequest["forgottenTopicsData"] {
  const topics = new Map<SharePlace["topicId"], SharePlace[]>();
  for (const place of gone) topics.set(place.topicId, [...(topics.get(place.topicId) ?? []), place]);
  return [...topics].map(([topicId, places]) => ({
    topicId,
    partitions: places.map(({ partition }) => partitionIndex(partition)),
  }));
}
