import assert from "node:assert/strict";
import { test } from "node:test";
import { BucketError } from "./bucket-error.ts";
import { addressOf, locateBucket } from "./location.ts";
import { Signer } from "./signature.ts";

const hrefOf = (...args: Parameters<typeof locateBucket>): string =>
  addressOf(locateBucket(...args), "meta/1").href;

test("on AWS the bucket is part of the host, unless its name has dots", () => {
  assert.equal(hrefOf("s3://acme-log"), "https://acme-log.s3.us-east-1.amazonaws.com/meta/1");
  const region = { region: "eu-central-1" };
  assert.equal(hrefOf("s3://acme-log/a/b/", region), "https://acme-log.s3.eu-central-1.amazonaws.com/meta/1");
  assert.equal(hrefOf("s3://acme.log", region), "https://s3.eu-central-1.amazonaws.com/acme.log/meta/1");
  assert.match(hrefOf("s3://acme-log", { region: "cn-north-1" }), /amazonaws\.com\.cn\//);
});

test("a store of one's own has the bucket in the path, unless told otherwise", () => {
  const endpoint = "http://127.0.0.1:9000";
  assert.equal(hrefOf("s3://log", { endpoint }), "http://127.0.0.1:9000/log/meta/1");
  assert.equal(
    hrefOf("s3://log", { endpoint: "https://store.local/s3/" }),
    "https://store.local/s3/log/meta/1",
  );
  assert.equal(
    hrefOf("s3://log", { endpoint: "https://store.local", style: "virtual" }),
    "https://log.store.local/meta/1",
  );
  assert.equal(hrefOf("s3://log", { endpoint: "store.local:9000" }), "https://store.local:9000/log/meta/1");
});

test("options win over the environment, the more special variable over the general one, and both over the profile", () => {
  const env = { AWS_ENDPOINT_URL_S3: "http://one", AWS_ENDPOINT_URL: "http://two", AWS_REGION: "r1" };
  const profile = { endpoint: "http://three", region: "r3" };
  const found = (...args: Parameters<typeof locateBucket>): string => {
    const { endpoint, region } = locateBucket(...args);
    return `${endpoint.host} ${region}`;
  };
  assert.equal(found("s3://log", { endpoint: "http://zero", region: "r0" }, env, profile), "zero r0");
  assert.equal(found("s3://log", {}, env, profile), "one r1");
  assert.equal(found("s3://log", {}, { ...env, AWS_ENDPOINT_URL_S3: "", AWS_REGION: "" }, profile), "two r3");
  assert.equal(found("s3://log", {}, { AWS_DEFAULT_REGION: "r2" }, profile), "three r2");
});

test("what is no bucket, prefix or endpoint is refused with a sentence", () => {
  const bad = [
    ["s3:/log", {}],
    ["s3://", {}],
    ["s3://ab", {}],
    ["s3://a_b!", {}],
    ["s3://log/a//b", {}],
    ["s3://log/.hidden", {}],
    ["s3://log/ä", {}],
    ["s3://log?x=1", {}],
    [`s3://log/${"x".repeat(501)}`, {}],
    ["s3://log", { endpoint: "ftp://x" }],
    ["s3://log", { endpoint: "http://user:pw@x" }],
    ["s3://log", { endpoint: "http://" }],
  ] as const;
  for (const [url, options] of bad) {
    assert.throws(() => locateBucket(url, options), BucketError, url);
  }
});

test("a signature is that of AWS's own example", async () => {
  // "Example: GET Object" of the S3 documentation, which signs a range; ours does not sign it, so the second example: lifecycle.
  const signer = new Signer("us-east-1");
  const location = locateBucket("s3://examplebucket", {
    endpoint: "http://s3.amazonaws.com",
    style: "virtual",
  });
  const headers = await signer.sign(
    { method: "GET", url: addressOf(location, null, [["lifecycle", ""]]), headers: {} },
    {
      accessKeyId: "AKIAIOSFODNN7EXAMPLE",
      secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
      sessionToken: undefined,
      expiresMs: null,
      source: "",
    },
    Date.UTC(2013, 4, 24),
  );
  assert.equal(
    headers["authorization"],
    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
  );
});
