import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { check } from "./check.ts";
import { examplesMax } from "./findings.ts";
import { History } from "./history.ts";
import type { Operation } from "./operation.ts";
import type { GroupNumber, OperationKind, Outcome, PartitionNumber } from "./words.ts";

/** One step drawn at random; which it becomes depends on the kind of its operation. */
interface Draw {
  readonly kind: OperationKind;
  readonly client: number;
  readonly outcome: Outcome | "never";
  /** How many operations later it ends. */
  readonly late: number;
  readonly generation: number;
  readonly steps: readonly { readonly partition: number; readonly offset: number; readonly value: number }[];
}

const kinds: readonly OperationKind[] = [
  "send",
  "poll",
  "transaction",
  "assign",
  "subscribe",
  "crash",
  "join",
  "handle",
  "commit",
  "fetch-offsets",
  "reset",
  "look",
  "init",
];

const draw: fc.Arbitrary<Draw> = fc.record({
  kind: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom<OperationKind>("send", "poll", "transaction") },
    { weight: 1, arbitrary: fc.constantFrom(...kinds) },
  ),
  client: fc.nat(2),
  outcome: fc.constantFrom("ok", "ok", "ok", "fail", "unknown", "never"),
  late: fc.nat(3),
  generation: fc.integer({ min: -1, max: 4 }),
  steps: fc.array(fc.record({ partition: fc.nat(2), offset: fc.nat(8), value: fc.nat(20) }), {
    maxLength: 4,
  }),
});

function tell(draws: readonly Draw[]): History {
  const history = new History();
  const places = (["none", "delete", "compact"] as const).map((cleanup, index) =>
    history.partition("t", index, cleanup),
  );
  const group = history.group("g");
  const sent = new Set<number>();
  const open: { readonly operation: Operation; readonly outcome: Outcome; readonly at: number }[] = [];
  draws.forEach(({ kind, client, outcome, late, generation, steps }, at) => {
    const operation = history.client(`c${client}`).begin(kind, at);
    if (generation > 2) operation.through(`b${generation}`);
    for (const step of steps) addStep(operation, { kind, generation, places, group, sent, ...step });
    if (outcome !== "never") open.push({ operation, outcome, at: at + late });
    for (const each of open.filter((one) => one.at === at)) each.operation[each.outcome](at);
  });
  return history;
}

interface StepDraw {
  readonly kind: OperationKind;
  readonly generation: number;
  readonly places: readonly PartitionNumber[];
  readonly group: GroupNumber;
  readonly sent: Set<number>;
  readonly partition: number;
  readonly offset: number;
  readonly value: number;
}

function addStep(operation: Operation, step: StepDraw): void {
  const { kind, places, group, generation, offset, value } = step;
  const place = places[step.partition] as PartitionNumber;
  const facts = { payload: offset % 2, key: `${value % 3}`, timestampMs: offset };
  const sends = (): void => {
    if (step.sent.has(value)) return;
    step.sent.add(value);
    const told = operation.sends(place, `v${value}`, facts);
    if (generation >= 0) operation.stored(told, offset);
  };
  const polls = (): void => {
    if (kind === "poll" && value % 4 === 0) operation.glimpsed(place, offset, `v${value}`, facts);
    else if (generation === 4) operation.reachedEnd(place);
    else if (generation === 3) operation.rebalanced(place);
    else operation.polled(place, offset, `v${value}`, facts);
  };
  switch (kind) {
    case "send":
      return sends();
    case "poll":
      return polls();
    case "transaction":
      if (value % 3 === 0) return polls();
      if (value % 3 === 1) return sends();
      if (value % 6 === 2) return operation.inGroup(group, generation).handled(place, offset, `v${value}`);
      return operation.inGroup(group, generation).commits(place, offset);
    case "assign":
    case "subscribe":
      return operation.takes(place, generation);
    case "join":
      return operation.inGroup(group, generation).owns(place);
    case "handle":
      if (value === 0) return operation.inGroup(group, generation).reachedEnd(place);
      return operation.inGroup(group, generation).handled(place, offset, `v${value}`);
    case "commit":
      return operation.inGroup(group, generation).commits(place, offset);
    case "fetch-offsets":
      return operation.inGroup(group).committed(place, offset - 1);
    case "reset":
      return operation.inGroup(group).resets(place, offset);
    case "init":
      return void operation.takesOver("t");
    case "look":
      operation.watermarks(place, { logStart: value % 4, highWatermark: offset });
      return operation.lookedUp(place, value, offset - 1);
    default:
  }
}

test("whatever was told can be checked, twice with the same findings, each of them in whole sentences", () => {
  fc.assert(
    fc.property(fc.array(draw, { maxLength: 60 }), (draws) => {
      const history = tell(draws);
      const report = check(history);
      assert.deepEqual(check(history), report);
      for (const { count, examples } of [...report.bugs, ...report.allowed]) {
        assert.ok(examples.length > 0 && examples.length <= examplesMax && examples.length <= count);
        for (const { sentence, operations } of examples) {
          assert.match(sentence, /^[A-Z\d"tc].*\.$/s);
          assert.doesNotMatch(`${sentence}${operations.join("")}`, /undefined|NaN|null|\[object/);
        }
      }
    }),
    { numRuns: 300 },
  );
});
