/**
 * What an operator of share groups does with Kafka's own tools. Scenes as those of tool-scenes.ts. What the broker
 * says of a refusal in words of its own is compared by the name of the error.
 */
import { filledTopic, type Scene, type Stage } from "./tool-scenes.ts";

const views = ["offsets", "offsets --verbose", "members", "members --verbose", "state", "state --verbose"];
/**
 * Of a partition in which everything is done Kafka tells an older start, and of one without records none, until
 * something else is written there; here it is the end. What is not done is nothing in both.
 */
const done = (row: string): string => errorName(row).replace(/^(queue \S+ \d+ ).* (0|-)$/, "$1… 0");
/** The name of the error, without what the broker says about it. */
const errorName = (row: string): string => row.replace(/(\w+Exception: )(?!\w+(\.\w+)+Exception).*/, "$1…");

async function describe(stage: Stage, group: string): Promise<void> {
  for (const view of views) {
    const seen = view.startsWith("offsets") ? done : errorName;
    await stage.ask(`share-groups --describe --group ${group} --${view}`, seen);
  }
}

const mine =
  (group: string) =>
  (row: string): string | undefined =>
    /^(GROUP|PROTOCOL)\b/.test(row) || row.startsWith(group) ? row : undefined;

async function list(stage: Stage, group: string): Promise<void> {
  for (const how of ["", " --state", " --state empty", " --state stable"]) {
    await stage.ask(`share-groups --list${how}`, mine(group));
  }
  for (const how of ["", " --share", " --consumer", " --group-type share", " --protocol share"]) {
    await stage.ask(`groups --list${how}`, mine(group));
  }
  await stage.ask("consumer-groups --list --type share", mine(group));
}

/** From the first member's arrival until the group is deleted. */
async function livesAndGoes(stage: Stage): Promise<void> {
  const group = "queue";
  const topic = "queue-topic";
  const ofGroup = `--group ${group}`;
  await filledTopic(stage, topic);
  const configure = `configs --entity-type groups --entity-name ${group} --alter --add-config`;
  await stage.ask(`${configure} share.auto.offset.reset=earliest`);
  await stage.shell.share(group, `${group}-a`, topic, 14);
  await list(stage, group);
  await describe(stage, group);
  await stage.ask(`consumer-groups --describe ${ofGroup}`, errorName);
  await stage.ask(`share-groups --delete ${ofGroup}`, errorName);
  await stage.ask(`share-groups --delete-offsets ${ofGroup} --topic ${topic}`, errorName);
  const reset = `share-groups --reset-offsets ${ofGroup}`;
  await stage.ask(`${reset} --topic ${topic} --to-earliest --dry-run`, errorName);
  await stage.ask(`${reset} --topic ${topic} --to-earliest --execute`, errorName);
  await stage.shell.leave(`${group}-a`);
  await describe(stage, group);
  await list(stage, group);
  await stage.ask(`${reset} --topic ${topic} --to-earliest --dry-run`, errorName);
  await stage.ask(`${reset} --topic ${topic} --to-earliest --execute`, errorName);
  await stage.ask(`share-groups --describe ${ofGroup}`, errorName);
  await stage.shell.share(group, `${group}-b`, topic, 14);
  await stage.ask(`share-groups --describe ${ofGroup}`, done);
  await stage.shell.leave(`${group}-b`);
  await stage.ask(`${reset} --all-topics --to-latest --execute`, errorName);
  await stage.ask(`share-groups --describe ${ofGroup}`, errorName);
  await stage.ask(`share-groups --delete-offsets ${ofGroup} --topic ${topic}`, errorName);
  await stage.ask(`share-groups --describe ${ofGroup}`, errorName);
  await stage.ask(`share-groups --delete-offsets ${ofGroup} --topic ${topic}`, errorName);
  await stage.ask(`share-groups --delete ${ofGroup}`, errorName);
  await stage.ask(`share-groups --delete ${ofGroup}`, errorName);
  await describe(stage, group);
  await list(stage, group);
}

