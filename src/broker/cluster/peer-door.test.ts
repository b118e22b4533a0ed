import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { anything, arbitraryOf, type Draws } from "../../../test/arbitrary.ts";
import {
  answering,
  others,
  type PeerBroker,
  PeerWorld,
  says,
  suspects,
  three,
} from "../../../test/peer-world.ts";
import { nodeId } from "../../base/ids.ts";
import { type AnyApi, api } from "../../protocol/api.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { ApiVersions } from "../../protocol/messages/api-versions.ts";
import { PeerHeartbeat } from "../../protocol/messages/peer-heartbeat.ts";
import { PeerHello } from "../../protocol/messages/peer-hello.ts";
import { PeerProve } from "../../protocol/messages/peer-prove.ts";
import { peerApis } from "../../protocol/registry.ts";
import { SimClient } from "../../sim/client.ts";
import { simSha256 } from "../../sim/env.ts";
import { handle } from "../handle.ts";
import { PeerError } from "./errors.ts";
import { peerKey, peerKeyName } from "./peer-key.ts";
import { proofOf } from "./peer-proof.ts";

const knock = async (world: PeerWorld, { port }: PeerBroker) => {
  const client = SimClient.connect(world.network, port, "stranger");
  assert.ok(client !== null);
  return client;
};

const endings = (broker: PeerBroker) =>
  says(broker, "connection.closed").map(({ facts }) => String(facts["reason"]));

describe("whoever is no broker of the cluster", () => {
  test("loses the connection when it asks what only peers may", async () => {
    const { world, brokers } = await three();
    const client = await knock(world, brokers[0]);
    await assert.rejects(world.wait(client.call(PeerHeartbeat, 0, { nextSlot: 5 })));
    await world.pass(100);
    assert.match(endings(brokers[0])[0] ?? "", /PeerHeartbeat.*did not prove to be one/);
  });

  test("loses the connection when it cannot prove what it says", async () => {
    const { world, brokers } = await three();
    const [broker, other] = brokers;
    const { clusterId } = broker.journal.state;
    const hello = { clusterId, from: other.epoch, to: broker.epoch };
    const client = await knock(world, broker);
    const { nonce } = await world.wait(client.call(PeerHello, 0, hello));
    assert.equal(nonce.byteLength, 32);
    const forged = { nonce: new Uint8Array(32), proof: new Uint8Array(32) };
    await assert.rejects(world.wait(client.call(PeerProve, 0, forged)));
    await world.pass(100);
    assert.match(endings(broker)[0] ?? "", /cannot prove it/);
    const again = await knock(world, broker);
    await assert.rejects(world.wait(again.call(PeerProve, 0, forged)));
  });

  test("is told neither of another cluster nor of another life what its own would be", async () => {
    const { world, brokers } = await three();
    const [broker, other] = brokers;
    const { clusterId } = broker.journal.state;
    const client = await knock(world, broker);
    const elsewhere = { clusterId: "another", from: other.epoch, to: broker.epoch };
    assert.equal((await world.wait(client.call(PeerHello, 0, elsewhere))).errorCode, 104);
    const wrong = { clusterId, from: other.epoch, to: other.epoch };
    const answer = await world.wait(client.call(PeerHello, 0, wrong));
    assert.deepEqual([answer.errorCode, answer.epoch, answer.nonce.byteLength], [77, broker.epoch, 0]);
  });

  test("with another key is no peer, and both sides say why", async () => {
    const world = new PeerWorld();
    const one = await world.start();
    await world.pass(100);
    for (const { objects } of [world.bucket, { objects: world.bucket.firstContents }])
      objects.delete(peerKeyName);
    const other = await world.start();
    await world.wait(one.journal.catchUp());
    await world.pass(2_000);
    assert.deepEqual(answering(one), []);
    assert.deepEqual(answering(other), []);
    assert.match(String(says(one, "peers.unreachable")[0]?.facts["cause"]), /does not take our proof/);
    assert.match(endings(one)[0] ?? "", /peer\/key/);
  });
});

describe("whatever a stranger says in the words of peers", () => {
  test("it stays a stranger, and costs its connection at most", async () => {
    const { world, brokers } = await three();
    const [broker] = brokers;
    const { clusterId } = broker.journal.state;
    const draws: Draws = {
      ...anything,
      string: fc.oneof(fc.constant(clusterId), anything.string),
      scalar: (name) =>
        fc.oneof(fc.constantFrom(...brokers.map(({ epoch }) => epoch)), anything.scalar(name)),
    };
    const word = fc.oneof(
      ...peerApis.map((each) => arbitraryOf(each.request, 0, draws).map((request) => ({ each, request }))),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 5 }), async (words) => {
        const client = await knock(world, broker);
        let isThere = true;
        for (const { each, request } of words) {
          if (!isThere) break;
          isThere = await world.wait(
            client.call(each, 0, request).then(
              () => each === (PeerHello as AnyApi),
              () => false,
            ),
          );
          assert.ok(isThere || client.closed);
        }
      }),
      { numRuns: Number(process.env["PROPERTY_RUNS"] ?? 100) },
    );
    await world.pass(2_000);
    for (const each of brokers) {
      assert.deepEqual(answering(each), others(brokers, each));
      assert.deepEqual(suspects(each), []);
    }
  });
});

