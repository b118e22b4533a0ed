/**
 * Our messages are Kafka's: each schema is compared with the definition in the published jar of Apache
 * Kafka 4.4.0, field by field and version by version. Run it with `node --test test/spec/*.test.ts`; it
 * needs the network once.
 */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type { AnyApi } from "../../src/protocol/api.ts";
import { apis, peerApis, peerKeysFrom } from "../../src/protocol/registry.ts";
import { from, int64, orElse, string, struct } from "../../src/schema/types.ts";
import { kafkaMessages, type MessageJson } from "./kafka-jar.ts";
import { type Layout, layoutOfDefinition, layoutOfSchema, servedVersions, versionRange } from "./layout.ts";

let messages: ReadonlyMap<string, MessageJson>;
before(async () => {
  messages = await kafkaMessages();
});

function definition(name: string): MessageJson {
  const found = messages.get(name);
  assert.ok(found !== undefined, `Kafka 4.4.0 has no ${name}`);
  return found;
}

/** Whether a sender may drop a field matters for requests only: our answers never hold what was not asked for. */
function comparable(layout: Layout, kind: "request" | "response"): unknown {
  return layout.map((field) => ({
    ...field,
    ...(kind === "response" ? { ignorable: null } : {}),
    ...("fields" in field && field.fields !== null ? { fields: comparable(field.fields, kind) } : {}),
  }));
}

function compare(each: AnyApi, kind: "request" | "response"): void {
  const name = each.name + (kind === "request" ? "Request" : "Response");
  const kafka = definition(name);
  const served = servedVersions(definition(`${each.name}Request`));
  assert.equal(each.key, kafka.apiKey, `${name}: api key`);
  assert.deepEqual(each.versions, [served.first, served.last], `${name}: versions`);
  assert.equal(
    each.flexibleFrom,
    versionRange(kafka.flexibleVersions)?.first ?? Infinity,
    `${name}: flexible versions`,
  );
  for (let version = served.first; version <= served.last; version++) {
    assert.deepEqual(
      comparable(layoutOfSchema(each[kind], version), kind),
      comparable(layoutOfDefinition(kafka, version, served), kind),
      `${name} in version ${version}`,
    );
  }
}

describe("the schemas and Kafka's definitions", () => {
  for (const each of apis) {
    test(`${each.name}: requests agree in every version`, () => compare(each, "request"));
    test(`${each.name}: responses agree in every version`, () => compare(each, "response"));
  }
});

describe("what brokers say to each other", () => {
  // No definition of Kafka's to compare with: it must not be taken for one either.
  for (const { key, name } of peerApis) {
    test(`${name} is ours alone: Kafka has no such name, and its keys are far below`, () => {
      assert.equal(messages.get(`${name}Request`), undefined);
      assert.ok(key >= peerKeysFrom);
      const keys = Array.from(messages.values(), ({ apiKey }) => apiKey ?? 0);
      assert.ok(Math.max(...keys) < peerKeysFrom / 10);
    });
  }
});

describe("the request header", () => {
  test("is the one that frame.ts writes by hand", () => {
    const header = definition("RequestHeader");
    assert.deepEqual(
      header.fields.map((field) => [field.name, field.type, field.flexibleVersions ?? "as the header"]),
      [
        ["RequestApiKey", "int16", "as the header"],
        ["RequestApiVersion", "int16", "as the header"],
        ["CorrelationId", "int32", "as the header"],
        ["ClientId", "string", "none"],
      ],
    );
    assert.equal(header.flexibleVersions, "2+");
    assert.equal(definition("ResponseHeader").flexibleVersions, "1+");
  });
});

describe("the comparison", () => {
  const broken: { readonly what: string; readonly fields: Parameters<typeof struct>[0] }[] = [
    { what: "a wrong type", fields: { errorCode: string } },
    { what: "a wrong version", fields: { throttleTimeMs: from(99, int64) } },
    { what: "a wrong default", fields: { finalizedFeaturesEpoch: orElse(7, int64) } },
    { what: "a field too many", fields: { surplus: string } },
  ];
  for (const { what, fields } of broken) {
    test(`finds ${what}`, () => {
      const good = apis.find((each) => each.name === "ApiVersions") as AnyApi;
      assert.ok(good.response.kind === "struct");
      const bad: AnyApi = { ...good, response: struct({ ...good.response.fields, ...fields }) };
      assert.throws(() => compare(bad, "response"), { code: "ERR_ASSERTION" });
    });
  }
});
