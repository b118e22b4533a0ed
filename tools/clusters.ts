/**
 * Three Holdfast brokers over one store, in the shape of one broker, so that every test and bench that takes a
 * target can run against a cluster: `kill` ends one of them after the other, and `start` brings back who is gone.
 */
import { join } from "node:path";
import { bucket, startMinio } from "../test/bucket/minio.ts";
import { type Broker, type BrokerOptions, startBroker } from "./brokers.ts";

const brokerCount = 3;

export interface BrokerCluster extends Broker {
  readonly brokers: readonly Broker[];
  /** Ends all of them at once with SIGKILL. */
  killAll(): Promise<void>;
}

/** `options.store`: default a directory, which the brokers share. */
export async function startCluster(options: BrokerOptions): Promise<BrokerCluster> {
  const store = options.store ?? `file:${join(options.directory, "store")}`;
  const starting = Array.from({ length: brokerCount }, (_, at) =>
    startBroker("holdfast", { ...options, store, directory: join(options.directory, `broker-${at}`) }),
  );
  const brokers = await Promise.all(starting);
  const [first] = brokers;
  if (first === undefined) throw new Error("a cluster has brokers");
  const gone = new Set<Broker>();
  let next = 0;
  const killAll = async (): Promise<void> => {
    for (const broker of brokers) gone.add(broker);
    await Promise.all(brokers.map((broker) => broker.kill()));
  };
  return {
    kind: "cluster",
    brokers,
    address: brokers.map(({ address }) => address).join(),
    directory: options.directory,
    http: brokers.map(({ http }) => http).join(),
    pid: () => first.pid(),
    kill: async () => {
      const broker = brokers[next++ % brokers.length] as Broker;
      gone.add(broker);
      await broker.kill();
    },
    killAll,
    dismiss: killAll,
    whenEnded: (timeoutMs) => first.whenEnded(timeoutMs),
    stop: async () => {
      const ends = [];
      // One after the other, as people do it: each hands over to the rest.
      for (const broker of brokers) if (!gone.has(broker)) ends.push(await broker.stop());
      const bad = ends.find(({ code }) => code !== 0);
      const end = bad ?? ends.at(-1);
      if (end === undefined) throw new Error("nobody of the cluster is running");
      return end;
    },
    start: async () => {
      const begun = performance.now();
      const back = [...gone];
      gone.clear();
      await Promise.all(back.map((broker) => broker.start()));
      return performance.now() - begun;
    },
  };
}

/** The same over a MinIO of their own, which ends with them. */
export async function startClusterOverMinio(options: BrokerOptions): Promise<BrokerCluster> {
  const minio = await startMinio(join(options.directory, "minio"));
  const starting = startCluster({
    ...options,
    env: { ...options.env, ...minio.env },
    store: `s3://${bucket}/cluster`,
  });
  const cluster = await starting.catch(async (cause: unknown) => {
    await minio.stop();
    throw cause;
  });
  return {
    ...cluster,
    kind: "cluster-minio",
    dismiss: async () => {
      await cluster.killAll();
      await minio.stop();
    },
    stop: async () => {
      try {
        return await cluster.stop();
      } finally {
        await minio.stop();
      }
    },
  };
}
