import assert from "node:assert/strict";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { OutcomeUnknownError } from "../../store/errors.ts";
import { systemClock } from "../clock.ts";
import { BucketError } from "./bucket-error.ts";
import { type Credentials, CredentialSource, findCredentials } from "./credentials.ts";
import { FakeBucket } from "./fake-bucket.ts";
import { sectionOf } from "./profile.ts";
import { keys, quietLogger, storeBefore } from "./store-fixture.ts";

const home = mkdtempSync(join(tmpdir(), "holdfast-aws-"));
mkdirSync(join(home, ".aws"));
const servers: Server[] = [];
after(() => {
  rmSync(home, { recursive: true, force: true });
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

const away = { HOME: home, AWS_EC2_METADATA_DISABLED: "true" };
const find = (env: { readonly [name: string]: string }): Promise<Credentials> =>
  findCredentials(env, systemClock)();

async function service(answer: (request: IncomingMessage) => string | number): Promise<string> {
  const server = createServer((request, response) => {
    const found = answer(request);
    if (typeof found === "number") response.writeHead(found).end();
    else response.writeHead(200, { "content-length": Buffer.byteLength(found) }).end(found);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const issued = (id: string, expiration: string): string =>
  JSON.stringify({ AccessKeyId: id, SecretAccessKey: "s", Token: "t", Expiration: expiration });

test("the environment comes first, then the profile of the shared files", async () => {
  writeFileSync(
    join(home, ".aws", "credentials"),
    "[default]\naws_access_key_id = D\naws_secret_access_key=ds\n[work]\naws_access_key_id=W\naws_secret_access_key=ws # mine\naws_session_token=wt\n",
  );
  writeFileSync(
    join(home, ".aws", "config"),
    "[profile work]\nregion=eu-west-1\ns3 =\n  addressing_style = path\n[profile bare]\nrole_arn=x\n",
  );
  const ofEnvironment = await find({ ...away, ...keys, AWS_SESSION_TOKEN: "st" });
  assert.deepEqual(
    [ofEnvironment.accessKeyId, ofEnvironment.sessionToken, ofEnvironment.source],
    ["AKIDEXAMPLE", "st", "AWS_ACCESS_KEY_ID"],
  );
  assert.equal((await find(away)).accessKeyId, "D");
  const work = await find({ ...away, AWS_PROFILE: "work" });
  assert.deepEqual([work.accessKeyId, work.secretAccessKey, work.sessionToken], ["W", "ws", "wt"]);
  await assert.rejects(find({ ...away, AWS_PROFILE: "none" }), /There is no profile none \(AWS_PROFILE\)/);
  await assert.rejects(
    find({ ...away, AWS_PROFILE: "bare" }),
    /Profile bare uses role_arn, which Holdfast does not follow/,
  );
  await assert.rejects(find({ ...away, AWS_ACCESS_KEY_ID: "x" }), /AWS_SECRET_ACCESS_KEY is not set/);
  const elsewhere = { ...away, HOME: "/nowhere" };
  await assert.rejects(find(elsewhere), (error: Error) => {
    assert.ok(error instanceof BucketError);
    assert.match(error.message, /^No credentials for the bucket were found: not in AWS_ACCESS_KEY_ID/);
    return true;
  });
});

test("a section ends where the next begins, and what is indented belongs to another setting", () => {
  const text = "[a]\nx = 1\n; y = 2\nz=3\n  x = 9\n[ b ]\r\nX=2\r\n[a]\nw=4";
  assert.deepEqual(
    [...(sectionOf(text, ["a"]) ?? [])],
    [
      ["x", "1"],
      ["z", "3"],
      ["w", "4"],
    ],
  );
  assert.deepEqual([...(sectionOf(text, ["b"]) ?? [])], [["x", "2"]]);
  assert.equal(sectionOf(text, ["c"]), null);
});

test("an instance's role is asked for with a token, as IMDSv2 wants it", async () => {
  const seen: string[] = [];
  const base = await service(({ method, url, headers }) => {
    seen.push(`${method} ${url}`);
    if (method === "PUT")
      return headers["x-aws-ec2-metadata-token-ttl-seconds"] === undefined ? 400 : "TOKEN";
    if (headers["x-aws-ec2-metadata-token"] !== "TOKEN") return 401;
    return url?.endsWith("/security-credentials/") === true
      ? "broker-role\n"
      : issued("I", "2030-01-01T00:00:00Z");
  });
  const found = await find({ HOME: "/nowhere", AWS_EC2_METADATA_SERVICE_ENDPOINT: base });
  assert.deepEqual(found, {
    accessKeyId: "I",
    secretAccessKey: "s",
    sessionToken: "t",
    expiresMs: Date.UTC(2030, 0, 1),
    source: "role broker-role of this instance",
  });
  assert.equal(seen.at(-1), "GET /latest/meta-data/iam/security-credentials/broker-role");
});

test("a container's service is asked with its token, and only near by or over TLS", async () => {
  const base = await service(({ headers }) =>
    headers.authorization === "secret" ? issued("C", "2030-01-01T00:00:00Z") : 403,
  );
  writeFileSync(join(home, "token"), "secret\n");
  const env = { HOME: "/nowhere", AWS_CONTAINER_CREDENTIALS_FULL_URI: `${base}/creds` };
  assert.equal((await find({ ...env, AWS_CONTAINER_AUTHORIZATION_TOKEN: "secret" })).accessKeyId, "C");
  assert.equal(
    (await find({ ...env, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: join(home, "token") })).accessKeyId,
    "C",
  );
  await assert.rejects(find(env), /gives no credentials \(HTTP 403\)/);
  const lost = { ...env, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: join(home, "absent") };
  await assert.rejects(find(lost), /absent\) cannot be read \(ENOENT\)/);
  const far = { HOME: "/nowhere", AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://example.com/creds" };
  await assert.rejects(find(far), /is neither https nor an address of this host/);
});

test("credentials are renewed ahead of their end beside those who use them, once at a time", async () => {
  let nowMs = 0;
  let loads = 0;
  let fails = false;
  const clock = { ...systemClock, wallMs: () => nowMs, monotonicMs: () => nowMs };
  const source = new CredentialSource(
    async () => {
      loads++;
      if (fails) throw new BucketError("credentials", "the service is away");
      return {
        accessKeyId: `k${loads}`,
        secretAccessKey: "s",
        sessionToken: undefined,
        expiresMs: nowMs + 3_600_000,
        source: "x",
      };
    },
    { clock, log: quietLogger },
  );
  const id = async (): Promise<string> => (await source.current()).accessKeyId;
  assert.deepEqual(await Promise.all([id(), id(), id()]), ["k1", "k1", "k1"]);
  nowMs = 3_000_000;
  assert.equal(await id(), "k1");
  nowMs = 3_400_000;
  fails = true;
  assert.equal(await id(), "k1", "still good");
  await new Promise(setImmediate);
  assert.equal(await id(), "k1");
  assert.equal(loads, 2, "not asked again at once");
  nowMs = 3_600_000;
  await assert.rejects(id(), OutcomeUnknownError);
  fails = false;
  assert.equal(await id(), "k4");
});

test("credentials that ended earlier than told are asked for again, and the request goes on", async () => {
  const fake = await FakeBucket.start();
  const source = join(home, "rotating");
  const write = (id: string): void =>
    writeFileSync(source, `[default]\naws_access_key_id=${id}\naws_secret_access_key=s\n`);
  write("FIRST");
  fake.accessKeyId = "FIRST";
  const store = storeBefore(fake, { env: { ...away, AWS_SHARED_CREDENTIALS_FILE: source } });
  try {
    assert.equal(await store.putIfAbsent("a/1", [], 0), "created");
    write("SECOND");
    fake.accessKeyId = "SECOND";
    assert.equal(await store.putIfAbsent("a/2", [], 0), "created");
    fake.accessKeyId = "THIRD";
    await assert.rejects(store.putIfAbsent("a/3", [], 0), BucketError);
  } finally {
    store.close();
    await fake.close();
  }
});
