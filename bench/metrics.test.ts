import assert from "node:assert/strict";
import { test } from "node:test";
import { histogramOf, quantileBetween, valueOf } from "./metrics.ts";

const before = `# HELP wal_sync_seconds time
wal_sync_seconds_bucket{le="0.001"} 10
wal_sync_seconds_bucket{le="0.003"} 10
wal_sync_seconds_bucket{le="+Inf"} 10
wal_sync_seconds_count 10
bytes_total{kind="a"} 3
bytes_total{kind="b"} 4
`;
const after = before
  .replaceAll(/le="0.001"} 10/g, 'le="0.001"} 60')
  .replaceAll(/(0.003|Inf)"} 10/g, '$1"} 110');

test("a metric is summed over its labels, and a name is not taken for a longer one", () => {
  assert.equal(valueOf(before, "bytes_total"), 7);
  assert.equal(valueOf(before, "bytes"), 0);
});

test("a quantile is taken of what was observed between two looks", () => {
  const [first, second] = [histogramOf(before, "wal_sync_seconds"), histogramOf(after, "wal_sync_seconds")];
  assert.equal(quantileBetween(first, second, 0.5, 1), 0.001);
  assert.equal(quantileBetween(first, second, 0.75, 1), 0.002);
  assert.equal(quantileBetween(first, second, 0.5, 101), undefined);
});

test("a histogram that is not there is an error", () => {
  assert.throws(() => histogramOf(before, "sync_seconds"), /no histogram/);
});
