/**
 * What an operator does with Kafka's own tools beside groups: features, elections, reassignments,
 * configurations, client metrics. Scenes as those of tool-scenes.ts; where two brokers may say different
 * things, the scene tells which part of a row is compared.
 */
import type { Scene, Stage } from "./tool-scenes.ts";

/** Of features that only KRaft has, and of the number of the last change, nothing is compared. */
const sharedFeatures = (row: string): string | undefined =>
  /\b(group|transaction)\.version\b/.test(row) ? row.replace(/Epoch: \d+/, "Epoch: N") : undefined;

/** The broker's own reason comes behind the tool's first sentence. */
const firstSentence = (row: string): string => row.replace(/^(Could not .*?\d)\. .*/, "$1.");
/** The name of the error, without what the broker says about it. */
const errorName = (row: string): string => row.replace(/(\w+Exception: )(?!\w+(\.\w+)+Exception).*/, "$1…");

async function setsFeatures(stage: Stage): Promise<void> {
  const look = () => stage.ask("features describe", sharedFeatures);
  await look();
  await stage.ask("features version-mapping");
  await stage.ask("features upgrade --feature transaction.version=2");
  await stage.ask("features upgrade --feature transaction.version=3", firstSentence);
  await stage.ask("features upgrade --feature no.such.version=1", firstSentence);
  await stage.ask("features downgrade --feature transaction.version=1 --dry-run");
  await look();
  await stage.ask("features downgrade --feature transaction.version=1");
  await look();
  await stage.ask("features downgrade --feature transaction.version=2", firstSentence);
  await stage.ask("features disable --feature transaction.version --feature group.version");
  await look();
  await stage.ask("features upgrade --feature transaction.version=2 --feature group.version=1");
  await look();
}

async function electsLeaders(stage: Stage): Promise<void> {
  await stage.topic("elected", 2);
  for (const type of ["preferred", "unclean"]) {
    const elect = `leader-election --election-type ${type}`;
    await stage.ask(`${elect} --all-topic-partitions`);
    await stage.ask(`${elect} --topic elected --partition 1`);
    await stage.ask(`${elect} --topic elected --partition 8`);
    await stage.ask(`${elect} --topic no-such-topic --partition 0`);
  }
  const partitions = [0, 1, 7].map((partition) => ({ topic: "elected", partition }));
  const plan = stage.file("elected.json", JSON.stringify({ partitions }));
  await stage.ask(`leader-election --election-type preferred --path-to-json-file ${plan}`);
}

async function reassignsPartitions(stage: Stage): Promise<void> {
  await stage.topic("reassigned", 2);
  const plan = (name: string, topic: string, partition: number, replicas: readonly number[]): string => {
    const partitions = [{ topic, partition, replicas, log_dirs: replicas.map(() => "any") }];
    return stage.file(`${name}.json`, JSON.stringify({ version: 1, partitions }));
  };
  const there = plan("there", "reassigned", 1, [1]);
  const nowhere = plan("nowhere", "no-such-topic", 0, [1]);
  const beyond = plan("beyond", "reassigned", 9, [1]);
  const elsewhere = plan("elsewhere", "reassigned", 0, [2]);
  const topics = stage.file("topics.json", JSON.stringify({ version: 1, topics: [{ topic: "reassigned" }] }));
  await stage.ask("reassign-partitions --list");
  await stage.ask(
    `reassign-partitions --generate --topics-to-move-json-file ${topics} --broker-list 1`,
    directory,
  );
  for (const file of [there, nowhere, beyond]) {
    await stage.ask(`reassign-partitions --verify --reassignment-json-file ${file}`, errorName);
    await stage.ask(`reassign-partitions --execute --reassignment-json-file ${file}`, (row) =>
      errorName(directory(row)),
    );
    await stage.ask(`reassign-partitions --cancel --reassignment-json-file ${file}`, errorName);
  }
  await stage.ask(`reassign-partitions --execute --reassignment-json-file ${elsewhere}`);
  await stage.ask("reassign-partitions --list");
}

