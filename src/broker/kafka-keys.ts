/**
 * Keys that a broker of Kafka 4.4 has and that mean nothing here. DescribeConfigs shows them with Kafka's
 * type and default, and a change of one that Kafka changes while it runs is checked and kept, so that tools
 * which read or write them go on. Each text says why there is no effect. Keys with an effect are in
 * config.ts; a key stands in one of the two tables only.
 */
import {
  boolean as boolSetting,
  double,
  InvalidSettingError,
  int,
  long,
  text as anySetting,
} from "./setting.ts";

export type KafkaKeyType =
  | "boolean"
  | "string"
  | "int"
  | "short"
  | "long"
  | "double"
  | "list"
  | "class"
  | "password";

export interface KafkaKey {
  readonly type: KafkaKeyType;
  /** As text; null: Kafka has none. */
  readonly default: string | null;
  /** Whether Kafka changes it while a broker runs. */
  readonly dynamic: boolean;
  readonly text: string;
}

type Row = readonly [type: KafkaKeyType, fallback: string | null, dynamic?: "dynamic"];

interface Group {
  readonly text: string;
  readonly keys: { readonly [name: string]: Row };
}

const groups: readonly Group[] = [
  {
    text: "Retries, buffers and replicas of Kafka's coordinator of transactions, how often it looks for those whose time is over (here they are aborted when it is), and transactions whose end an outside coordinator decides (KIP-939): no effect.",
    keys: {
      "add.partitions.to.txn.retry.backoff.max.ms": ["int", "100"],
      "add.partitions.to.txn.retry.backoff.ms": ["int", "20"],
      "transaction.abort.timed.out.transaction.cleanup.interval.ms": ["int", "10000"],
      "transaction.state.log.load.buffer.size": ["int", "5242880"],
      "transaction.state.log.min.isr": ["int", "2"],
      "transaction.state.log.replication.factor": ["short", "3"],
      "transaction.state.log.segment.bytes": ["int", "104857600"],
      "transaction.two.phase.commit.enable": ["boolean", "false"],
    },
  },
  {
    text: "Housekeeping of requests that wait inside Kafka. Waiting requests wake by themselves here: no effect.",
    keys: {
      "delete.records.purgatory.purge.interval.requests": ["int", "1"],
      "fetch.purgatory.purge.interval.requests": ["int", "1000"],
      "offsets.commit.timeout.ms": ["int", "5000"],
      "producer.purgatory.purge.interval.requests": ["int", "1000"],
      "share.fetch.purgatory.purge.interval.requests": ["int", "1000"],
    },
  },
  {
    text: "Where Kafka listens and under which address it is known. Listening is told at the start here: no effect.",
    keys: {
      "advertised.listeners": ["list", null],
      "controller.listener.names": ["list", null],
      "early.start.listeners": ["list", null],
      "inter.broker.listener.name": ["string", null],
      "listener.security.protocol.map": [
        "string",
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
        "dynamic",
      ],
      listeners: ["list", "PLAINTEXT://:9092", "dynamic"],
      "security.inter.broker.protocol": ["string", "PLAINTEXT"],
      "socket.listen.backlog.size": ["int", "50"],
    },
  },
  {
    text: "Controllers, their quorum and elections in Kafka. The journal in the store has their place here: no effect.",
    keys: {
      "auto.leader.rebalance.enable": ["boolean", "true"],
      "broker.heartbeat.interval.ms": ["int", "2000"],
      "broker.id": ["int", "-1"],
      "broker.session.timeout.ms": ["int", "9000"],
      "controlled.shutdown.enable": ["boolean", "true"],
      "controller.quorum.append.linger.ms": ["int", "25"],
      "controller.quorum.auto.join.enable": ["boolean", "false"],
      "controller.quorum.bootstrap.servers": ["list", ""],
      "controller.quorum.election.backoff.max.ms": ["int", "1000"],
      "controller.quorum.election.timeout.ms": ["int", "1000"],
      "controller.quorum.fetch.max.bytes": ["int", "1048576"],
      "controller.quorum.fetch.snapshot.max.bytes": ["int", "1048576"],
      "controller.quorum.fetch.timeout.ms": ["int", "2000"],
      "controller.quorum.request.timeout.ms": ["int", "2000"],
      "controller.quorum.retry.backoff.ms": ["int", "20"],
      "controller.quorum.voters": ["list", ""],
      "controller.quota.window.num": ["int", "11"],
      "controller.quota.window.size.seconds": ["int", "1"],
      "controller.socket.timeout.ms": ["int", "30000"],
      "initial.broker.registration.timeout.ms": ["int", "60000"],
      "leader.imbalance.check.interval.seconds": ["long", "300"],
      "metadata.log.max.record.bytes.between.snapshots": ["long", "20971520"],
      "metadata.log.max.snapshot.interval.ms": ["long", "3600000"],
      "metadata.log.segment.bytes": ["int", "1073741824"],
      "metadata.log.segment.ms": ["long", "604800000"],
      "metadata.max.idle.interval.ms": ["int", "500"],
      "metadata.max.retention.bytes": ["long", "104857600"],
      "metadata.max.retention.ms": ["long", "604800000"],
      "process.roles": ["list", null],
    },
  },
  {
    text: "Threads, buffers and copies of Kafka's share coordinator, and how long its assignments are held back. Members are told at once here (in groups of more than 100 what changes within a second counts together), and what is written is durable as it is: no effect.",
    keys: {
      "group.share.assignment.interval.ms": ["int", "1000", "dynamic"],
      "group.share.assignors": ["list", "simple"],
      "group.share.max.assignment.interval.ms": ["int", "15000"],
      "group.share.min.assignment.interval.ms": ["int", "0"],
      "share.coordinator.append.linger.ms": ["int", "-1"],
      "share.coordinator.cached.buffer.max.bytes": ["int", "1048588", "dynamic"],
      "share.coordinator.load.buffer.size": ["int", "5242880"],
      "share.coordinator.state.topic.compression.codec": ["int", "0"],
      "share.coordinator.state.topic.min.isr": ["short", "2"],
      "share.coordinator.state.topic.replication.factor": ["short", "3"],
      "share.coordinator.state.topic.segment.bytes": ["int", "104857600"],
      "share.coordinator.threads": ["int", "1"],
      "share.coordinator.write.timeout.ms": ["int", "5000"],
    },
  },
  {
    text: "Streams groups (KIP-1071). They are not served yet: no effect.",
    keys: {
      "group.streams.assignment.interval.ms": ["int", "1000", "dynamic"],
      "group.streams.assignors": ["list", "sticky"],
      "group.streams.heartbeat.interval.ms": ["int", "5000"],
      "group.streams.initial.rebalance.delay.ms": ["int", "3000"],
      "group.streams.max.assignment.interval.ms": ["int", "15000"],
      "group.streams.max.heartbeat.interval.ms": ["int", "15000"],
      "group.streams.max.session.timeout.ms": ["int", "60000"],
      "group.streams.max.size": ["int", "2147483647"],
      "group.streams.max.standby.replicas": ["int", "2"],
      "group.streams.min.assignment.interval.ms": ["int", "0"],
      "group.streams.min.heartbeat.interval.ms": ["int", "5000"],
      "group.streams.min.session.timeout.ms": ["int", "45000"],
      "group.streams.num.standby.replicas": ["int", "0"],
      "group.streams.rack.aware.assignment.tags": ["list", ""],
      "group.streams.session.timeout.ms": ["int", "45000"],
      "group.streams.topology.description.plugin.class": ["class", null],
    },
  },
  {
    text: "Bounds and pacing of groups, and threads and buffers of Kafka's coordinator: no effect.",
    keys: {
      "group.consumer.assignment.interval.ms": ["int", "1000", "dynamic"],
      "group.consumer.assignors": ["list", "uniform,range"],
      "group.consumer.max.assignment.interval.ms": ["int", "15000"],
      "group.consumer.min.assignment.interval.ms": ["int", "0"],
      "group.coordinator.append.linger.ms": ["int", "-1"],
      "group.coordinator.background.threads": ["int", "2"],
      "group.coordinator.cached.buffer.max.bytes": ["int", "1048588", "dynamic"],
      "group.coordinator.rebalance.protocols": ["list", "classic,consumer,streams"],
      "group.coordinator.threads": ["int", "4"],
      "offsets.load.buffer.size": ["int", "5242880"],
      "offsets.topic.compression.codec": ["int", "0"],
      "offsets.topic.replication.factor": ["short", "3"],
      "offsets.topic.segment.bytes": ["int", "104857600"],
    },
  },
  {
    text: "Threads and buffers of Kafka's log cleaner. Compaction reads as segments are read here: no effect.",
    keys: {
      "log.cleaner.io.buffer.load.factor": ["double", "0.9", "dynamic"],
      "log.cleaner.io.buffer.size": ["int", "524288", "dynamic"],
      "log.cleaner.threads": ["int", "1", "dynamic"],
    },
  },
  {
    text: "Where Kafka keeps its logs. The data directory is told at the start here: no effect.",
    keys: {
      "cordoned.log.dirs": ["list", "", "dynamic"],
      "log.dir": ["list", "/tmp/kafka-logs"],
      "log.dir.failure.timeout.ms": ["long", "30000"],
      "log.dirs": ["list", null],
      "metadata.log.dir": ["string", null],
    },
  },
  {
    text: "How Kafka keeps, rolls and checkpoints its log files. Segments are made from the write-ahead log here: no effect.",
    keys: {
      "log.flush.offset.checkpoint.interval.ms": ["int", "60000"],
      "log.flush.scheduler.interval.ms": ["long", "9223372036854775807"],
      "log.flush.start.offset.checkpoint.interval.ms": ["int", "60000"],
      "log.roll.jitter.hours": ["int", "0"],
      "num.recovery.threads.per.data.dir": ["int", "2", "dynamic"],
    },
  },
  {
    text: "Kafka's tiered storage. Every segment is in the store here: no effect.",
    keys: {
      "follower.fetch.last.tiered.offset.enable": ["boolean", "false", "dynamic"],
      "remote.fetch.max.wait.ms": ["int", "500", "dynamic"],
      "remote.list.offsets.request.timeout.ms": ["long", "30000", "dynamic"],
      "remote.log.index.file.cache.total.size.bytes": ["long", "1073741824", "dynamic"],
      "remote.log.manager.copier.thread.pool.size": ["int", "10", "dynamic"],
      "remote.log.manager.copy.max.bytes.per.second": ["long", "9223372036854775807", "dynamic"],
      "remote.log.manager.copy.quota.window.num": ["int", "11"],
      "remote.log.manager.copy.quota.window.size.seconds": ["int", "1"],
      "remote.log.manager.expiration.thread.pool.size": ["int", "10", "dynamic"],
      "remote.log.manager.fetch.max.bytes.per.second": ["long", "9223372036854775807", "dynamic"],
      "remote.log.manager.fetch.quota.window.num": ["int", "11"],
      "remote.log.manager.fetch.quota.window.size.seconds": ["int", "1"],
      "remote.log.manager.follower.thread.pool.size": ["int", "2", "dynamic"],
      "remote.log.manager.task.interval.ms": ["long", "30000"],
      "remote.log.manager.thread.pool.size": ["int", "2"],
      "remote.log.metadata.custom.metadata.max.bytes": ["int", "128"],
      "remote.log.metadata.manager.class.name": [
        "string",
        "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager",
      ],
      "remote.log.metadata.manager.class.path": ["string", null],
      "remote.log.metadata.manager.impl.prefix": ["string", "rlmm.config."],
      "remote.log.metadata.manager.listener.name": ["string", null],
      "remote.log.reader.max.pending.tasks": ["int", "100"],
      "remote.log.reader.threads": ["int", "10", "dynamic"],
      "remote.log.storage.manager.class.name": ["string", null],
      "remote.log.storage.manager.class.path": ["string", null],
      "remote.log.storage.manager.impl.prefix": ["string", "rsm.config."],
      "remote.log.storage.system.enable": ["boolean", "false"],
    },
  },
  {
    text: "Replication between Kafka's brokers. The store replicates here: no effect.",
    keys: {
      "alter.log.dirs.replication.quota.window.num": ["int", "11"],
      "alter.log.dirs.replication.quota.window.size.seconds": ["int", "1"],
      "follower.replication.throttled.rate": ["long", "9223372036854775807", "dynamic"],
      "leader.replication.throttled.rate": ["long", "9223372036854775807", "dynamic"],
      "num.replica.alter.log.dirs.threads": ["int", null],
      "num.replica.fetchers": ["int", "1", "dynamic"],
      "replica.alter.log.dirs.io.max.bytes.per.second": ["long", "9223372036854775807", "dynamic"],
      "replica.fetch.backoff.ms": ["int", "1000"],
      "replica.fetch.max.bytes": ["int", "1048576"],
      "replica.fetch.min.bytes": ["int", "1"],
      "replica.fetch.response.max.bytes": ["int", "10485760"],
      "replica.fetch.wait.max.ms": ["int", "500"],
      "replica.high.watermark.checkpoint.interval.ms": ["long", "5000"],
      "replica.lag.time.max.ms": ["long", "30000"],
      "replica.selector.class": ["string", null],
      "replica.socket.receive.buffer.bytes": ["int", "65536"],
      "replica.socket.timeout.ms": ["int", "30000"],
      "replication.quota.window.num": ["int", "11"],
      "replication.quota.window.size.seconds": ["int", "1"],
    },
  },
  {
    text: "Authentication by SASL. It is not served yet: no effect.",
    keys: {
      "sasl.client.callback.handler.class": ["class", null],
      "sasl.enabled.mechanisms": ["list", "GSSAPI", "dynamic"],
      "sasl.jaas.config": ["password", null, "dynamic"],
      "sasl.kerberos.kinit.cmd": ["string", "/usr/bin/kinit", "dynamic"],
      "sasl.kerberos.min.time.before.relogin": ["long", "60000", "dynamic"],
      "sasl.kerberos.principal.to.local.rules": ["list", "DEFAULT", "dynamic"],
      "sasl.kerberos.service.name": ["string", null, "dynamic"],
      "sasl.kerberos.ticket.renew.jitter": ["double", "0.05", "dynamic"],
      "sasl.kerberos.ticket.renew.window.factor": ["double", "0.8", "dynamic"],
      "sasl.login.callback.handler.class": ["class", null],
      "sasl.login.class": ["class", null],
      "sasl.login.connect.timeout.ms": ["int", null],
      "sasl.login.read.timeout.ms": ["int", null],
      "sasl.login.refresh.buffer.seconds": ["short", "300", "dynamic"],
      "sasl.login.refresh.min.period.seconds": ["short", "60", "dynamic"],
      "sasl.login.refresh.window.factor": ["double", "0.8", "dynamic"],
      "sasl.login.refresh.window.jitter": ["double", "0.05", "dynamic"],
      "sasl.login.retry.backoff.max.ms": ["long", "10000"],
      "sasl.login.retry.backoff.ms": ["long", "100"],
      "sasl.mechanism.controller.protocol": ["string", "GSSAPI"],
      "sasl.mechanism.inter.broker.protocol": ["string", "GSSAPI", "dynamic"],
      "sasl.oauthbearer.allow.unverified.audience": ["boolean", "false"],
      "sasl.oauthbearer.allow.unverified.issuer": ["boolean", "false"],
      "sasl.oauthbearer.assertion.algorithm": ["string", "RS256"],
      "sasl.oauthbearer.assertion.claim.aud": ["string", null],
      "sasl.oauthbearer.assertion.claim.exp.seconds": ["int", "300"],
      "sasl.oauthbearer.assertion.claim.iss": ["string", null],
      "sasl.oauthbearer.assertion.claim.jti.include": ["boolean", "false"],
      "sasl.oauthbearer.assertion.claim.nbf.seconds": ["int", "60"],
      "sasl.oauthbearer.assertion.claim.sub": ["string", null],
      "sasl.oauthbearer.assertion.file": ["string", null],
      "sasl.oauthbearer.assertion.private.key.file": ["string", null],
      "sasl.oauthbearer.assertion.private.key.passphrase": ["password", null],
      "sasl.oauthbearer.assertion.template.file": ["string", null],
      "sasl.oauthbearer.client.credentials.client.id": ["string", null],
      "sasl.oauthbearer.client.credentials.client.secret": ["password", null],
      "sasl.oauthbearer.clock.skew.seconds": ["int", "30"],
      "sasl.oauthbearer.expected.audience": ["list", ""],
      "sasl.oauthbearer.expected.issuer": ["string", null],
      "sasl.oauthbearer.jwks.endpoint.refresh.ms": ["long", "3600000"],
      "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms": ["long", "10000"],
      "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms": ["long", "100"],
      "sasl.oauthbearer.jwks.endpoint.url": ["string", null],
      "sasl.oauthbearer.jwt.retriever.class": [
        "class",
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
      ],
      "sasl.oauthbearer.jwt.validator.class": [
        "class",
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
      ],
      "sasl.oauthbearer.scope": ["string", null],
      "sasl.oauthbearer.scope.claim.name": ["string", "scope"],
      "sasl.oauthbearer.sub.claim.name": ["string", "sub"],
      "sasl.oauthbearer.token.endpoint.url": ["string", null],
      "sasl.server.callback.handler.class": ["class", null],
      "sasl.server.max.receive.size": ["int", "524288"],
    },
  },
  {
    text: "Encryption by TLS. It is not served yet: no effect.",
    keys: {
      "ssl.allow.dn.changes": ["boolean", "false"],
      "ssl.allow.san.changes": ["boolean", "false"],
      "ssl.cipher.suites": ["list", "", "dynamic"],
      "ssl.client.auth": ["string", "none", "dynamic"],
      "ssl.enabled.protocols": ["list", "TLSv1.2,TLSv1.3", "dynamic"],
      "ssl.endpoint.identification.algorithm": ["string", "https", "dynamic"],
      "ssl.engine.factory.class": ["class", null, "dynamic"],
      "ssl.key.password": ["password", null, "dynamic"],
      "ssl.keymanager.algorithm": ["string", "SunX509", "dynamic"],
      "ssl.keystore.certificate.chain": ["password", null, "dynamic"],
      "ssl.keystore.key": ["password", null, "dynamic"],
      "ssl.keystore.location": ["string", null, "dynamic"],
      "ssl.keystore.password": ["password", null, "dynamic"],
      "ssl.keystore.type": ["string", "JKS", "dynamic"],
      "ssl.principal.mapping.rules": ["string", "DEFAULT"],
      "ssl.protocol": ["string", "TLSv1.3", "dynamic"],
      "ssl.provider": ["string", null, "dynamic"],
      "ssl.secure.random.implementation": ["string", null, "dynamic"],
      "ssl.trustmanager.algorithm": ["string", "PKIX", "dynamic"],
      "ssl.truststore.certificates": ["password", null, "dynamic"],
      "ssl.truststore.location": ["string", null, "dynamic"],
      "ssl.truststore.password": ["password", null, "dynamic"],
      "ssl.truststore.type": ["string", "JKS", "dynamic"],
    },
  },
  {
    text: "Plug-ins, authorization and tokens of Kafka's Java virtual machine. No class is loaded here: no effect.",
    keys: {
      "alter.config.policy.class.name": ["class", null],
      "authorizer.class.name": ["string", ""],
      "config.providers": ["list", "", "dynamic"],
      "connection.failed.authentication.delay.ms": ["int", "100"],
      "connections.max.reauth.ms": ["long", "0"],
      "create.topic.policy.class.name": ["class", null],
      "delegation.token.expiry.check.interval.ms": ["long", "3600000"],
      "delegation.token.expiry.time.ms": ["long", "86400000"],
      "delegation.token.max.lifetime.ms": ["long", "604800000"],
      "delegation.token.secret.key": ["password", null],
      "principal.builder.class": [
        "class",
        "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
        "dynamic",
      ],
      "security.providers": ["string", null],
    },
  },
  {
    text: "Quotas of clients. They are not served yet: no effect.",
    keys: {
      "client.quota.callback.class": ["class", null],
      "quota.window.num": ["int", "11"],
      "quota.window.size.seconds": ["int", "1"],
    },
  },
  {
    text: "Kafka's metrics and reporters. Metrics are served under /metrics here: no effect.",
    keys: {
      "kafka.metrics.polling.interval.secs": ["int", "10"],
      "kafka.metrics.reporters": ["list", ""],
      "metric.reporters": ["list", "org.apache.kafka.common.metrics.JmxReporter", "dynamic"],
      "metrics.num.samples": ["int", "2"],
      "metrics.recording.level": ["string", "INFO"],
      "metrics.sample.window.ms": ["long", "30000"],
      "telemetry.max.bytes": ["int", "1048576"],
    },
  },
  {
    text: "Threads, sockets and request queues of Kafka's Java virtual machine. Node's event loop has their place here: no effect.",
    keys: {
      "background.threads": ["int", "10", "dynamic"],
      "max.connection.creation.rate": ["int", "2147483647", "dynamic"],
      "max.connections.per.ip.overrides": ["string", "", "dynamic"],
      "max.request.partition.size.limit": ["int", "2000"],
      "num.io.threads": ["int", "8", "dynamic"],
      "num.network.threads": ["int", "3", "dynamic"],
      "queued.max.requests": ["int", "500"],
      "request.timeout.ms": ["int", "30000"],
      "socket.connection.setup.timeout.max.ms": ["long", "30000"],
      "socket.connection.setup.timeout.ms": ["long", "10000"],
      "socket.receive.buffer.bytes": ["int", "102400"],
      "socket.send.buffer.bytes": ["int", "102400"],
    },
  },
];

