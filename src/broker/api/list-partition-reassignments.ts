/** ListPartitionReassignments: none is ever under way, since partitions are not moved by hand. */
import { ListPartitionReassignments } from "../../protocol/messages/list-partition-reassignments.ts";
import { handle } from "../handle.ts";
import { accepted } from "../refusal.ts";

export const listPartitionReassignments = handle(ListPartitionReassignments, {
  decide: () => ({ throttleTimeMs: 0, ...accepted, topics: [] }),
});
