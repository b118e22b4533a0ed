/**
 * One broker, put together from ports and settings: the order in which its rooms open, and in which they
 * close. It serves only after every older WAL has ended in the journal and everything owned is loaded.
 * Whatever ends the WAL or the journal ends the broker: `onFailure` is called once, and the process must
 * exit; recovery decides what was kept.
 */
import { assert } from "../base/assert.ts";
import { Budget } from "../base/budget.ts";
import { RefusedError } from "../base/errors.ts";
import { nodeId } from "../base/ids.ts";
import type { Env, Listener, Network, ObjectStore, Sha256, Socket } from "../base/ports.ts";
import { Flusher } from "../log/flush.ts";
import { ObjectNames } from "../log/object-names.ts";
import { ObjectWal, unreleasedSlotsMaxDefault } from "../log/object-wal.ts";
import { Partitions } from "../log/partitions.ts";
import { SegmentReader } from "../log/segment-reader.ts";
import { Journal } from "../metadata/journal.ts";
import { isClusterId } from "../store/body.ts";
import { alone } from "./cluster/cluster.ts";
import { Member } from "./cluster/member.ts";
import type { BrokerConfig } from "./config.ts";
import { Connections } from "./connections.ts";
import type { Services } from "./context.ts";
import { DeadWals } from "./dead-wals.ts";
import { DiskFloor } from "./disk-floor.ts";
import { FetchSessions } from "./fetch-session.ts";
import { Groups } from "./groups.ts";
import { handlers } from "./handlers.ts";
import { Housekeeping, type HousekeepingOptions } from "./housekeeping.ts";
import { memoryShares } from "./memory.ts";
import { ProducerIds } from "./producer-ids.ts";
import { nothingRecovered, recover, type RecoverySummary } from "./recovery.ts";
import { ReleasedSlots } from "./released-slots.ts";
import { SharedListings } from "./shared-listings.ts";
import { openStore, openWal, type Storage, windowOf } from "./storage.ts";
import { adoptBrokerConfig, Topics } from "./topics.ts";
import { openShareRooms } from "./share/share-rooms.ts";
import { markersAtOnceDefault, Transactions } from "./transactions.ts";

export interface BrokerOptions {
  readonly env: Env;
  readonly storage: Storage;
  readonly network: Network;
  readonly sha256: Sha256;
  readonly config: BrokerConfig;
  readonly listen: { readonly host: string; readonly port: number };
  /** Null: clients are told the address that they connected to. */
  readonly advertised: { readonly host: string; readonly port: number } | null;
  /** Name and version, for the journal. */
  readonly software: string;
  /** In place of the settings' values, which have a least one that is sensible on a real machine; for tests. */
  readonly bounds?: BrokerBounds;
  /** Slots of a journal chapter in a directory that begins here; small in simulations. */
  readonly chapterSlots?: number;
  /** Once: nothing more will be acknowledged by this process, which must exit. */
  readonly onFailure: (cause: Error) => void;
}

export interface BrokerBounds {
  readonly walFileBytes: number;
  readonly unflushedBytesMax: number;
  readonly tailBytes: number;
  readonly cacheBytes: number;
  readonly flushAgeMs: number;
  /** Markers of a transaction that one step writes; small in simulations, so that crashes come in between. */
  readonly markersAtOnce?: number;
  /** U: slots of the log in a shared store that no flush has released yet. */
  readonly unreleasedSlotsMax?: number;
  /** How long another broker may be silent; at least 3 s outside of simulations, so that no pause of a process is taken for its end. */
  readonly suspicionMs?: number;
}

export interface Health {
  readonly canAcknowledge: boolean;
  /** One sentence when it cannot. */
  readonly reason: string | null;
}

export class Broker {
  readonly services: Services;
  /** What recovery found. */
  readonly recovery: RecoverySummary;
  readonly store: ObjectStore;
  readonly #closeStore: () => void;
  readonly #member: Member | null;
  readonly #flusher: Flusher;
  readonly #housekeeping: Housekeeping;
  readonly #connections: Connections;
  readonly #listener: Listener;
  readonly #failure: Failure;
  #stopping = false;

