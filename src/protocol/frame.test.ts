import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { arbitraryOf } from "../../test/arbitrary.ts";
import { concatBytes, Reader, Writer } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import { NO_TOPIC_ID, offset, partitionIndex } from "../base/ids.ts";
import { VersionError } from "../schema/errors.ts";
import { defaultOf } from "../schema/defaults.ts";
import type { AnyApi } from "./api.ts";
import { ErrorCode } from "./errors.ts";
import {
  decodeCorrelationId,
  decodeRequest,
  decodeRequestHeader,
  decodeResponse,
  encodeRequest,
  encodeResponse,
} from "./frame.ts";
import { ApiVersions } from "./messages/api-versions.ts";
import { Fetch, type FetchResponse } from "./messages/fetch.ts";
import { Metadata } from "./messages/metadata.ts";
import { Produce, type ProduceRequest } from "./messages/produce.ts";
import { apiByKey, apis } from "./registry.ts";

const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 8);

/** The frame without its length, which must be right. */
function bodyOf(chunks: readonly Uint8Array[]): Uint8Array {
  const whole = concatBytes(chunks);
  assert.equal(new Reader(whole).int32(), whole.byteLength - 4);
  return whole.subarray(4);
}

function eachVersion(run: (api: AnyApi, version: number) => void): void {
  for (const api of apis) {
    for (let version = api.versions[0]; version <= api.versions[1]; version++) run(api, version);
  }
}

const header = (apiVersion: number) => ({ apiVersion, correlationId: 77, clientId: "söme client" });

function requestFrame(api: AnyApi, version: number, request: unknown): Uint8Array {
  return bodyOf(encodeRequest(api, header(version), request));
}

function decodeAnyRequest(frame: Uint8Array): unknown {
  const decoded = decodeRequestHeader(frame);
  const api = apiByKey(decoded.apiKey);
  if (api === undefined || !api.speaks(decoded.apiVersion)) return undefined;
  return decodeRequest(api, decoded, frame);
}

/** A value or `MalformedError`, and nothing else. */
function assertDecodesOrRefuses(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    assert.ok(error instanceof MalformedError, String(error));
  }
}

describe("what was encoded", () => {
  test("is decoded to the same, for every API, version and direction", () => {
    eachVersion((api, version) => {
      fc.assert(
        fc.property(
          arbitraryOf(api.request, version),
          arbitraryOf(api.response, version),
          (request, response) => {
            const frame = requestFrame(api, version, request);
            const decoded = decodeRequestHeader(frame);
            assert.equal(decoded.apiKey, api.key);
            assert.equal(decoded.apiVersion, version);
            assert.equal(decoded.correlationId, 77);
            assert.equal(decoded.clientId, "söme client");
            assert.deepEqual(decodeRequest(api, decoded, frame), request);
            const answer = bodyOf(encodeResponse(api, version, -3, response));
            assert.equal(decodeCorrelationId(answer), -3);
            assert.deepEqual(decodeResponse(api, version, answer), response);
          },
        ),
        { numRuns },
      );
    });
  });

  test("refuses every truncation; a surplus byte is refused in an answer and passed over in a request", () => {
    eachVersion((api, version) => {
      fc.assert(
        fc.property(
          arbitraryOf(api.request, version),
          arbitraryOf(api.response, version),
          (request, response) => {
            const frame = requestFrame(api, version, request);
            const answer = bodyOf(encodeResponse(api, version, 5, response));
            // Long byte strings make most cuts alike: some of them are enough.
            const step = (length: number) => Math.max(1, Math.floor(length / 60));
            for (let cut = 0; cut < frame.byteLength; cut += step(frame.byteLength)) {
              assert.throws(() => decodeAnyRequest(frame.slice(0, cut)), MalformedError);
            }
            for (let cut = 0; cut < answer.byteLength; cut += step(answer.byteLength)) {
              assert.throws(() => decodeResponse(api, version, answer.slice(0, cut)), MalformedError);
            }
            assert.deepEqual(decodeAnyRequest(concatBytes([frame, new Uint8Array(1)])), request);
            assert.throws(
              () => decodeResponse(api, version, concatBytes([answer, new Uint8Array(1)])),
              MalformedError,
            );
          },
        ),
        { numRuns: Math.ceil(numRuns / 4) },
      );
    });
  });

  test("gives a value or MalformedError after any change of its bytes", () => {
    const change = fc.tuple(fc.nat(), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.nat(4));
    eachVersion((api, version) => {
      fc.assert(
        fc.property(
          arbitraryOf(api.request, version),
          arbitraryOf(api.response, version),
          fc.array(fc.array(change, { minLength: 1, maxLength: 4 }), { minLength: 10, maxLength: 20 }),
          (request, response, mutations) => {
            const frame = requestFrame(api, version, request);
            const answer = bodyOf(encodeResponse(api, version, 5, response));
            for (const changes of mutations) {
              const [badFrame, badAnswer] = [frame.slice(), answer.slice()];
              for (const [at, byte, run] of changes) {
                // Behind the API key and version, so that the body is what gets read.
                badFrame.fill(
                  byte,
                  4 + (at % (frame.byteLength - 4)),
                  4 + (at % (frame.byteLength - 4)) + run,
                );
                badAnswer.fill(byte, at % answer.byteLength, (at % answer.byteLength) + run);
              }
              assertDecodesOrRefuses(() => decodeAnyRequest(badFrame));
              assertDecodesOrRefuses(() => decodeResponse(api, version, badAnswer));
            }
          },
        ),
        { numRuns: Math.ceil(numRuns / 4) },
      );
    });
  });
});