/** Where a broker keeps its data is its own affair. */
const directory = (row: string): string =>
  row.replaceAll(/"log_dirs":\["\/[^"]*"\]/g, '"log_dirs":[DIRECTORY]');

/** Keys that came with 4.4, and one that Kafka's formatting of storage sets. */
const beside43 = /^(errors\.deadletterqueue|max\.decompressed|remote\.copy\.lag|min\.insync\.replicas)/;
const keysOf43 = (row: string): string | undefined => (beside43.test(row) ? undefined : errorName(row));

async function configuresTopics(stage: Stage): Promise<void> {
  const topic = "configured";
  await stage.topic(topic, 1);
  const ofTopic = `configs --entity-type topics --entity-name ${topic}`;
  const look = (how = "") => stage.ask(`${ofTopic} --describe${how}`, keysOf43);
  const alter = (what: string) => stage.ask(`${ofTopic} --alter ${what}`, errorName);
  await look();
  await look(" --all");
  await alter("--add-config segment.bytes=1048577,cleanup.policy=[compact,delete],min.compaction.lag.ms=5");
  await look();
  await look(" --all");
  await alter("--delete-config retention.ms");
  await alter("--delete-config retention.ms");
  await alter("--add-config no.such.key=1");
  await alter("--add-config segment.bytes=many");
  await look();
  const absent = "configs --entity-type topics --entity-name no-such-topic";
  await stage.ask(`${absent} --describe`, errorName);
  await stage.ask(`${absent} --alter --add-config segment.bytes=1048577`, errorName);
}

async function configuresBrokers(stage: Stage): Promise<void> {
  await stage.topic("of-brokers", 1);
  const one = "configs --entity-type brokers --entity-name 1";
  const all = "configs --entity-type brokers --entity-default";
  const look = async (): Promise<void> => {
    await stage.ask("configs --entity-type brokers --describe", keysOf43);
    await stage.ask(`${one} --describe`, keysOf43);
    await stage.ask(`${all} --describe`, keysOf43);
  };
  await look();
  await stage.ask(`${all} --alter --add-config log.cleaner.backoff.ms=14000`);
  await stage.ask(`${one} --alter --add-config log.cleaner.backoff.ms=13000,message.max.bytes=2000000`);
  await look();
  await stage.ask("configs --entity-type topics --entity-name of-brokers --describe --all", keysOf43);
  await stage.ask(`${one} --alter --delete-config log.cleaner.backoff.ms,message.max.bytes`);
  await stage.ask(`${all} --alter --delete-config log.cleaner.backoff.ms`);
  await look();
}

async function configuresGroups(stage: Stage): Promise<void> {
  const name = "configured-group";
  await stage.topic("of-a-group", 1);
  await stage.shell.commit(name, "of-a-group", 0, 0, "");
  const mine = (row: string): string | undefined => (row.includes(name) ? row : undefined);
  // Streams groups are not served here, and dead letters are of 4.4.
  const consumers = (row: string): string | undefined =>
    /^(errors|streams)\./.test(row) ? undefined : errorName(row);
  const group = `configs --entity-type groups --entity-name ${name}`;
  const look = async (): Promise<void> => {
    await stage.ask("configs --entity-type groups --describe", mine);
    await stage.ask(`${group} --describe`);
    await stage.ask(`${group} --describe --all`, consumers);
  };
  const alter = (what: string) => stage.ask(`${group} --alter ${what}`, errorName);
  await look();
  await alter("--add-config consumer.session.timeout.ms=46000,consumer.heartbeat.interval.ms=6000");
  await look();
  await alter("--add-config consumer.session.timeout.ms=44999");
  await alter("--add-config consumer.heartbeat.interval.ms=15001");
  await alter("--add-config consumer.heartbeat.interval.ms=often");
  await alter("--add-config no.such.key=1");
  await alter("--delete-config consumer.session.timeout.ms");
  await look();
  const absent = "configs --entity-type groups --entity-name not-there-yet";
  await stage.ask(`${absent} --describe`);
  await stage.ask(`${absent} --alter --add-config consumer.session.timeout.ms=47000`);
  await stage.ask(`${absent} --describe`);
  await stage.ask(`${absent} --alter --delete-config consumer.session.timeout.ms`);
  await stage.ask(`${absent} --describe`);
}

async function describesTheRest(stage: Stage): Promise<void> {
  await stage.ask("configs --entity-type client-metrics --describe");
  await stage.ask("configs --entity-type client-metrics --entity-name m --describe");
  await stage.ask("configs --entity-type broker-loggers --describe");
  await stage.ask("client-metrics --list");
  await stage.ask("client-metrics --describe");
  await stage.ask("client-metrics --describe --name m");
}

async function hasNoAccessRights(stage: Stage): Promise<void> {
  await stage.topic("rights", 1);
  await stage.ask("acls --list");
  await stage.ask("acls --list --topic rights");
  await stage.ask("acls --add --allow-principal User:bob --operation Read --topic rights");
  await stage.ask("acls --list --principal User:bob");
  await stage.ask("acls --add --deny-principal User:eve --producer --topic rights --transactional-id txn");
  await stage.ask("acls --remove --allow-principal User:bob --operation Read --topic rights --force");
  await stage.ask("acls --remove --topic rights --force");
}

export const clusterScenes: readonly Scene[] = [
  {
    tool: "features",
    name: "describes features, and sets their levels up and down",
    sample: true,
    play: setsFeatures,
  },
  {
    tool: "leader-election",
    name: "asks for elections of leaders where none is needed, and of what is not there",
    sample: false,
    play: electsLeaders,
  },
  {
    tool: "reassign-partitions",
    name: "generates, does, verifies, cancels and lists reassignments of partitions to the one broker",
    sample: false,
    play: reassignsPartitions,
  },
  {
    tool: "configs",
    name: "describes and changes the configuration of a topic, with all synonyms",
    sample: false,
    play: configuresTopics,
  },
  {
    tool: "configs",
    name: "describes and changes what is configured for one broker and for all",
    sample: false,
    play: configuresBrokers,
  },
  {
    tool: "configs",
    name: "describes and changes what is configured for one group of KIP-848, also before it is there",
    sample: false,
    play: configuresGroups,
  },
  {
    tool: "configs, client-metrics",
    name: "describes client metrics and loggers, of which nothing is configured",
    sample: false,
    play: describesTheRest,
  },
  {
    tool: "acls",
    name: "is told that nobody judges by access rights",
    sample: false,
    play: hasNoAccessRights,
  },
];
