import assert from "node:assert/strict";
import { test } from "node:test";
import { aBroker } from "../../../test/simulated-broker.ts";
import { nodeId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { decodeResponse, encodeRequest } from "../../protocol/frame.ts";
import { ApiVersions, type ApiVersionsRequest } from "../../protocol/messages/api-versions.ts";
import { Metadata } from "../../protocol/messages/metadata.ts";
import { handlers } from "../handlers.ts";
import { isTold } from "./api-versions.ts";

const told = handlers.filter(({ api }) => isTold(api));

const aRequest = (over: Partial<ApiVersionsRequest> = {}): ApiVersionsRequest => ({
  clientSoftwareName: "a-client",
  clientSoftwareVersion: "1.2.3",
  clusterId: null,
  nodeId: nodeId(-1),
  ...over,
});

test("tells what is served, and Produce from version 0 on for librdkafka", async (t) => {
  const broker = await aBroker(t);
  for (const version of [0, 1, 2, 3, 4, 5]) {
    const answer = await broker.ask(ApiVersions, aRequest(), version);
    assert.equal(answer.errorCode, ErrorCode.NONE);
    assert.deepEqual(
      answer.apiKeys.map(({ apiKey }) => apiKey),
      [
        0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
        32, 33, 35, 37, 42, 43, 44, 45, 46, 47, 57, 60, 61, 65, 66, 68, 69, 74, 75, 76, 77, 78, 79, 83, 84,
        85, 86, 87, 90, 91, 92,
      ],
    );
    assert.deepEqual(answer.apiKeys[0], { apiKey: 0, minVersion: 0, maxVersion: 13 });
    assert.deepEqual(answer.apiKeys[3], { apiKey: 3, minVersion: 0, maxVersion: 13 });
  }
});

test("answers a version of the future with version 0, the error and the list", async (t) => {
  const { broker } = await aBroker(t);
  const future = { ...ApiVersions, requestHeaderVersion: () => 2 as const };
  const chunks = encodeRequest(future, { apiVersion: 5, correlationId: 9, clientId: null }, aRequest());
  const frame = Buffer.concat(chunks).subarray(4);
  frame.writeInt16BE(99, 2);
  const { Dispatch } = await import("../dispatch.ts");
  const sent = new Dispatch(broker.services).begin(new Uint8Array(frame), null as never) as Uint8Array[];
  const answer = decodeResponse(ApiVersions, 0, new Uint8Array(Buffer.concat(sent)).subarray(4));
  assert.equal(answer.errorCode, ErrorCode.UNSUPPORTED_VERSION);
  assert.equal(answer.apiKeys.length, told.length);
});

test("refuses names of software that are no names", async (t) => {
  const broker = await aBroker(t);
  const name = await broker.ask(ApiVersions, aRequest({ clientSoftwareName: "-bad-" }));
  assert.equal(name.errorCode, ErrorCode.INVALID_REQUEST);
  const long = await broker.ask(ApiVersions, aRequest({ clientSoftwareName: "a".repeat(256) }));
  assert.equal(long.errorCode, ErrorCode.INVALID_REQUEST);
  const version = await broker.ask(ApiVersions, aRequest({ clientSoftwareVersion: "" }));
  assert.equal(version.errorCode, ErrorCode.INVALID_REQUEST);
  assert.equal(version.apiKeys.length, told.length);
});

test("sends a client that means another cluster or broker back to its bootstrap addresses", async (t) => {
  const broker = await aBroker(t);
  const ask = async (over: Partial<ApiVersionsRequest>) =>
    (await broker.ask(ApiVersions, aRequest(over))).errorCode;
  const { clusterId } = await broker.ask(Metadata, {
    topics: [],
    allowAutoTopicCreation: false,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  });
  assert.equal(await ask({ clusterId, nodeId: nodeId(1) }), ErrorCode.NONE);
  assert.equal(await ask({ clusterId, nodeId: nodeId(-2) }), ErrorCode.NONE);
  assert.equal(await ask({ clusterId: "another" }), ErrorCode.REBOOTSTRAP_REQUIRED);
  assert.equal(await ask({ clusterId, nodeId: nodeId(7) }), ErrorCode.REBOOTSTRAP_REQUIRED);
});