/** Groups that are not there, that are of another kind, and that begin with offsets that were set. */
async function isNoOther(stage: Stage): Promise<void> {
  const topic = "other-topic";
  await filledTopic(stage, topic);
  await stage.shell.commit("by-hand-beside", topic, 0, 6, "");
  for (const group of ["nobody", "by-hand-beside"]) {
    await describe(stage, group);
    await stage.ask(`share-groups --delete --group ${group}`, errorName);
    await stage.ask(`share-groups --delete-offsets --group ${group} --topic ${topic}`, errorName);
    const reset = `share-groups --reset-offsets --group ${group} --topic ${topic} --to-earliest`;
    await stage.ask(`${reset} --dry-run`, errorName);
  }
  const reset = "share-groups --reset-offsets --group set-before";
  await stage.ask(`${reset} --topic ${topic} --to-earliest --execute`, errorName);
  await stage.ask("share-groups --describe --group set-before", errorName);
  const when = new Date(stage.nowMs - 3_600_000).toISOString().slice(0, 23);
  await stage.ask(`${reset} --topic ${topic} --to-datetime ${when} --execute`, errorName);
  await stage.ask("share-groups --describe --group set-before --offsets", errorName);
  await stage.ask("share-groups --describe --group set-before --state", errorName);
  await stage.ask(`${reset} --topic no-such-topic --to-earliest --execute`, errorName);
  await stage.ask("share-groups --delete-offsets --group set-before --topic no-such-topic", errorName);
  await stage.ask("consumer-groups --delete --group set-before", errorName);
  await stage.ask("share-groups --delete --group set-before", errorName);
  await stage.ask("share-groups --list", mine("set-before"));
}

async function configures(stage: Stage): Promise<void> {
  const group = "configs --entity-type groups --entity-name configured-queue";
  // Streams groups are not served here, and dead letters are of 4.4.
  const shared = (row: string): string | undefined =>
    /^\s*(streams|errors)\./.test(row) ? undefined : errorName(row);
  const look = async (): Promise<void> => {
    await stage.ask(`${group} --describe`);
    await stage.ask(`${group} --describe --all`, shared);
  };
  const alter = (what: string) => stage.ask(`${group} --alter ${what}`, errorName);
  await look();
  await alter("--add-config share.auto.offset.reset=earliest,share.isolation.level=read_committed");
  await alter("--add-config share.record.lock.duration.ms=20000,share.delivery.count.limit=3");
  await alter("--add-config share.partition.max.record.locks=300,share.renew.acknowledge.enable=false");
  await look();
  const wrong = [
    "share.auto.offset.reset=by_duration:-PT1H",
    "share.auto.offset.reset=middle",
    "share.isolation.level=serializable",
    "share.record.lock.duration.ms=14999",
    "share.delivery.count.limit=11",
    "share.partition.max.record.locks=99",
    "share.session.timeout.ms=44999",
    "share.heartbeat.interval.ms=15001",
    "share.renew.acknowledge.enable=maybe",
  ];
  for (const each of wrong) await alter(`--add-config ${each}`);
  await alter("--add-config share.auto.offset.reset=by_duration:PT1H30M");
  await alter("--delete-config share.isolation.level,share.delivery.count.limit");
  await look();
}

export const shareScenes: readonly Scene[] = [
  {
    tool: "share-groups, groups, consumer-groups",
    name: "follows a share group from its first member to its deletion",
    sample: true,
    play: livesAndGoes,
  },
  {
    tool: "share-groups, consumer-groups",
    name: "asks of share groups that are not there or are of another kind, and sets offsets before there is a member",
    sample: false,
    play: isNoOther,
  },
  {
    tool: "configs",
    name: "describes and changes what is configured for one share group",
    sample: false,
    play: configures,
  },
];
