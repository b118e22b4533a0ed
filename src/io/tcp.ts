/**
 * The `Network` and `Dialer` ports over node:net. A socket here only moves bytes: what they mean, how many may wait and
 * when a peer is refused is decided by `broker/connection.ts`.
 */
import { readFile, readdir, readlink } from "node:fs/promises";
import net from "node:net";
import { RefusedError, UnreachableError } from "../base/errors.ts";
import type { Dialer, Listener, Network, Socket } from "../base/ports.ts";

/** How long a peer may take to close its side after we have closed ours. */
const lingerMs = 2_000;

/**
 * All sockets read into this one buffer: whoever is told about data has taken it when the call returns, and
 * the next read comes later. Node would allocate 64 KiB for each read, and the collector would have to find them.
 */
const received = Buffer.allocUnsafeSlow(256 * 1024);

export const tcp: Network & Dialer = {
  listen(address, onConnection): Promise<Listener> {
    // Half open: a peer that has said all it has to say still gets its answers.
    const server = net.createServer(
      { noDelay: true, keepAlive: true, allowHalfOpen: true, pauseOnConnect: true },
      (accepted) => onConnection(TcpSocket.accepted(accepted)),
    );
    return new Promise((resolve, reject) => {
      server.once("error", (cause: NodeJS.ErrnoException) => {
        void listenRefusal(address, cause).then(reject);
      });
      server.listen(address.port, address.host, () => {
        // An accept that fails (EMFILE) costs that connection only.
        server.removeAllListeners("error");
        server.on("error", () => {});
        const { address: host, port } = server.address() as net.AddressInfo;
        resolve({ host, port, close: () => closeServer(server) });
      });
    });
  },

  dial({ host, port }, { timeoutMs }): Promise<Socket> {
    const reading = new Reading();
    const socket = net.connect({ host, port, noDelay: true, keepAlive: true, onread: reading });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        socket.destroy();
        const cause = `no answer within ${timeoutMs} ms`;
        reject(new UnreachableError(cause, { reason: "ETIMEDOUT" }));
      }, timeoutMs);
      const onError = (cause: NodeJS.ErrnoException): void => {
        clearTimeout(timer);
        reject(new UnreachableError(dialRefusal(host, cause), { reason: cause.code ?? "ERROR", cause }));
      };
      socket.once("error", onError);
      socket.once("connect", () => {
        clearTimeout(timer);
        socket.removeListener("error", onError);
        // Nothing is read before somebody takes it.
        socket.pause();
        resolve(new TcpSocket(socket, reading));
      });
    });
  },
};

/** Why nobody could be reached, as the end of a sentence. */
function dialRefusal(host: string, cause: NodeJS.ErrnoException): string {
  switch (cause.code) {
    case "ECONNREFUSED":
      return "nothing listens there";
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `the host name ${host} cannot be resolved`;
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return "the host cannot be reached";
    default:
      return cause.code ?? cause.message;
  }
}

/** Resolves when nothing is accepted any more; sockets that are open stay, and are not waited for. */
function closeServer(server: net.Server): Promise<void> {
  server.close();
  return Promise.resolve();
}

/** The sentence for an address that cannot be listened on. */
export async function listenRefusal(
  address: { readonly host: string; readonly port: number },
  cause: NodeJS.ErrnoException,
): Promise<RefusedError> {
  const at = `${address.host}:${address.port}`;
  switch (cause.code) {
    case "EADDRINUSE": {
      const holder = await portHolder(address.port);
      return new RefusedError(
        `Port ${address.port} on ${address.host} is in use by ${holder ?? "another program"}; stop it or choose another port (port 0 takes a free one).`,
        { cause },
      );
    }
    case "EACCES":
      return new RefusedError(`Listening on ${at} is not permitted to this user; choose a port above 1023.`, {
        cause,
      });
    case "EADDRNOTAVAIL":
      return new RefusedError(
        `${address.host} is not an address of this machine; use 127.0.0.1 for local clients only, or 0.0.0.0 for all interfaces.`,
        { cause },
      );
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new RefusedError(
        `The host name ${address.host} cannot be resolved; use an IP address or a name of this machine.`,
        {
          cause,
        },
      );
    default:
      return new RefusedError(`Listening on ${at} failed: ${cause.message}.`, { cause });
  }
}

