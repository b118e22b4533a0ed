/**
 * Everything that is not deterministic enters through these ports: `io/` implements them for a real
 * machine, `sim/` from a seed. Nothing else may touch time, randomness, disks, sockets or the process.
 */
export interface Clock {
  /** Wall clock in ms since 1970; only for timestamps that records and people see. May jump. */
  wallMs(): number;
  /** Never goes back; only differences mean something. Has fractions. */
  monotonicMs(): number;
  /** Calls `run` once, `delayMs` from now, never synchronously. */
  schedule(delayMs: number, run: () => void): Timer;
}

export interface Timer {
  /** After this, `run` is not called. Harmless when it already was. */
  cancel(): void;
}

export interface Random {
  /** A uniform integer in [0, 2^32). */
  u32(): number;
  bytes(length: number): Uint8Array;
}

/** Which queue an operation waits in: the WAL's operations never wait behind bulk ones (segments, cold reads). */
export type DiskLane = "wal" | "bulk";

/**
 * A directory tree with explicit durability. Paths are relative to its root, parts joined by "/".
 * What is durable: the bytes of a file after `sync` or `writeSynced` returned; a name (created, linked,
 * renamed, removed) after `syncDirectory` of the directory that holds it returned. Everything else may
 * survive a power cut or not, each piece on its own.
 * Every method rejects with `DiskError`; after a failed sync the fate of the bytes is unknown.
 */
