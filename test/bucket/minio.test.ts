/** A store that somebody else wrote: what `io/s3` and the log in objects promise, over MinIO. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, test } from "node:test";
import { type BrokerEpoch, walPosition } from "../../src/base/ids.ts";
import type { ObjectStore } from "../../src/base/ports.ts";
import { systemClock } from "../../src/io/clock.ts";
import { systemRandom } from "../../src/io/random.ts";
import { openS3Store } from "../../src/io/s3/open.ts";
import { probeBucket } from "../../src/io/s3/probe.ts";
import type { S3Store } from "../../src/io/s3/store.ts";
import { quietLogger, SummingMeter } from "../../src/io/s3/store-fixture.ts";
import { ObjectWal } from "../../src/log/object-wal.ts";
import { readSealed, sealWal } from "../../src/log/object-wal-seal.ts";
import { anEntry, describeWal, type WalWorld } from "../../src/log/wal.contract.ts";
import type { WalEvents } from "../../src/log/wal.ts";
import { StoreFailedError } from "../../src/store/errors.ts";
import { describeObjectStore } from "../../src/store/object-store.contract.ts";
import type { ProbeVerdict } from "../../src/store/probe.ts";
import { bucket, type Minio, startMinio } from "./minio.ts";

const ports = { clock: systemClock, random: systemRandom(), log: quietLogger, meter: new SummingMeter() };
const directory = mkdtempSync(join(tmpdir(), "holdfast-minio-"));
const stores: S3Store[] = [];
let minio: Minio;
let prefixes = 0;

before(async () => {
  minio = await startMinio(directory);
});
after(async () => {
  for (const store of stores) store.close();
  await minio.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function aStore(prefix: string, env: { readonly [name: string]: string } = {}): Promise<S3Store> {
  const all = { HOME: directory, ...minio.env, ...env };
  const store = await openS3Store(`s3://${bucket}/${prefix}`, {}, all, ports);
  stores.push(store);
  return store;
}

describeObjectStore("MinIO", async () => ({ store: await aStore(`contract-${++prefixes}`) }));

test("MinIO passes the probe, conditions and all", async (t) => {
  const verdicts: ProbeVerdict[] = [];
  for await (const verdict of probeBucket(await aStore("probed"), ports)) verdicts.push(verdict);
  for (const { status, about, text } of verdicts) t.diagnostic(`${status}  ${about}: ${text}`);
  assert.deepEqual(
    verdicts.filter(({ status }) => status !== "ok"),
    [],
  );
  assert.equal(verdicts.length, 11);
});

test("what MinIO refuses is told in sentences", async () => {
  const refusal = async (store: S3Store): Promise<string> =>
    store.list("meta/").then(
      () => "",
      (error: Error) => error.message,
    );
  assert.match(
    await refusal(await aStore("x", { AWS_ACCESS_KEY_ID: "nobody" })),
    /^The credentials are not accepted for s3:.*give others/,
  );
  assert.match(
    await refusal(await aStore("x", { AWS_SECRET_ACCESS_KEY: "wrong" })),
    /^The credentials are not accepted for s3:/,
  );
  const elsewhere = await openS3Store("s3://no-such-bucket", {}, { HOME: directory, ...minio.env }, ports);
  assert.match(await refusal(elsewhere), /^There is no bucket no-such-bucket .* create it\./);
  elsewhere.close();
});

/** A process that was killed hears nothing more; what it sent may arrive. */
function mortal(store: ObjectStore): ObjectStore & { kill(): void } {
  let isDead = false;
  const unlessDead = <T>(ask: () => Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      if (isDead) return;
      ask().then(
        (answer) => isDead || resolve(answer),
        (error: Error) => isDead || reject(error),
      );
    });
  return {
    get: (key, range, into) => unlessDead(() => store.get(key, range, into)),
    putIfAbsent: (key, chunks, length) => unlessDead(() => store.putIfAbsent(key, chunks, length)),
    list: (prefix) => unlessDead(() => store.list(prefix)),
    delete: (key) => unlessDead(() => store.delete(key)),
    kill: () => {
      isDead = true;
    },
  };
}

/** The contract compares entries with those that it made, which are no Buffers. */
const asPlainBytes = (store: ObjectStore): ObjectStore => ({
  ...mortal(store),
  async get(key, range, into) {
    const found = await store.get(key, range, into);
    return found === null ? null : new Uint8Array(found);
  },
});

function walWorld(lanes: number): WalWorld {
  const prefix = `wal-${++prefixes}`;
  let writer: { kill(): void } | null = null;
  let isBroken = false;
  return {
    async open(epoch: BrokerEpoch, events: WalEvents) {
      const own = mortal(await aStore(prefix));
      writer = own;
      const store: ObjectStore = {
        ...own,
        putIfAbsent: (...put) =>
          isBroken ? Promise.reject(new StoreFailedError("the bucket is gone")) : own.putIfAbsent(...put),
      };
      return new ObjectWal({ ...ports, store, clusterId: "test", epoch, lanes, events });
    },
    async recover(epoch: BrokerEpoch) {
      const wal = {
        store: asPlainBytes(await aStore(prefix)),
        ports,
        clusterId: "test",
        epoch,
        released: walPosition(0),
      };
      const end = await sealWal(wal);
      return { ...(await readSealed(wal, walPosition(0), end)), end, hash: new Uint8Array(24) };
    },
    kill: () => writer?.kill(),
    crash: () => writer?.kill(),
    failWrites() {
      isBroken = true;
    },
    run: (promise) => promise,
    advance: (ms) => sleep(ms),
  };
}

describeWal("the WAL over MinIO keeps the contract", () => walWorld(1));
describeWal("the WAL over MinIO keeps the contract with several slots on their way", () => walWorld(8));

test("an acknowledgement takes about as long as one put", async (t) => {
  const puts = await aStore("puts");
  const wal = new ObjectWal({
    ...ports,
    store: await aStore("ack"),
    clusterId: "test",
    epoch: 1 as BrokerEpoch,
    events: { onDurable: () => undefined, onFailure: () => undefined },
  });
  const [bytes, entryBytes] = [systemRandom().bytes(4_400), 4_096];
  const [put, ack] = [new Times(), new Times()];
  // In turns, so that whatever else the machine does meets both.
  for (let base = 0; base < 400; base++) {
    await put.of(() => puts.putIfAbsent(`wal/${base}`, [bytes], bytes.byteLength));
    await ack.of(() => wal.whenDurable(wal.append([anEntry({ base, bytes: entryBytes })])));
  }
  await wal.close();
  t.diagnostic(`put p50 ${put.median.toFixed(2)} ms, acknowledged p50 ${ack.median.toFixed(2)} ms`);
  assert.ok(ack.median < 1.5 * put.median, `${ack.median} ms, and a put takes ${put.median} ms`);
});

class Times {
  readonly #ms: number[] = [];

  async of(work: () => Promise<unknown>): Promise<void> {
    const begun = performance.now();
    await work();
    this.#ms.push(performance.now() - begun);
  }

  get median(): number {
    return this.#ms.toSorted((a, b) => a - b)[this.#ms.length >> 1] ?? 0;
  }
}
