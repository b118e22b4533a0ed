import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openMeter } from "./meter.ts";

async function linesOf(meter: ReturnType<typeof openMeter>): Promise<string[]> {
  return (await meter.expose()).text.split("\n").filter((line) => line.startsWith("holdfast_"));
}

describe("the meter", () => {
  it("shows counters by their labels, and an untouched one as zero", async () => {
    const meter = openMeter();
    const requests = meter.counter("holdfast_test_requests_total", "Requests.");
    meter.counter("holdfast_test_idle_total", "Nothing yet.");
    requests.add(2, { api: "Produce" });
    requests.add(1, { api: "Produce" });
    requests.add(5, { api: 'a"b\n' });
    assert.deepEqual(await linesOf(meter), [
      'holdfast_test_requests_total{api="Produce"} 3',
      'holdfast_test_requests_total{api="a\\"b\\n"} 5',
      "holdfast_test_idle_total 0",
    ]);
  });

  it("reads a gauge when someone looks, also one that was registered after the first look", async () => {
    const meter = openMeter();
    let value = 1;
    meter.gauge("holdfast_test_level_bytes", "Level.", () => value);
    await linesOf(meter);
    value = 7;
    meter.gauge("holdfast_test_later_bytes", "Later.", () => 8);
    assert.deepEqual(await linesOf(meter), ["holdfast_test_level_bytes 7", "holdfast_test_later_bytes 8"]);
  });

  it("counts an observation in its own bucket and all higher ones; a bound belongs to its bucket", async () => {
    const meter = openMeter();
    const sizes = meter.histogram("holdfast_test_size_bytes", "Sizes.", [1, 10]);
    for (const size of [0.5, 1, 2, 11]) sizes.observe(size);
    assert.deepEqual(await linesOf(meter), [
      'holdfast_test_size_bytes_bucket{le="1"} 2',
      'holdfast_test_size_bytes_bucket{le="10"} 3',
      'holdfast_test_size_bytes_bucket{le="+Inf"} 4',
      "holdfast_test_size_bytes_sum 14.5",
      "holdfast_test_size_bytes_count 4",
    ]);
  });

  it("refuses a second metric of one name", () => {
    const meter = openMeter();
    meter.counter("holdfast_test_total", "One.");
    assert.throws(() => meter.counter("holdfast_test_total", "Two."), /registered once/);
  });
});