export interface Disk {
  /**
   * "existing" fails with ENOENT; "create" makes an empty file and fails with EEXIST; "read" forbids writing.
   * `synced` opens for `writeSynced` (O_DSYNC). `bytes`: about how many will be written to a file that is made, a hint.
   */
  open(
    path: string,
    options: {
      readonly mode: "read" | "existing" | "create";
      readonly lane: DiskLane;
      readonly synced?: boolean;
      readonly bytes?: number;
    },
  ): Promise<DiskFile>;
  /** Names (not paths) in a directory, sorted; an absent directory is empty. */
  list(directory: string): Promise<readonly string[]>;
  /** Makes a directory and its parents; existing ones are fine. The name is durable after `syncDirectory(parent)`. */
  makeDirectory(path: string): Promise<void>;
  /** Removes a directory that is empty; fails with ENOENT when it is absent and with ENOTEMPTY when it is not empty. */
  removeDirectory(path: string): Promise<void>;
  /** Replaces `to` atomically. */
  rename(from: string, to: string): Promise<void>;
  /** A second name for a file; fails with EEXIST and changes nothing when `to` exists. */
  link(from: string, to: string): Promise<void>;
  /** Removes a file's name; ENOENT when absent. */
  remove(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  /** Bytes that can still be written on this file system. */
  freeBytes(): Promise<number>;
}

export interface DiskFile {
  readonly path: string;
  size(): Promise<number>;
  /**
   * An array that is shorter than `length` only at the end of the file: a fresh one, or the beginning of
   * `into`, which has at least that length and may be filled with anything until this settles.
   */
  read(position: number, length: number, into?: Uint8Array): Promise<Uint8Array>;
  /** Writes all bytes or rejects; on rejection any part may have been written. The chunks must not change meanwhile. */
  write(position: number, chunks: readonly Uint8Array[]): Promise<void>;
  /**
   * As `write`, and durable when it resolves, data and size. At most 1,024 chunks, so that it stays one
   * system call (libuv splits a longer one). A short write rejects. Needs `synced` at open.
   */
  writeSynced(position: number, chunks: readonly Uint8Array[]): Promise<void>;
  sync(): Promise<void>;
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

/** Immutable named objects. Names never get other content; there is no overwriting put. */
export interface ObjectStore {
  /**
   * The object, or the part [start, start + length) of it (shorter at its end); null when absent. A part
   * may be put into the beginning of `into`, which is at least as long.
   */
  get(
    key: string,
    range?: { readonly start: number; readonly length: number },
    into?: Uint8Array,
  ): Promise<Uint8Array | null>;
  /**
   * Creates the object whole and durable, or finds that one exists. A rejection means the outcome is
   * unknown, unless it is a `DiskError` with ENOSPC, after which nothing was created.
   */
  putIfAbsent(key: string, chunks: readonly Uint8Array[], length: number): Promise<"created" | "exists">;
  /** Every object whose key begins with `prefix`, by key (order of bytes). A hint: never evidence of absence. */
  list(prefix: string): Promise<readonly { readonly key: string; readonly bytes: number }[]>;
  /** An absent object is fine. */
  delete(key: string): Promise<void>;
}

export interface Network {
  /** Port 0 takes a free one. Rejects with `RefusedError` that says who or what is in the way. */
  listen(
    address: { readonly host: string; readonly port: number },
    onConnection: (socket: Socket) => void,
  ): Promise<Listener>;
}

/** The other side of `Network`: who wants to speak to a broker. */
export interface Dialer {
  /**
   * A connected socket. Rejects with `UnreachableError`, whose message says why, at the latest after `timeoutMs`.
   */
  dial(
    address: { readonly host: string; readonly port: number },
    options: { readonly timeoutMs: number },
  ): Promise<Socket>;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Stops accepting; existing sockets stay. */
  close(): Promise<void>;
}

export interface Socket {
  readonly remoteAddress: string;
  /** The address the peer connected to. */
  readonly localAddress: string;
  readonly localPort: number;
  /** Set once, before data can arrive. Data arrays are filled again after the call: who keeps bytes copies them. */
  open(events: {
    onData(bytes: Uint8Array): void;
    /**
     * Where the bytes that follow may be put at once, a large request's for example; null: anywhere. What is
     * given here and filled is told to `onData` as a part of it, and is not filled again.
     */
    room?(): Uint8Array | null;
    /** The peer will send nothing more; it may still read answers. */
    onEnd(): void;
    /** Everything written so far has left the process's buffers. */
    onDrain(): void;
    /** Exactly once, for whatever reason; nothing follows. */
    onClose(): void;
  }): void;
  /** False: the buffers are full; wait for `onDrain`. The chunks must not change until they have left. */
  write(chunks: readonly Uint8Array[]): boolean;
  /** Bytes written and not yet taken by the kernel. */
  readonly pendingBytes: number;
  pause(): void;
  resume(): void;
  /** Sends what is written, then closes. */
  end(): void;
  destroy(): void;
}

export interface Logger {
  debug(event: string, facts?: Facts): void;
  info(event: string, facts?: Facts): void;
  warn(event: string, facts?: Facts): void;
  error(event: string, facts?: Facts): void;
}
export type Facts = { readonly [name: string]: unknown };

/** Where rooms register what they measure; `name` is `holdfast_<room>_<what>_<unit>`. */
export interface Meter {
  counter(name: string, help: string): Counter;
  /** Read when someone looks. */
  gauge(name: string, help: string, read: () => number): void;
  histogram(name: string, help: string, bounds: readonly number[]): Histogram;
}
export interface Counter {
  add(amount: number, labels?: Labels): void;
}
export interface Histogram {
  observe(value: number, labels?: Labels): void;
}
export type Labels = { readonly [name: string]: string };

/** SHA-256 over the chunks in order, 32 bytes. A function of its inputs alone; a port because the machine has a fast one. */
export type Sha256 = (...chunks: readonly Uint8Array[]) => Uint8Array;

/** What most rooms need of the outside. */
export interface Env {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly meter: Meter;
}

export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.schedule(ms, resolve));
}

/**
 * What becomes of `work`, or what `late` answers or throws after `ms`. Nothing ends the work; what becomes of it
 * later is heard by nobody.
 */
export function within<Outcome>(
  clock: Clock,
  ms: number,
  work: Promise<Outcome>,
  late: () => Outcome,
): Promise<Outcome> {
  const { promise: bell, resolve } = Promise.withResolvers<void>();
  const timer = clock.schedule(ms, resolve);
  return Promise.race([work, bell.then(late)]).finally(() => timer.cancel());
}
