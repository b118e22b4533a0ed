/**
 * The keys of Java's producer, consumer and admin client (Apache Kafka 4.x), and what librdkafka calls the
 * same things, so that a file for either is understood and a mistyped key is noticed.
 */
export const javaKeys: readonly string[] = `
acks allow.auto.create.topics auto.commit.interval.ms auto.include.jmx.reporter auto.offset.reset batch.size
bootstrap.servers buffer.memory check.crcs client.dns.lookup client.id client.rack compression.gzip.level
compression.lz4.level compression.type compression.zstd.level connections.max.idle.ms default.api.timeout.ms
delivery.timeout.ms enable.auto.commit enable.idempotence enable.metrics.push exclude.internal.topics
fetch.max.bytes fetch.max.wait.ms fetch.min.bytes group.id group.instance.id group.protocol group.remote.assignor
heartbeat.interval.ms interceptor.classes isolation.level key.deserializer key.serializer linger.ms max.block.ms
max.in.flight.requests.per.connection max.partition.fetch.bytes max.poll.interval.ms max.poll.records
max.request.size metadata.max.age.ms metadata.max.idle.ms metadata.recovery.rebootstrap.trigger.ms
metadata.recovery.strategy metric.reporters metrics.num.samples metrics.recording.level metrics.sample.window.ms
partition.assignment.strategy partitioner.adaptive.partitioning.enable partitioner.availability.timeout.ms
partitioner.class partitioner.ignore.keys receive.buffer.bytes reconnect.backoff.max.ms reconnect.backoff.ms
request.timeout.ms retries retry.backoff.max.ms retry.backoff.ms sasl.client.callback.handler.class
sasl.jaas.config sasl.kerberos.service.name sasl.login.callback.handler.class sasl.login.class sasl.mechanism
security.protocol security.providers send.buffer.bytes session.timeout.ms share.acknowledgement.mode
socket.connection.setup.timeout.max.ms socket.connection.setup.timeout.ms ssl.cipher.suites
ssl.enabled.protocols ssl.endpoint.identification.algorithm ssl.key.password ssl.keymanager.algorithm
ssl.keystore.certificate.chain ssl.keystore.key ssl.keystore.location ssl.keystore.password ssl.keystore.type
ssl.protocol ssl.provider ssl.secure.random.implementation ssl.trustmanager.algorithm
ssl.truststore.certificates ssl.truststore.location ssl.truststore.password ssl.truststore.type
transaction.timeout.ms transaction.two.phase.commit.enable transactional.id value.deserializer value.serializer
`
  .trim()
  .split(/\s+/);

/** librdkafka's name → Java's. */
export const librdkafkaKeys: ReadonlyMap<string, string> = new Map([
  ["metadata.broker.list", "bootstrap.servers"],
  ["request.required.acks", "acks"],
  ["message.send.max.retries", "retries"],
  ["message.timeout.ms", "delivery.timeout.ms"],
  ["max.in.flight", "max.in.flight.requests.per.connection"],
  ["compression.codec", "compression.type"],
  ["queue.buffering.max.ms", "linger.ms"],
  ["sasl.mechanisms", "sasl.mechanism"],
]);

/** librdkafka's own, without a counterpart. */
export const librdkafkaOwnKeys: readonly string[] = `
api.version.request batch.num.messages broker.address.family debug enable.auto.offset.store
enable.gapless.guarantee enable.partition.eof enable.random.seed fetch.error.backoff.ms
fetch.message.max.bytes fetch.queue.backoff.ms log.connection.close log_level message.copy.max.bytes
message.max.bytes offset.store.method partitioner queue.buffering.backpressure.threshold
queue.buffering.max.kbytes queue.buffering.max.messages queued.max.messages.kbytes queued.min.messages
receive.message.max.bytes sasl.password sasl.username socket.blocking.max.ms socket.keepalive.enable
socket.max.fails socket.nagle.disable socket.timeout.ms ssl.ca.location ssl.certificate.location
ssl.key.location statistics.interval.ms sticky.partitioning.linger.ms topic.metadata.refresh.interval.ms
`
  .trim()
  .split(/\s+/);