describe("a broker full of clients", () => {
  test("lets peers in beyond its bounds on connections, and nobody else for long", async () => {
    const world = new PeerWorld();
    const full = await world.start({ settings: { "max.connections": "3" } });
    const clients = await Promise.all([knock(world, full), knock(world, full), knock(world, full)]);
    await world.pass(100);
    const peer = await world.start();
    const [silent, asking] = await Promise.all([knock(world, full), knock(world, full)]);
    await world.pass(1_000);
    assert.deepEqual(answering(peer), [full.epoch]);
    const request = {
      clientSoftwareName: "a",
      clientSoftwareVersion: "1",
      clusterId: null,
      nodeId: nodeId(-1),
    };
    await assert.rejects(world.wait(asking.call(ApiVersions, 3, request)));
    await world.pass(10_000);
    assert.ok(
      endings(full).length === 2 && endings(full).every((why) => why === "max.connections (3) is reached"),
    );
    assert.deepEqual([silent.closed, ...clients.map(({ closed }) => closed)], [true, false, false, false]);
    assert.deepEqual(answering(peer), [full.epoch]);
  });

  test("answers peers while the requests of clients fill its memory", async () => {
    const world = new PeerWorld();
    let finish: () => void = () => undefined;
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const Work = api({ ...PeerProve, key: 900, name: "Work" });
    const work = handle(Work, {
      async decide({ proof }) {
        await finished;
        return { proof, apis: [] };
      },
    });
    const settings = { "queued.max.request.bytes": "10000" };
    const full = await world.start({ settings, handlers: [work] });
    const peer = await world.start();
    await world.pass(1_000);
    const client = await knock(world, full);
    const request = { nonce: new Uint8Array(0), proof: new Uint8Array(20_000) };
    const working = client.call(Work, 0, request);
    await world.pass(10_000);
    assert.deepEqual(answering(peer), [full.epoch]);
    assert.deepEqual(suspects(peer), []);
    const late = await knock(world, full);
    const hello = { clusterId: "another", from: peer.epoch, to: full.epoch };
    const greeting = late.call(PeerHello, 0, hello);
    let isGreeted = false;
    greeting.then(
      () => {
        isGreeted = true;
      },
      () => undefined,
    );
    await world.pass(1_000);
    assert.equal(isGreeted, false, "a stranger is not read");
    finish();
    await world.wait(working);
    await world.wait(greeting);
  });
});

describe("an impostor", () => {
  test("that listens at a broker's address and has no key is no peer", async () => {
    const world = new PeerWorld();
    const one = await world.start();
    const nonce = new Uint8Array(32);
    const impostor = await world.start({
      started: false,
      handlers: [
        handle(PeerHello, { decide: ({ to }) => ({ errorCode: ErrorCode.NONE, epoch: to, nonce }) }),
        handle(PeerProve, {
          decide: () => ({ proof: nonce, apis: [{ key: PeerHeartbeat.key, first: 0, last: 0 }] }),
        }),
        handle(PeerHeartbeat, { decide: () => ({ errorCode: ErrorCode.NONE, nextSlot: 1_000_000 }) }),
      ],
    });
    await world.wait(one.journal.catchUp());
    await world.pass(5_000);
    assert.deepEqual(answering(one), []);
    assert.deepEqual(suspects(one), [impostor.epoch]);
    assert.match(
      String(says(one, "peers.unreachable")[0]?.facts["cause"]),
      /has not the key of this cluster/,
    );
  });
});

describe("an address that changed hands", () => {
  test("does not answer for the one before: it is suspected, and gets no calls", async () => {
    const { world, brokers } = await three();
    const [before, one] = brokers;
    world.kill(before);
    const after = await world.start({ port: before.port, name: "127.0.0.1:9999" });
    await world.pass(500);
    await assert.rejects(
      world.wait(one.peers.call(before.epoch, PeerHeartbeat, { nextSlot: 0 })),
      (error) => error instanceof PeerError && error.trouble === "another" && !error.sent,
    );
    await world.pass(4_500);
    assert.deepEqual(suspects(one), [before.epoch]);
    assert.ok(one.peers.answering().has(after.epoch));
  });
});

describe("a broker that opens a connection anew", () => {
  test("loses the one that it had for the same purpose, and what lies in it unread, and no other", async () => {
    const { world, brokers } = await three();
    const [broker, other] = brokers;
    const { clusterId } = broker.journal.state;
    const key = await world.wait(
      peerKey({
        env: { clock: broker.process.clock, random: world.random } as never,
        store: broker.store,
        sha256: simSha256,
        clusterId,
      }),
    );
    const enter = async (line: string): Promise<SimClient> => {
      const client = SimClient.connect(world.network, broker.port, line);
      assert.ok(client !== null);
      const who = { clusterId, from: other.epoch, to: broker.epoch };
      const { nonce: toNonce } = await world.wait(client.call(PeerHello, 0, who));
      const fromNonce = new Uint8Array(32).fill(9);
      const proof = proofOf("from", key, { ...who, fromNonce, toNonce }, simSha256);
      await world.wait(client.call(PeerProve, 0, { nonce: fromNonce, proof }));
      return client;
    };
    const calls = "holdfast-peer-7-calls";
    const [first, older, pulse] = [
      await enter(calls),
      await enter("holdfast-peer-7"),
      await enter("holdfast-peer-7-pulse"),
    ];
    const again = await enter(calls);
    const elder = await enter("holdfast-peer-7");
    await world.pass(100);
    assert.deepEqual(
      [first, older, pulse, again, elder].map(({ closed }) => closed),
      [true, false, false, false, false],
    );
    assert.match(endings(broker)[0] ?? "", /opened another in its place/);
    assert.ok(await world.wait(again.call(PeerHeartbeat, 0, { nextSlot: 5 })));
  });
});
