/** Which transactional ids ListTransactions tells (KIP-664, KIP-994, KIP-1152). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { producerId } from "../../base/ids.ts";
import { type ListRequest, listFilter } from "./listing.ts";
import { part, TransactionFixture } from "./shard-fixture.ts";

const everything: ListRequest = {
  stateFilters: [],
  producerIdFilters: [],
  durationFilter: -1,
  transactionalIdPattern: null,
};

/** "old" has been open for 10 s, "new" for 1 s; "idle" never was. */
function three(): TransactionFixture {
  const at = new TransactionFixture();
  for (const id of ["old", "new", "idle"]) {
    const told = at.init(null, 60_000, id);
    if (id !== "idle") at.admit({ ...told, transactionalId: id }, part("x"));
    if (id === "old") at.pass(9_000);
  }
  at.pass(1_000);
  return at;
}

function listed(at: TransactionFixture, request: Partial<ListRequest>): readonly string[] {
  const filter = listFilter({ ...everything, ...request }, at.shard.idCharacters);
  assert.ok(typeof filter !== "string");
  return at.shard.list(filter, at.wallMs).map(({ transactionalId }) => transactionalId);
}

test("without filters all ids are told, each with its producer and state", () => {
  const at = three();
  const filter = listFilter(everything, at.shard.idCharacters);
  assert.ok(typeof filter !== "string");
  assert.deepEqual(at.shard.list(filter, at.wallMs), [
    { transactionalId: "old", producerId: 100, transactionState: "Ongoing" },
    { transactionalId: "new", producerId: 101, transactionState: "Ongoing" },
    { transactionalId: "idle", producerId: 102, transactionState: "Empty" },
  ]);
});

test("states, producers, duration and pattern narrow it, each for itself and together", () => {
  const at = three();
  assert.deepEqual(listed(at, { stateFilters: ["Empty", "CompleteAbort"] }), ["idle"]);
  assert.deepEqual(listed(at, { producerIdFilters: [producerId(101), producerId(7)] }), ["new"]);
  assert.deepEqual(listed(at, { durationFilter: 5_000, stateFilters: ["Ongoing"] }), ["old"]);
  assert.deepEqual(
    listed(at, { durationFilter: 10_000, stateFilters: ["Ongoing"] }),
    [],
    "longer, not as long",
  );
  assert.deepEqual(listed(at, { transactionalIdPattern: "[a-o]ld|n.*" }), ["old", "new"]);
  assert.deepEqual(listed(at, { transactionalIdPattern: "ol" }), [], "the whole id has to match");
  assert.deepEqual(listed(at, { transactionalIdPattern: "" }), ["old", "new", "idle"]);
  assert.deepEqual(listed(at, { transactionalIdPattern: ".*", stateFilters: ["Empty"] }), ["idle"]);
});

test("names that are no states are told back, and match nothing", () => {
  const at = three();
  const filter = listFilter({ ...everything, stateFilters: ["ongoing", "Dead", "Empty"] }, 0);
  assert.ok(typeof filter !== "string");
  assert.deepEqual(filter.unknownStates, ["ongoing"]);
  assert.equal(at.shard.list(filter, at.wallMs).length, 1);
});

test("a pattern that is wrong, too long or too costly is refused with a reason", () => {
  const refused = (transactionalIdPattern: string, idCharacters = 10): string => {
    const filter = listFilter({ ...everything, transactionalIdPattern }, idCharacters);
    return typeof filter === "string" ? filter : "accepted";
  };
  assert.match(refused("("), /missing|parenthes/i);
  assert.match(refused("a".repeat(1_025)), /longer than/);
  assert.match(refused("(a{1,100}){1,9}", 1_000_000), /costly/);
});

test("a pattern that would take other engines years takes none", () => {
  const at = new TransactionFixture();
  at.init(null, 60_000, `${"a".repeat(1_000)}!`);
  assert.deepEqual(listed(at, { transactionalIdPattern: "(a*)*b" }), []);
});