/** "process 4711 (java)", as far as Linux lets us see; null when it does not. */
async function portHolder(port: number): Promise<string | null> {
  try {
    const inodes = new Set<string>();
    for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
      for (const line of (await readFile(table, "utf8").catch(() => "")).split("\n").slice(1)) {
        const fields = line.trim().split(/\s+/);
        const listening = fields[3] === "0A";
        const localPort = Number.parseInt(fields[1]?.split(":")[1] ?? "", 16);
        if (listening && localPort === port) inodes.add(`socket:[${fields[9]}]`);
      }
    }
    if (inodes.size === 0) return null;
    for (const pid of await readdir("/proc")) {
      if (!/^\d+$/.test(pid)) continue;
      for (const descriptor of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
        const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => "");
        if (inodes.has(target)) {
          return `process ${pid} (${(await readFile(`/proc/${pid}/comm`, "utf8")).trim()})`;
        }
      }
    }
    return null;
  } catch {
    return null;
  }
}

/** IPv4 in an IPv6 socket is written as IPv4. */
const plainAddress = (address: string | undefined): string => (address ?? "").replace(/^::ffff:/, "");

/** Where a socket's bytes go (`onread` of node:net). */
class Reading {
  onData: (bytes: Uint8Array) => void = () => undefined;
  room: () => Uint8Array | null = () => null;

  /** Asked by Node before the first read, and after each for the next. */
  readonly buffer = (): Uint8Array => this.room() ?? received;

  readonly callback = (count: number, buffer: Uint8Array): boolean => {
    this.onData(buffer.subarray(0, count));
    return true;
  };
}

/** What Node does not promise about a socket, and is looked for before it is used. */
interface WithHandle {
  _handle?: { readonly useUserBuffer?: unknown } | null;
}

class TcpSocket implements Socket {
  readonly remoteAddress: string;
  readonly localAddress: string;
  readonly localPort: number;
  readonly #socket: net.Socket;
  /** After each write; Node's own "drain" comes only when its buffer had been full. */
  #onWritten = (): void => {};

  /** Null: Node allocates a buffer for each read. */
  readonly #reading: Reading | null;

  constructor(socket: net.Socket, reading: Reading | null) {
    this.#socket = socket;
    this.#reading = reading;
    this.remoteAddress = plainAddress(socket.remoteAddress);
    this.localAddress = plainAddress(socket.localAddress);
    this.localPort = socket.localPort ?? 0;
    // Every error is followed by "close", which is all that the owner needs to know.
    socket.on("error", () => {});
  }

  /**
   * A connection of a server, paused and unread. Only a socket that is made with `onread` reads into a given
   * buffer, and a server makes its own without: its handle is moved to another one, where Node allows it.
   */
  static accepted(accepted: net.Socket): TcpSocket {
    const inner = accepted as unknown as WithHandle;
    const handle = inner._handle;
    if (typeof handle?.useUserBuffer !== "function") return new TcpSocket(accepted, null);
    inner._handle = null;
    const reading = new Reading();
    const options = { handle, onread: reading, allowHalfOpen: true, pauseOnCreate: true };
    return new TcpSocket(new net.Socket(options as unknown as net.SocketConstructorOpts), reading);
  }

  open(events: Parameters<Socket["open"]>[0]): void {
    if (this.#reading === null) this.#socket.on("data", (bytes: Buffer) => events.onData(bytes));
    else {
      this.#reading.onData = (bytes) => events.onData(bytes);
      this.#reading.room = () => events.room?.() ?? null;
    }
    this.#socket.resume();
    this.#socket.on("end", () => events.onEnd());
    this.#onWritten = () => {
      if (this.#socket.writableLength === 0 && !this.#socket.destroyed) events.onDrain();
    };
    this.#socket.once("close", () => events.onClose());
  }

  write(chunks: readonly Uint8Array[]): boolean {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return true;
    const last = chunks.length - 1;
    if (last < 0) return !socket.writableNeedDrain;
    // One writev for all.
    if (last > 0) socket.cork();
    for (let index = 0; index < last; index++) socket.write(chunks[index] as Uint8Array);
    socket.write(chunks[last] as Uint8Array, this.#onWritten);
    if (last > 0) socket.uncork();
    return !socket.writableNeedDrain;
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  pause(): void {
    this.#socket.pause();
  }
  resume(): void {
    this.#socket.resume();
  }
  end(): void {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return;
    socket.end();
    // To close while bytes of the peer are unread would make the kernel reset the connection, and the
    // peer could lose answers that it has not read yet: they are read and dropped until it closes too.
    socket.resume();
    setTimeout(() => socket.destroy(), lingerMs).unref();
  }
  destroy(): void {
    this.#socket.destroy();
  }
}
