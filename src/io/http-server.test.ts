import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { health } from "../http/health.ts";
import { metrics } from "../http/metrics.ts";
import { serveHttp } from "./http-server.ts";
import { openMeter } from "./meter.ts";

describe("metrics and health over HTTP", () => {
  it("are served to GET, and nothing else is", async () => {
    const meter = openMeter();
    meter.counter("holdfast_test_total", "Test.").add(3);
    let canAcknowledge = true;
    const server = await serveHttp(
      { host: "127.0.0.1", port: 0 },
      {
        "/metrics": () => metrics(meter),
        "/health": () =>
          health({ health: () => ({ canAcknowledge, reason: canAcknowledge ? null : "The disk is full." }) }),
        "/broken": () => {
          throw new Error("It broke.");
        },
      },
    );
    const get = async (path: string, method = "GET"): Promise<[number, string]> => {
      const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method });
      return [response.status, await response.text()];
    };
    const [status, text] = await get("/metrics");
    assert.equal(status, 200);
    assert.match(
      text,
      /^# HELP holdfast_test_total Test\.\n# TYPE holdfast_test_total counter\nholdfast_test_total 3$/m,
    );
    assert.match(text, /^process_resident_memory_bytes /m);
    assert.deepEqual(await get("/health"), [200, '{"canAcknowledge":true,"reason":null}\n']);
    canAcknowledge = false;
    assert.deepEqual(await get("/health?x=1"), [
      503,
      '{"canAcknowledge":false,"reason":"The disk is full."}\n',
    ]);
    assert.deepEqual(await get("/health", "HEAD"), [503, ""]);
    assert.equal((await get("/health", "POST"))[0], 405);
    assert.equal((await get("/toString"))[0], 404);
    assert.deepEqual(await get("/broken"), [500, "It broke.\n"]);
    await server.close();
  });
});
