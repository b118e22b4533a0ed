import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { letterDistance, nearest } from "./nearest.ts";

describe("the nearest name", () => {
  it("counts letters that were dropped, added, changed or swapped", () => {
    assert.deepEqual(
      [
        letterDistance("ordrs", "orders"),
        letterDistance("orderss", "orders"),
        letterDistance("irders", "orders"),
        letterDistance("odrers", "orders"),
        letterDistance("", "abc"),
      ],
      [1, 1, 1, 1, 3],
    );
  });

  it("is told when it is near enough to be meant", () => {
    assert.equal(nearest("ordrs", ["payments", "orders", "order-lines"]), "orders");
    assert.equal(nearest("Orders", ["orders"]), "orders");
    assert.equal(nearest("x", ["orders"]), undefined);
    assert.equal(nearest("shipments", ["orders", "payments"]), undefined);
    assert.equal(nearest("orders", []), undefined);
  });
});