describe("random bytes", () => {
  test("are a value or MalformedError as any request", () => {
    fc.assert(
      fc.property(fc.constantFrom(...apis), fc.nat(), fc.uint8Array({ maxLength: 80 }), (api, n, noise) => {
        const [first, last] = api.versions;
        const w = new Writer();
        w.int16(api.key);
        w.int16(first + (n % (last - first + 1)));
        w.int32(1);
        w.int16(-1);
        w.raw(noise);
        assertDecodesOrRefuses(() => decodeAnyRequest(w.finishFlat()));
        assertDecodesOrRefuses(() => decodeAnyRequest(noise));
      }),
      { numRuns: numRuns * 60 },
    );
  });

  test("cannot claim more than arrived: a count of two billion costs an error and no memory", () => {
    const w = new Writer();
    w.int16(Metadata.key);
    w.int16(4);
    w.int32(1);
    w.int16(-1);
    w.int32(0x7fffffff);
    const frame = w.finishFlat();
    const before = process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 100; i++) assert.throws(() => decodeAnyRequest(frame), /length 2147483647/);
    const after = process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
    assert.ok(after - before < 10_000_000);
  });

  test("that are many unknown tags, or much text, are refused", () => {
    const versions = (tags: number): Uint8Array => {
      const w = new Writer();
      w.int16(ApiVersions.key);
      w.int16(3);
      w.int32(1);
      w.int16(-1);
      w.uvarint(tags);
      for (let tag = 0; tag < tags; tag++) {
        w.uvarint(tag);
        w.uvarint(0);
      }
      w.raw(Buffer.from([1, 1, 0]));
      return w.finishFlat();
    };
    assert.doesNotThrow(() => decodeAnyRequest(versions(1_000)));
    assert.throws(() => decodeAnyRequest(versions(50_001)), /too many elements/);
    const produce = (transactionalId: string): Uint8Array =>
      requestFrame(Produce as AnyApi, 9, { transactionalId, acks: 1, timeoutMs: 0, topicData: [] });
    assert.doesNotThrow(() => decodeAnyRequest(produce("x".repeat(8 * 1024 * 1024))));
    assert.throws(() => decodeAnyRequest(produce("x".repeat(8 * 1024 * 1024 + 1))), /too much text/);
  });

  test("that are many tiny elements are refused before they become many objects", () => {
    const w = new Writer();
    w.int16(Metadata.key);
    w.int16(12);
    w.int32(1);
    w.int16(-1);
    w.uvarint(0);
    w.uvarint(2_000_001);
    w.raw(new Uint8Array(2_000_100));
    assert.throws(() => decodeAnyRequest(w.finishFlat()), /too many elements/);
  });
});

describe("tags", () => {
  test("that are unknown are skipped, in the header, in the body and in nested structs", () => {
    const w = new Writer();
    w.int16(Metadata.key);
    w.int16(12);
    w.int32(9);
    w.int16(-1);
    const tag = (number: number, text: string) => {
      w.uvarint(1);
      w.uvarint(number);
      w.uvarint(text.length);
      w.utf8(text, text.length);
    };
    tag(7, "header");
    w.uvarint(2); // one topic
    w.uuid(NO_TOPIC_ID);
    w.uvarint(2); // a name of one byte
    w.utf8("t", 1);
    tag(100, "topic");
    w.int8(1);
    w.int8(0);
    tag(30_000, "body");
    assert.deepEqual(decodeAnyRequest(w.finishFlat()), {
      topics: [{ topicId: NO_TOPIC_ID, name: "t" }],
      allowAutoTopicCreation: true,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    });
  });

  test("are left out when they hold their default", () => {
    const bare = bodyOf(encodeResponse(ApiVersions, 3, 1, defaultOf(ApiVersions.response) as never));
    assert.deepEqual(bare, Uint8Array.of(0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0));
  });

  test("must rise and must be as long as they say", () => {
    const request = (...body: number[]) => {
      const w = new Writer();
      w.int16(ApiVersions.key);
      w.int16(3);
      w.int32(1);
      w.int16(-1);
      w.raw(Uint8Array.from(body));
      return w.finishFlat();
    };
    assert.throws(() => decodeAnyRequest(request(2, 5, 0, 5, 0, 1, 1, 0)), /tags must rise/);
    assert.throws(() => decodeAnyRequest(request(0, 1, 1, 1, 0, 9)), MalformedError);
    assert.doesNotThrow(() => decodeAnyRequest(request(0, 1, 1, 0)));
  });
});

