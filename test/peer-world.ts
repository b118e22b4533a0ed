/**
 * Brokers of one cluster in a simulated world, as far as they know each other: journal, peers and the listener of
 * each, over one bucket and one network; nothing is stored or served. Each process can be stopped and killed.
 */
import { Budget } from "../src/base/budget.ts";
import { type BrokerEpoch, nodeId } from "../src/base/ids.ts";
import type { Facts, Logger, ObjectStore } from "../src/base/ports.ts";
import { handlers } from "../src/broker/handlers.ts";
import { PeerRoom, type PeersOptions } from "../src/broker/cluster/peers.ts";
import { BrokerConfig } from "../src/broker/config.ts";
import { Connections } from "../src/broker/connections.ts";
import type { Services } from "../src/broker/context.ts";
import type { AnyHandler } from "../src/broker/handle.ts";
import { slotKey } from "../src/log/object-wal-format.ts";
import { Journal } from "../src/metadata/journal.ts";
import { SimBucket } from "../src/sim/bucket.ts";
import { simSha256 } from "../src/sim/env.ts";
import { SimNetwork } from "../src/sim/network.ts";
import { SimProcess } from "../src/sim/process.ts";
import { SimRandom } from "../src/sim/random.ts";
import { Scheduler } from "../src/sim/scheduler.ts";
import { silentMeter } from "../src/sim/silence.ts";

const host = "127.0.0.1";

export interface PeerBroker {
  readonly process: SimProcess;
  readonly journal: Journal;
  readonly store: ObjectStore;
  readonly peers: PeerRoom;
  readonly epoch: BrokerEpoch;
  readonly port: number;
  /** Whom it suspected, and when. */
  readonly suspected: { readonly epoch: BrokerEpoch; readonly atMs: number }[];
  readonly log: { readonly event: string; readonly facts: Facts }[];
  /** Puts one more object into its WAL. */
  write(): Promise<void>;
}

export interface BrokerChoices {
  readonly port?: number;
  /** Instead of its port's address. */
  readonly name?: string;
  readonly nodeId?: number;
  /** Served besides the usual. */
  readonly handlers?: readonly AnyHandler[];
  /** False: it listens, and its own heartbeats do not begin. */
  readonly started?: boolean;
  /** Another store than that of the others. */
  readonly bucket?: SimBucket;
  readonly options?: Partial<PeersOptions>;
  readonly settings?: { readonly [name: string]: string };
}

export class PeerWorld {
  readonly random: SimRandom;
  readonly scheduler: Scheduler;
  readonly network: SimNetwork;
  readonly bucket: SimBucket;
  #brokers = 0;

  constructor(seed = 1) {
    this.random = new SimRandom(seed);
    this.scheduler = new Scheduler(this.random);
    this.network = new SimNetwork(this.scheduler, this.random);
    this.bucket = new SimBucket(this.scheduler, this.random);
  }

  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    await this.scheduler.run({ untilMs: this.scheduler.nowMs + ms });
  }

  wait<T>(promise: Promise<T>): Promise<T> {
    return this.scheduler.runUntil(promise);
  }

  start(choices: BrokerChoices = {}): Promise<PeerBroker> {
    return this.wait(this.begin(choices));
  }

  /** Nothing of it runs any more, and its connections are reset. */
  kill({ process }: PeerBroker): void {
    process.kill();
    this.network.killHost(process);
  }

  /** As `start`, where somebody else runs the world. */
  async begin(choices: BrokerChoices = {}): Promise<PeerBroker> {
    const number = ++this.#brokers;
    const process = new SimProcess(`broker ${number}`, this.scheduler);
    const { port = 9_000 + number, name = `${host}:${port}`, bucket = this.bucket } = choices;
    const log: PeerBroker["log"] = [];
    const note = (event: string, facts: Facts = {}): void => void log.push({ event, facts });
    const logger: Logger = { debug: note, info: note, warn: note, error: note };
    const { clock } = process;
    const env = { clock, random: this.random.fork(process.name), log: logger, meter: silentMeter };
    const store = bucket.connect(process);
    const journal = await Journal.open({ store, env, sha256: simSha256, walKind: "object" });
    const epoch = await journal.register({
      name,
      nodeId: nodeId(choices.nodeId ?? -1),
      rack: null,
      listeners: [{ name: "PLAINTEXT", host, port }],
      window: 4,
      software: "test",
    });
    journal.follow();
    const network = this.network.of(process);
    const suspected: PeerBroker["suspected"] = [];
    const peers = await PeerRoom.open({
      env,
      dialer: network,
      journal,
      store,
      sha256: simSha256,
      epoch,
      nodeId: journal.state.brokers.get(epoch)?.nodeId ?? nodeId(0),
      name,
      onSuspect: (suspect) => suspected.push({ epoch: suspect, atMs: this.scheduler.nowMs }),
      ...choices.options,
    });
    const services = {
      env,
      config: new BrokerConfig(new Map(Object.entries(choices.settings ?? {}))),
      answers: new Budget(1 << 26),
      handlers: [...handlers, ...(choices.handlers ?? [])],
      journal,
      epoch,
      nodeId: nodeId(number),
      cluster: { peers, barrier: { pass: () => undefined } },
    } as unknown as Services;
    const connections = new Connections(services, {
      onBug: (failure) => {
        throw failure;
      },
    });
    await network.listen({ host, port }, (socket) => connections.accept(socket));
    if (choices.started !== false) peers.start();
    let slot = 0;
    const write = async (): Promise<void> => {
      const bytes = new Uint8Array(500);
      await store.putIfAbsent(slotKey(epoch, slot++), [bytes], bytes.byteLength);
    };
    return { process, journal, store, peers, epoch, port, suspected, log, write };
  }
}

/** Three brokers that know each other. */
export async function three(
  seed = 1,
): Promise<{ world: PeerWorld; brokers: [PeerBroker, PeerBroker, PeerBroker] }> {
  const world = new PeerWorld(seed);
  const brokers = [await world.start(), await world.start(), await world.start()] as [
    PeerBroker,
    PeerBroker,
    PeerBroker,
  ];
  await world.pass(1_000);
  return { world, brokers };
}

export const others = (brokers: readonly PeerBroker[], own: PeerBroker) =>
  brokers.filter((each) => each !== own).map(({ epoch }) => epoch);
export const answering = ({ peers }: PeerBroker) => Array.from(peers.answering()).sort((a, b) => a - b);
export const suspects = ({ suspected }: PeerBroker) => suspected.map(({ epoch }) => epoch);
export const says = ({ log }: PeerBroker, event: string) => log.filter((line) => line.event === event);
