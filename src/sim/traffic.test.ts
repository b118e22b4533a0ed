import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiVersions } from "../protocol/messages/api-versions.ts";
import { encodeRequest, encodeResponse } from "../protocol/frame.ts";
import { nodeId } from "../base/ids.ts";
import { SimNetwork } from "./network.ts";
import { SimRandom } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { Traffic } from "./traffic.ts";

const request = (correlationId: number) =>
  encodeRequest(
    ApiVersions,
    { apiVersion: 4, correlationId, clientId: "client" },
    { clientSoftwareName: "simulation", clientSoftwareVersion: "1", clusterId: null, nodeId: nodeId(-1) },
  );
const response = (correlationId: number) =>
  encodeResponse(ApiVersions, 4, correlationId, {
    errorCode: 0 as never,
    apiKeys: [],
    throttleTimeMs: 0,
    supportedFeatures: [],
    finalizedFeaturesEpoch: -1,
    finalizedFeatures: [],
    zkMigrationReady: false,
  });

test("a request is in flight until its answer arrives, however the bytes are cut", async () => {
  for (let seed = 0; seed < 20; seed++) {
    const random = new SimRandom(seed);
    const scheduler = new Scheduler(random);
    const network = new SimNetwork(scheduler, random);
    const traffic = new Traffic(network);
    const flying = (): readonly number[] => Array.from(traffic.inFlight(), (flight) => flight.correlationId);
    const answered: number[] = [];
    traffic.onAnswer = ({ correlationId }) => answered.push(correlationId);
    await network.listen({ host: "", port: 1 }, (server) => {
      const ignore = () => undefined;
      server.open({ onData: ignore, onEnd: ignore, onDrain: ignore, onClose: ignore });
      scheduler.schedule(200, () => server.write(response(1)));
      scheduler.schedule(400, () => server.write(response(2)));
    });
    const client = network.connect(1);
    assert.ok(client !== null);
    const ignore = () => undefined;
    client.open({ onData: ignore, onEnd: ignore, onDrain: ignore, onClose: ignore });
    client.write([...request(1), ...request(2)]);
    assert.deepEqual(flying(), [1, 2]);
    await scheduler.run({ untilMs: 350 });
    assert.deepEqual(flying(), [2]);
    await scheduler.run({ untilMs: 600 });
    assert.deepEqual(flying(), []);
    assert.deepEqual(answered, [1, 2]);
    assert.equal(traffic.requests, 2);
  }
});

test("what a connection had in flight ends with it", async () => {
  const random = new SimRandom(1);
  const scheduler = new Scheduler(random);
  const network = new SimNetwork(scheduler, random);
  const traffic = new Traffic(network);
  await network.listen({ host: "", port: 1 }, () => undefined);
  const client = network.connect(1);
  client?.write(request(1));
  assert.equal([...traffic.inFlight()].length, 1);
  client?.destroy();
  assert.equal([...traffic.inFlight()].length, 0);
});
