import assert from "node:assert/strict";
import test from "node:test";
import { startBroker } from "holdfast/testing";
import { Accounts, type Rule } from "../accounts.ts";

const right: Rule = (balance, { kind, cents }) => (kind === "deposited" ? balance + cents : balance - cents);
/** Somebody forgot that money can be withdrawn. */
const wrong: Rule = (balance, { cents }) => balance + cents;

async function withEvents(accounts: Accounts): Promise<void> {
  await accounts.record("ann", { kind: "deposited", cents: 500 });
  await accounts.record("bob", { kind: "deposited", cents: 300 });
  await accounts.record("ann", { kind: "withdrawn", cents: 200 });
}

test("what was in memory is built again from the events, also after a crash of the broker", async () => {
  await using broker = await startBroker({ topics: [{ name: "account-events", partitions: 3 }] });
  await using accounts = new Accounts(broker.address);
  await withEvents(accounts);
  await broker.crash();
  await broker.restart();
  assert.deepEqual(
    await accounts.rebuild(right),
    new Map([
      ["ann", 300],
      ["bob", 300],
    ]),
  );
});

test("a view that was built by a wrong rule is mended by replaying the events with the right one", async () => {
  await using broker = await startBroker({ topics: ["account-events"] });
  await using accounts = new Accounts(broker.address);
  await withEvents(accounts);
  const view = new Map<string, number>();
  let events = 0;
  const counting =
    (rule: Rule): Rule =>
    (balance, event) => {
      events++;
      return rule(balance, event);
    };
  await accounts.follow(view, counting(wrong), () => events === 3);
  assert.deepEqual(Object.fromEntries(view), { ann: 700, bob: 300 });

  view.clear();
  events = 0;
  await accounts.replay();
  await accounts.follow(view, counting(right), () => events === 3);
  assert.deepEqual(Object.fromEntries(view), { ann: 300, bob: 300 });

  // And it goes on from there with what happens next.
  await accounts.record("bob", { kind: "withdrawn", cents: 100 });
  await accounts.follow(view, counting(right), () => events === 4);
  assert.deepEqual(Object.fromEntries(view), { ann: 300, bob: 200 });
});
