import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import tls from "node:tls";
import { OutcomeUnknownError } from "../../store/errors.ts";
import type { FakeBucket } from "./fake-bucket.ts";
import { storeBefore } from "./store-fixture.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-tls-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** A certificate for this address; null where there is no openssl. */
function certificate(): { readonly key: string; readonly cert: string } | null {
  const [key, cert] = [join(scratch, "key"), join(scratch, "cert")];
  try {
    execFileSync(
      "openssl",
      [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=t",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        key,
        "-out",
        cert,
      ],
      { stdio: "ignore" },
    );
  } catch {
    return null;
  }
  return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
}

const pair = certificate();
const trust = (tls as { setDefaultCACertificates?: (certificates: readonly string[]) => void })
  .setDefaultCACertificates;

test("over TLS a certificate that is not trusted is no answer, and bodies are sealed by a checksum", {
  skip: pair === null || trust === undefined,
}, async () => {
  const seen: { readonly hash: unknown; readonly checksum: unknown; readonly socket: unknown }[] = [];
  const server = createServer({ key: pair?.key, cert: pair?.cert }, (request, response) => {
    const { headers, socket } = request;
    seen.push({ hash: headers["x-amz-content-sha256"], checksum: headers["x-amz-checksum-crc32c"], socket });
    request.resume().on("end", () => response.writeHead(200, { "content-length": 0 }).end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const endpoint = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const wary = storeBefore({ endpoint } as FakeBucket);
  await assert.rejects(wary.putIfAbsent("a/1", [Buffer.from("abc")], 3), (error: Error) => {
    assert.ok(error instanceof OutcomeUnknownError);
    assert.match(error.message, /its certificate is not trusted here .*NODE_EXTRA_CA_CERTS/);
    return true;
  });
  assert.equal(seen.length, 0);
  trust?.([pair?.cert ?? ""]);
  const store = storeBefore({ endpoint } as FakeBucket);
  assert.equal(await store.putIfAbsent("a/1", [Buffer.from("ab"), Buffer.from("c")], 3), "created");
  assert.equal(await store.putIfAbsent("a/2", [Buffer.alloc(1_000_000)], 1_000_000), "created");
  assert.deepEqual([seen[0]?.hash, seen[0]?.checksum], ["UNSIGNED-PAYLOAD", "Nks/tw=="]);
  assert.equal(seen[0]?.socket, seen[1]?.socket, "the connection is kept");
  store.close();
  wary.close();
  server.closeAllConnections();
  server.close();
});
