import assert from "node:assert/strict";
import { test } from "node:test";
import { aTopicId } from "../../test/proof/journal-world.ts";
import { aRef, MemoryStore } from "../../test/proof/segment-world.ts";
import { SegmentIndex } from "../log/segment-index.ts";
import type { PartitionState, TopicState } from "../metadata/state.ts";
import { silentLogger } from "../sim/silence.ts";
import { type LoadingPorts, openPartitions, OutdatedViewError } from "./partition-loading.ts";

const gone = { index: 0, folded: null, recent: [aRef(0, 5)] } as unknown as PartitionState;
const topic = { id: aTopicId(1), name: "orders", partitions: [gone] } as unknown as TopicState;

/** Opens a partition whose segment is gone, by a view that `refresh` exchanges for another. */
async function open(fresh: PartitionState): Promise<{ readonly opened: number }> {
  let state = topic;
  let opened = 0;
  const topics = { byId: () => state, open: () => ({ opened: ++opened }) };
  const ports = {
    log: silentLogger,
    topics,
    index: new SegmentIndex(new MemoryStore(), 1 << 20),
    refresh: async () => {
      state = { ...topic, partitions: [fresh] };
    },
  } as unknown as LoadingPorts;
  await openPartitions([{ topic, partition: gone }], new Map(), { brokers: new Map() } as never, ports);
  return { opened };
}

test("a segment that is gone is damage only if the journal, read again, still names it", async () => {
  await assert.rejects(open({ ...gone }), OutdatedViewError);
  assert.equal((await open(gone)).opened, 1, "what lies beside the damage is served");
});