  private constructor(rooms: Rooms, connections: Connections, listener: Listener) {
    this.services = rooms.services;
    this.recovery = rooms.recovery;
    this.store = rooms.store;
    this.#closeStore = rooms.closeStore;
    this.#member = rooms.member;
    this.#flusher = rooms.flusher;
    this.#housekeeping = rooms.housekeeping;
    this.#failure = rooms.failure;
    this.#connections = connections;
    this.#listener = listener;
  }

  /** Resolves when clients are served. Rejects with `RefusedError` (a sentence for people), `DiskError`, `DamageError`. */
  static async start(options: BrokerOptions): Promise<Broker> {
    // First, so that a port that is taken changes nothing; who connects early waits until all is loaded.
    const early: Socket[] = [];
    let accept = (socket: Socket): void => void early.push(socket);
    const listener = await options.network.listen(options.listen, (socket) => accept(socket));
    try {
      const rooms = await openRooms(options, listener);
      const connections = new Connections(rooms.services, {
        onBug: (failure) => rooms.failure.report(failure),
      });
      accept = (socket) => connections.accept(socket);
      for (const socket of early) accept(socket);
      return new Broker(rooms, connections, listener);
    } catch (cause) {
      for (const socket of early) socket.destroy();
      await listener.close();
      throw cause;
    }
  }

  get address(): { readonly host: string; readonly port: number } {
    const { host, port } = this.#listener;
    return { host, port };
  }
  get connectionCount(): number {
    return this.#connections.count;
  }

