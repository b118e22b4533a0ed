/** A data directory that an older version began, at format level 1. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { brokerEpoch, nodeId } from "../base/ids.ts";
import { sha256 } from "../io/sha256.ts";
import { formatLevel, Journal } from "../metadata/journal.ts";
import { encodeSlot, journalDirectories, slotKey } from "../metadata/slot.ts";
import { NO_BROKER } from "../metadata/state.ts";
import { SimClock } from "../sim/clock.ts";
import { SimDisk } from "../sim/disk.ts";
import { SimNetwork } from "../sim/network.ts";
import { SimRandom } from "../sim/random.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { silentLogger, silentMeter } from "../sim/silence.ts";
import { NO_NONCE } from "../store/body.ts";
import { DirectoryStore } from "../store/directory-store.ts";
import { Broker } from "./broker.ts";
import { BrokerConfig } from "./config.ts";

test("a broker that has its files alone raises their format level, when nobody older is left to read them", async () => {
  const random = new SimRandom(1);
  const scheduler = new Scheduler(random);
  const disk = new SimDisk({ scheduler, random });
  const env = { clock: new SimClock(scheduler), random, log: silentLogger, meter: silentMeter };
  const openStore = () =>
    DirectoryStore.open(disk, { directory: "store", random, chains: journalDirectories });
  const openJournal = async () =>
    Journal.open({ store: await openStore(), env, sha256, walKind: "file", clusterId: "old" });
  const begin = async () => {
    const init = { kind: "init", clusterId: "old", level: 1, walKind: 0, chapterSlots: 1024 } as const;
    const content = { author: NO_BROKER, list: 0, commands: [init] };
    const origin = { clusterId: "old", slot: 0, nonce: NO_NONCE, previousHash: new Uint8Array(0), level: 1 };
    const bytes = encodeSlot(origin, content, sha256);
    await (await openStore()).putIfAbsent(slotKey(0), [bytes], bytes.byteLength);
    const journal = await openJournal();
    // A life that did not end well.
    await journal.register({ nodeId: nodeId(1), rack: null, listeners: [], window: 0, software: "old" });
    assert.equal(journal.state.level, 1);
    assert.deepEqual(await journal.append({ kind: "drain", epoch: brokerEpoch(1) }), {
      kind: "void",
      reason: "level",
    });
    await journal.close();
  };
  await scheduler.runUntil(begin());
  const broker = await scheduler.runUntil(
    Broker.start({
      env,
      storage: { kind: "files", disk },
      network: new SimNetwork(scheduler, random),
      sha256,
      config: new BrokerConfig(new Map([["holdfast.disk.reserve.bytes", "0"]])),
      listen: { host: "127.0.0.1", port: 9092 },
      advertised: null,
      software: "test",
      onFailure: (cause) => {
        throw cause;
      },
    }),
  );
  assert.equal(broker.services.journal.state.level, formatLevel);
  await scheduler.runUntil(broker.stop());
});