test("a request is read where librdkafka 2.16 asks for all topics with four bytes of length where one is due", () => {
  // Metadata 13, correlation 4, client "rdkafka", no tags · int32 0 · may create · no operations · no tags
  const frame = Buffer.from("0003000d00000004000772646b61666b6100" + "00000000" + "01" + "00" + "00", "hex");
  assert.equal((decodeAnyRequest(frame) as { topics: unknown }).topics, null);
});

describe("headers", () => {
  test("ApiVersions answers without tags in the header, other flexible APIs with them", () => {
    assert.equal(ApiVersions.responseHeaderVersion(4), 0);
    assert.equal(Metadata.responseHeaderVersion(9), 1);
    assert.equal(Metadata.responseHeaderVersion(8), 0);
    assert.equal(Metadata.requestHeaderVersion(8), 1);
    assert.equal(ApiVersions.requestHeaderVersion(3), 2);
  });

  test("can be read of APIs and versions that nobody knows", () => {
    const frame = Uint8Array.of(0x7f, 0xff, 0, 99, 0, 0, 0, 5, 0, 2, 0x68, 0x69, 1, 2, 3);
    assert.deepEqual(decodeRequestHeader(frame), {
      apiKey: 0x7fff,
      apiVersion: 99,
      correlationId: 5,
      clientId: "hi",
      end: 12,
    });
    assert.throws(
      () => decodeRequestHeader(Uint8Array.of(0, 1, 0, 0, 0, 0, 0, 5, 0xff, 0xf0)),
      MalformedError,
    );
  });
});

describe("records", () => {
  const aProduceRequest = (records: readonly Uint8Array[] | null): ProduceRequest => ({
    transactionalId: null,
    acks: -1,
    timeoutMs: 1000,
    topicData: [{ name: "t", topicId: NO_TOPIC_ID, partitionData: [{ index: partitionIndex(0), records }] }],
  });

  test("of a request are views of the frame", () => {
    const sent = new Uint8Array(5000).fill(7);
    const frame = requestFrame(Produce, 9, aProduceRequest([sent]));
    const request = decodeRequest(Produce, decodeRequestHeader(frame), frame);
    const received = request.topicData[0]?.partitionData[0]?.records?.[0];
    assert.deepEqual(received, sent);
    assert.equal(received?.buffer, frame.buffer);
  });

  test("of an answer are passed on by reference, several chunks as one byte string", () => {
    const chunks = [new Uint8Array(2000).fill(1), new Uint8Array(3000).fill(2)];
    const response: FetchResponse = {
      ...(defaultOf(Fetch.response) as FetchResponse),
      responses: [
        {
          topic: "t",
          topicId: NO_TOPIC_ID,
          partitions: [
            {
              ...(defaultOf(partitionOf(Fetch)) as FetchResponse["responses"][number]["partitions"][number]),
              highWatermark: offset(5),
              records: chunks,
            },
          ],
        },
      ],
    };
    const encoded = encodeResponse(Fetch, 12, 1, response);
    assert.ok(chunks.every((chunk) => encoded.includes(chunk)));
    const decoded = decodeResponse(Fetch, 12, bodyOf(encoded));
    assert.deepEqual(decoded.responses[0]?.partitions[0]?.records, [concatBytes(chunks)]);
    assert.equal(decoded.responses[0]?.partitions[0]?.errorCode, ErrorCode.NONE);
  });

  function partitionOf(api: AnyApi): never {
    const topics = api.response.kind === "struct" ? api.response.fields["responses"] : undefined;
    const topic = topics?.kind === "array" ? topics.of : undefined;
    const partitions = topic?.kind === "struct" ? topic.fields["partitions"] : undefined;
    return (partitions?.kind === "array" ? partitions.of : undefined) as never;
  }
});

describe("versions", () => {
  test("a request says no less than it was meant to: what a version lacks is refused", () => {
    const byId = { topics: null, allowAutoTopicCreation: false };
    const request = {
      ...byId,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: true,
    };
    assert.throws(() => encodeRequest(Metadata, header(7), request), VersionError);
    assert.doesNotThrow(() => encodeRequest(Metadata, header(8), request));
  });

  test("times and offsets beyond 2^53 in a request are read as the largest there is", () => {
    const request = requestFrame(Fetch, 4, {
      ...(defaultOf(Fetch.request) as object),
      topics: [
        {
          topic: "t",
          topicId: NO_TOPIC_ID,
          partitions: [
            {
              partition: 0,
              currentLeaderEpoch: -1,
              fetchOffset: 0x123456,
              lastFetchedEpoch: -1,
              logStartOffset: -1,
              partitionMaxBytes: 1,
              replicaDirectoryId: NO_TOPIC_ID,
              highWatermark: 0x7fff_ffff_ffff_ffffn,
            },
          ],
        },
      ],
    });
    const at = Buffer.from(request).indexOf(Buffer.from("0000000000123456", "hex"));
    request.set(Buffer.from("7fffffffffffffff", "hex"), at);
    const decoded = decodeRequest(Fetch, decodeRequestHeader(request), request);
    assert.equal(decoded.topics[0]?.partitions[0]?.fetchOffset, Number.MAX_SAFE_INTEGER);
  });
});