/** By name. */
export const kafkaKeys: ReadonlyMap<string, KafkaKey> = new Map(
  groups
    .flatMap(({ text, keys }) =>
      Object.entries(keys).map(([name, [type, fallback, dynamic]]): [string, KafkaKey] => [
        name,
        { type, default: fallback, dynamic: dynamic !== undefined, text },
      ]),
    )
    .sort(([a], [b]) => (a < b ? -1 : 1)),
);

const anyText = anySetting({ default: null, text: "" }).read;
const readers: { readonly [type in KafkaKeyType]: (text: string) => unknown } = {
  string: anyText,
  list: anyText,
  class: anyText,
  password: anyText,
  boolean: boolSetting({ default: false, text: "" }).read,
  int: int({ default: 0, text: "" }).read,
  short: int({ default: 0, min: -32_768, max: 32_767, text: "" }).read,
  long: long({ default: 0, text: "" }).read,
  double: double({ default: 0, min: -Number.MAX_VALUE, max: Number.MAX_VALUE, text: "" }).read,
};

/** Checks a change of one of these keys; the sentence that refuses it, or null. */
export function refuseKafkaKey(name: string, value: string): string | null {
  const key = kafkaKeys.get(name);
  if (key === undefined) return `There is no broker setting ${name}.`;
  if (!key.dynamic) return `${name} can only be changed in the configuration file, with a restart.`;
  try {
    readers[key.type](value);
    return null;
  } catch (error) {
    if (error instanceof InvalidSettingError) return `${name} ${error.message}.`;
    throw error;
  }
}
