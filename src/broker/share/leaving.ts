/**
 * What leaves a share-partition as one change of its state: what its table decided, what the letters that go along
 * archived, and the intentions of those that follow. Later words about a record replace earlier ones.
 */
import { offset } from "../../base/ids.ts";
import type { AppendSession } from "../../log/memory-tail.ts";
import type { DeadRecords } from "../../coordinator/share/delivery/state.ts";
import type { DeliveryTable } from "../../coordinator/share/delivery/table.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { LeavingChange } from "./state-line.ts";

type Batch = LeavingChange["batches"][number];

/** So many batches of letters go into one frame. */
const lettersMax = 64;

/**
 * Synchronous; null: nothing has to leave. `isHere`: the state is, so that letters may go along. `onDead`: hears of
 * records that died, each once.
 */
export function takeLeaving(
  table: DeliveryTable,
  letters: DeadLetters,
  isHere: boolean,
  onDead: (dead: readonly DeadRecords[]) => void,
): LeavingChange | null {
  let isChanged = false;
  let batches: readonly Batch[] = [];
  const take = (): void => {
    const changes = table.takeChanges();
    if (changes === null) return;
    isChanged = true;
    batches = replaced(batches, changes.batches);
    if (changes.dead.length > 0) onDead(changes.dead);
  };
  take();
  const attached: ((session: AppendSession) => void)[] = [];
  while (isHere && attached.length < lettersMax) {
    const ready = letters.leave();
    if (ready === null) break;
    attached.push(ready.attach);
  }
  // What the letters archived, and what was dropped.
  take();
  const intention = letters.takeIntention();
  if (intention !== null) batches = replaced(batches, [intention]);
  if (!isChanged && intention === null) return null;
  const { startOffset, counts } = table;
  return {
    startOffset,
    deliveryCompleteCount: counts.acknowledged + counts.archived,
    batches: batches.flatMap((batch) => cut(batch, startOffset, Infinity)),
    ...(attached.length > 0 ? { attach: (session) => attached.forEach((attach) => attach(session)) } : {}),
  };
}

/** In order, none over another. */
function replaced(before: readonly Batch[], after: readonly Batch[]): readonly Batch[] {
  if (before.length === 0 || after.length === 0) return before.length === 0 ? after : before;
  let rest: readonly Batch[] = before;
  for (const { first, last } of after) {
    rest = rest.flatMap((batch) => [...cut(batch, -1, first - 1), ...cut(batch, last + 1, Infinity)]);
  }
  return [...rest, ...after].sort((a, b) => a.first - b.first);
}

/** What of it lies in [first, last]. */
function cut(batch: Batch, first: number, last: number): readonly Batch[] {
  if (batch.first > last || batch.last < first) return [];
  return [
    { ...batch, first: offset(Math.max(batch.first, first)), last: offset(Math.min(batch.last, last)) },
  ];
}
