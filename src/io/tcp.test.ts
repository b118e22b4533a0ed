import assert from "node:assert/strict";
import net from "node:net";
import { describe, it } from "node:test";
import { RefusedError, UnreachableError } from "../base/errors.ts";
import type { Socket } from "../base/ports.ts";
import { tcp } from "./tcp.ts";

const silent = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };

/** A listener on a free port, its first connection, and the peer's end of it. */
async function connected(): Promise<{
  here: Socket;
  peer: net.Socket;
  port: number;
  close: () => Promise<void>;
}> {
  let accept: (socket: Socket) => void;
  const accepted = new Promise<Socket>((resolve) => {
    accept = resolve;
  });
  const listener = await tcp.listen({ host: "127.0.0.1", port: 0 }, (socket) => accept(socket));
  const peer = net.connect({ port: listener.port, host: "127.0.0.1", allowHalfOpen: true });
  return { here: await accepted, peer, port: listener.port, close: () => listener.close() };
}

describe("a TCP socket", () => {
  it("knows both addresses and passes bytes both ways, chunks in order", async () => {
    const { here, peer, port, close } = await connected();
    assert.equal(here.remoteAddress, "127.0.0.1");
    assert.equal(here.localAddress, "127.0.0.1");
    assert.equal(here.localPort, port);
    const received = new Promise<Uint8Array>((resolve) => here.open({ ...silent, onData: resolve }));
    peer.write("ping");
    assert.equal(Buffer.from(await received).toString(), "ping");
    here.write([Buffer.from("a"), Buffer.from("b"), Buffer.from("c")]);
    here.end();
    let answer = "";
    for await (const piece of peer) answer += String(piece);
    assert.equal(answer, "abc");
    peer.destroy();
    await close();
  });

  it("answers a peer that has ended its side, and closes once", async () => {
    const { here, peer, close } = await connected();
    let closes = 0;
    const closed = new Promise<void>((resolve) =>
      here.open({
        ...silent,
        onEnd: () => {
          here.write([Buffer.from("bye")]);
          here.end();
        },
        onClose: () => {
          closes++;
          resolve();
        },
      }),
    );
    peer.end();
    let answer = "";
    for await (const piece of peer) answer += String(piece);
    assert.equal(answer, "bye");
    await closed;
    assert.equal(closes, 1);
    assert.equal(here.write([Buffer.from("late")]), true);
    await close();
  });

  it("says when a slow peer makes bytes wait, and when they have left", async () => {
    const { here, peer, close } = await connected();
    const drained = new Promise<void>((resolve) => here.open({ ...silent, onDrain: resolve }));
    peer.pause();
    const chunk = Buffer.alloc(16 * 1024 * 1024);
    assert.equal(here.write([chunk]), false);
    assert.ok(here.pendingBytes > 0);
    peer.resume();
    await drained;
    assert.equal(here.pendingBytes, 0);
    here.destroy();
    peer.destroy();
    await close();
  });

  it("says when bytes have left also after a small write", async () => {
    const { here, peer, close } = await connected();
    const drained = new Promise<void>((resolve) => here.open({ ...silent, onDrain: resolve }));
    assert.equal(here.write([Buffer.from("a"), Buffer.from("b")]), true);
    await drained;
    assert.equal(here.pendingBytes, 0);
    here.destroy();
    peer.destroy();
    await close();
  });

  it("a port in use is refused with the process that has it", async () => {
    const listener = await tcp.listen({ host: "127.0.0.1", port: 0 }, () => {});
    await assert.rejects(
      tcp.listen({ host: "127.0.0.1", port: listener.port }, () => {}),
      (error) => {
        assert.ok(error instanceof RefusedError);
        assert.match(error.message, new RegExp(`^Port ${listener.port} on 127\\.0\\.0\\.1 is in use by `));
        if (process.platform === "linux") assert.match(error.message, new RegExp(`process ${process.pid} `));
        return true;
      },
    );
    await listener.close();
  });

  it("an address of another machine is refused with a sentence", async () => {
    await assert.rejects(
      tcp.listen({ host: "192.0.2.1", port: 0 }, () => {}),
      /192\.0\.2\.1 is not an address of this machine/,
    );
  });
});

describe("dialling", () => {
  it("gives a socket that speaks with whoever listens there", async () => {
    const listener = await tcp.listen({ host: "127.0.0.1", port: 0 }, (socket) =>
      socket.open({ ...silent, onData: (bytes) => socket.write([bytes]) }),
    );
    const socket = await tcp.dial({ host: "127.0.0.1", port: listener.port }, { timeoutMs: 5_000 });
    const echo = new Promise<Uint8Array>((resolve) => socket.open({ ...silent, onData: resolve }));
    socket.write([Buffer.from("hello")]);
    assert.equal(Buffer.from(await echo).toString(), "hello");
    socket.destroy();
    await listener.close();
  });

  it("says that nothing listens there", async () => {
    const listener = await tcp.listen({ host: "127.0.0.1", port: 0 }, () => {});
    await listener.close();
    await assert.rejects(
      tcp.dial({ host: "127.0.0.1", port: listener.port }, { timeoutMs: 5_000 }),
      (cause: unknown) =>
        cause instanceof UnreachableError &&
        cause.reason === "ECONNREFUSED" &&
        cause.message === "nothing listens there",
    );
  });
});

describe("many sockets", () => {
  it("read into one buffer, and each is told its own bytes", async () => {
    const sockets = 20;
    const received = new Map<Socket, string>();
    const whole = Promise.withResolvers<void>();
    const text = (i: number): string => `${i}:${"x".repeat(1000 * i)}.`;
    const listener = await tcp.listen({ host: "127.0.0.1", port: 0 }, (socket) => {
      received.set(socket, "");
      socket.open({
        ...silent,
        onData: (bytes) => {
          received.set(socket, received.get(socket) + Buffer.from(bytes).toString());
          if ([...received.values()].filter((each) => each.endsWith(".")).length === sockets) whole.resolve();
        },
      });
    });
    const peers = Array.from({ length: sockets }, (_, i) => {
      const peer = net.connect({ port: listener.port, host: "127.0.0.1" });
      for (const part of text(i).match(/.{1,700}/gs) ?? []) peer.write(part);
      return peer;
    });
    await whole.promise;
    assert.deepEqual(new Set(received.values()), new Set(peers.map((_, i) => text(i))));
    for (const peer of peers) peer.destroy();
    for (const socket of received.keys()) socket.destroy();
    await listener.close();
  });
});