  /** Whether a record that came now would be acknowledged. */
  health(): Health {
    const { diskFloor } = this.services;
    if (this.#failure.cause !== null) return sick(`The log is closed: ${this.#failure.cause.message}`);
    if (this.#stopping) return sick("The broker is stopping.");
    if (diskFloor.refusing) {
      return sick(
        `The disk is nearly full: ${diskFloor.freeBytes} bytes are free, the floor is ${diskFloor.floorBytes}.`,
      );
    }
    return { canAcknowledge: true, reason: null };
  }

  /** Resolves when everything that the journal gives this broker is served, and every partition has a live owner. */
  whenServing(): Promise<void> {
    return this.#member?.whenServing() ?? Promise.resolve();
  }

  /** Moves everything durable into segments; resolves when that is published. */
  flush(): Promise<void> {
    return this.#flusher.flush();
  }

  /** Answers what was asked, moves everything into segments, and closes. What was acknowledged is safe without it. */
  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    // While clients are still served: they find the new owners without an error.
    await this.#member?.drain().catch((cause: unknown) => this.#warn(cause));
    await this.#listener.close();
    this.services.transactions.close();
    this.services.groups.close();
    this.services.shares.close();
    this.services.shareStates.close();
    await this.#connections.drain();
    await this.#housekeeping.close();
    if (this.#failure.cause === null)
      await this.#flusher.flush().catch((cause: unknown) => this.#warn(cause));
    await this.#flusher.close();
    if (this.#failure.cause === null) await this.services.wal.close();
    await this.#member?.leave({ isFailed: this.#failure.cause !== null });
    await this.services.journal.close();
    this.#closeStore();
    this.services.diskFloor.stop();
  }

  #warn(cause: unknown): void {
    // Everything acknowledged is in the WAL; the next start reads it from there.
    this.services.env.log.warn("stop.not-flushed", { cause: String(cause) });
  }
}

const sick = (reason: string): Health => ({ canAcknowledge: false, reason });

/** The first error that ended the log. */
class Failure {
  cause: Error | null = null;
  readonly #tell: (cause: Error) => void;
  constructor(tell: (cause: Error) => void) {
    this.#tell = tell;
  }
  report(cause: Error): void {
    if (this.cause !== null) return;
    this.cause = cause;
    this.#tell(cause);
  }
}

/** Where chapters are small, snapshots come between their ends too. */
const slotBytesSmall = 256;

/** The journal gives the number that this name had before, or the next one. */
const unassigned = nodeId(-1);

interface Rooms {
  readonly services: Services;
  readonly store: ObjectStore;
  readonly closeStore: () => void;
  /** Null: this broker has its store to itself. */
  readonly member: Member | null;
  readonly recovery: RecoverySummary;
  readonly flusher: Flusher;
  readonly housekeeping: Housekeeping;
  readonly failure: Failure;
}

async function openRooms(options: BrokerOptions, listener: Listener): Promise<Rooms> {
  const { env, storage, config } = options;
  const failure = new Failure(options.onFailure);

  const diskFloor = await DiskFloor.open({
    disk: storage.disk,
    clock: env.clock,
    log: env.log,
    floorBytes: config.get("holdfast.disk.floor.bytes"),
    reserveBytes: config.get("holdfast.disk.reserve.bytes"),
  });
  const { store, close: closeStore } = await openStore(storage, env);
  const journal = await openJournal(options, store);
  journal.onFailure((cause) => failure.report(cause));
  const { clusterId } = journal.state;
  const registered = options.advertised ?? { host: listener.host, port: listener.port };
  const name = (storage.kind === "objects" ? storage.name : null) ?? `${registered.host}:${registered.port}`;
  const wantsNodeId = storage.kind === "objects" && config.explicit("node.id") === undefined;
  const epoch = await journal.register({
    name,
    nodeId: wantsNodeId ? unassigned : nodeId(config.get("node.id")),
    rack: config.get("broker.rack"),
    listeners: [{ name: "PLAINTEXT", ...registered }],
    window: windowOf(storage),
    software: options.software,
  });
  const own = journal.state.brokers.get(epoch)?.nodeId;
  assert(own !== undefined, "a broker that registered has a number");
  config.adoptNodeId(own);
  adoptBrokerConfig(config, journal);

  const bounds = options.bounds ?? configuredBounds(config);
  const { unflushedBytesMax, cacheBytes } = bounds;
  const partitions = new Partitions(
    { unflushedBytesMax, heldBytesMax: bounds.tailBytes, onWait: () => flusher.noticeDurable() },
    (cause) => failure.report(cause),
  );
  const cold = new SegmentReader({
    store,
    log: env.log,
    blockBytesMax: cacheBytes,
    indexBytesMax: cacheBytes / 4,
    ...(storage.kind === "files" ? {} : { refresh: () => journal.catchUp() }),
  });
  const topics = new Topics({ journal, partitions, cold, config, random: env.random, log: env.log });
  const recovery =
    storage.kind === "files"
      ? await recover({ env, disk: storage.disk, journal, partitions, topics, index: cold.index })
      : nothingRecovered;

  const wal = await openWal(storage, {
    env,
    clusterId,
    epoch,
    fileBytes: bounds.walFileBytes,
    putsPerSecond: config.get("holdfast.wal.puts.per.second"),
    unreleasedSlotsMax: bounds.unreleasedSlotsMax ?? unreleasedSlotsMaxDefault,
    events: {
      onDurable: (group) => {
        partitions.onDurable(group);
        flusher.noticeDurable();
        member?.noticeDurable();
      },
      onFull: () => diskFloor.reportFull(),
      onFailure: (cause) => partitions.onFailure(cause),
    },
  });
  partitions.attach(wal);
  topics.follow();

  const names = new ObjectNames(clusterId, epoch);
  const flusher = new Flusher({
    env,
    store,
    names,
    index: cold.index,
    wal: {
      get durablePosition() {
        return wal.durablePosition;
      },
      release: (below) => {
        partitions.release(below);
        wal.release(below);
      },
    },
    sources: () => partitions.serving(),
    publishFlush: (flush) => published(journal, { kind: "flush", ...flush }),
    publishFold: (fold) => published(journal, { kind: "fold", ...fold }),
    unflushedBytes: () => partitions.tail.unflushedBytes,
    unflushedBytesTrigger: unflushedBytesMax / 2,
    // By bytes or by slots: records that wait for either have only a flush to wait for.
    isAwaited: () => partitions.tail.waiting > 0 || (wal instanceof ObjectWal && wal.isCrowded),
    ageMs: bounds.flushAgeMs,
    onFailure: (cause) => failure.report(cause),
  });
  const housekeeping = new Housekeeping({
    env,
    store,
    journal,
    partitions,
    names,
    index: cold.index,
    config,
    diskFloor,
    ...sweepsOf(storage, store, journal, options),
    onFailure: (cause) => failure.report(cause),
  });

  const member =
    storage.kind === "objects" && wal instanceof ObjectWal
      ? await Member.join({
          env,
          storage,
          name,
          nodeId: own,
          epoch,
          suspicionMs: bounds.suspicionMs ?? config.get("holdfast.peer.suspicion.ms"),
          journal,
          wal,
          partitions,
          topics,
          index: cold.index,
          flusher,
          sha256: options.sha256,
          onFailure: (cause) => failure.report(cause),
        })
      : null;
  const cluster = member?.cluster ?? alone;
  topics.spreadOver(cluster.peers);
  const groups = new Groups({
    env,
    config,
    topics,
    partitions,
    journal,
    wal,
    onFailure: (cause) => failure.report(cause),
  });
  const producerIds = new ProducerIds(journal);
  const transactions = new Transactions({
    env,
    cluster,
    config,
    topics,
    partitions,
    wal,
    groups,
    takeProducerId: () => producerIds.take(),
    markersAtOnce: bounds.markersAtOnce ?? markersAtOnceDefault,
    onFailure: (cause) => failure.report(cause),
  });
  const share = openShareRooms({
    env,
    config,
    topics,
    partitions,
    journal,
    wal,
    cluster,
    diskFloor,
    producerIds,
    epoch,
    onFailure: (cause) => failure.report(cause),
  });
  const services: Services = {
    env,
    nodeId: own,
    epoch,
    config,
    advertised: options.advertised,
    journal,
    wal,
    tail: partitions.tail,
    partitions,
    topics,
    producerIds,
    groups,
    transactions,
    ...share,
    fetchSessions: new FetchSessions({
      clock: env.clock,
      slots: config.get("max.incremental.fetch.session.cache.slots"),
      nextId: () => 1 + (env.random.u32() % 0x7fff_fffe),
    }),
    diskFloor,
    cluster,
    answers: new Budget(memoryShares(config).answerBytesMax),
    handlers,
  };
  flusher.start();
  housekeeping.start();
  groups.start();
  transactions.start();
  share.shareStates.start();
  share.shares.start();
  member?.start();
  return { services, store, closeStore, member, recovery, flusher, housekeeping, failure };
}

/** What is left of WALs, and of a shared store when it is looked through. */
function sweepsOf(
  storage: Storage,
  store: ObjectStore,
  journal: Journal,
  { env, config }: BrokerOptions,
): Pick<HousekeepingOptions, "deadWals" | "listings" | "refresh"> {
  if (storage.kind === "files") return { deadWals: new DeadWals(storage.disk, journal, env.log) };
  const { clock, log } = env;
  const intervalMs = config.get("log.retention.check.interval.ms");
  return {
    deadWals: new ReleasedSlots({ store, clock, log, journal }),
    listings: new SharedListings({ clock, journal, intervalMs }),
    refresh: () => journal.catchUp(),
  };
}

function configuredBounds(config: BrokerConfig): BrokerBounds {
  return {
    ...memoryShares(config),
    walFileBytes: config.get("holdfast.wal.file.bytes"),
    flushAgeMs: config.get("holdfast.flush.age.ms"),
  };
}

async function openJournal(options: BrokerOptions, store: ObjectStore): Promise<Journal> {
  const { env, sha256, config, chapterSlots } = options;
  const clusterId = config.get("holdfast.cluster.id");
  if (clusterId !== null && !isClusterId(clusterId)) {
    throw new RefusedError(
      `holdfast.cluster.id "${clusterId}" cannot be a cluster's id: give 1 to 32 printable ASCII characters without spaces.`,
    );
  }
  const journal = await Journal.open({
    store,
    env,
    sha256,
    walKind: options.storage.kind === "files" ? "file" : "object",
    clusterId,
    ...(chapterSlots === undefined ? {} : { chapterSlots, snapshotBytesMin: chapterSlots * slotBytesSmall }),
  });
  adoptBrokerConfig(config, journal);
  if (options.storage.kind === "objects") return journal;
  for (const broker of journal.state.brokers.values()) {
    if (broker.nodeId !== config.get("node.id")) {
      throw new RefusedError(
        `This data directory belongs to node ${broker.nodeId}, and node.id is ${config.get("node.id")}; start it with --set node.id=${broker.nodeId}.`,
      );
    }
  }
  return journal;
}

async function published(
  journal: Journal,
  command: Parameters<Journal["append"]>[0],
): Promise<"published" | "void"> {
  const outcome = await journal.append(command);
  return outcome.kind === "applied" ? "published" : "void";
}
