"""Writes a data set with confluent-kafka (librdkafka), or reads a topic back: see wire.py."""

import struct
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

import wire

RECONNECT = {"reconnect.backoff.max.ms": 500, "broker.address.family": "v4"}


def produce(address: str, topic: str, path: str, acks: wire.Acks) -> None:
    producers = [
        Producer(
            {
                "bootstrap.servers": address,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": codec,
                "linger.ms": 5,
                "queue.buffering.max.kbytes": 32_768,
                **RECONNECT,
            }
        )
        for codec in wire.CODECS
    ]

    def acknowledged(error: object, message: Message) -> None:
        if error is not None:
            acks.fail(str(error))
        else:
            acks.add(message.partition(), message.offset())

    def send(record: wire.Record) -> None:
        producer = producers[record.codec]
        while True:
            try:
                producer.produce(
                    topic,
                    key=record.key,
                    value=record.value,
                    partition=record.partition,
                    headers=record.headers,
                    on_delivery=acknowledged,
                )
                break
            except BufferError:
                # The queue is full: acknowledgements are taken until there is room.
                producer.poll(0.1)
        producer.poll(0)

    def flush() -> None:
        for producer in producers:
            producer.flush()

    wire.write(path, acks, send, flush)


def consume(address: str, topic: str, gathered: wire.Gathered) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            # librdkafka wants a name; with assign() and without commits it joins no group.
            "group.id": "never-joined",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "check.crcs": True,
            **RECONNECT,
        }
    )
    partitions = range(gathered.partitions)
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1] for partition in partitions]
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    while gathered.read < sum(ends):
        for message in consumer.consume(1000, timeout=1):
            if message.error() is not None:
                raise KafkaException(message.error())
            headers = message.headers() or []
            gathered.add(message.partition(), message.offset(), message.key(), message.value(), headers)
    consumer.close()


def tour(address: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    created = admin.create_topics([NewTopic(topic, num_partitions=3, config=wire.TOUR_SETTING)])
    created[topic].result(30)
    assert topic in admin.list_topics(timeout=30).topics
    resource = ConfigResource(ResourceType.TOPIC, topic)
    settings = admin.describe_configs([resource])[resource].result(30)
    assert {name: settings[name].value for name in wire.TOUR_SETTING} == wire.TOUR_SETTING
    producer = Producer({"bootstrap.servers": address})
    for value in ("one", "two", "three"):
        producer.produce(topic, value=value)
    assert producer.flush(30) == 0
    asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(3)}
    ends = [end.result(30).offset for end in admin.list_offsets(asked).values()]
    assert sum(ends) == 3, ends
    admin.delete_topics([topic])[topic].result(30)
    assert topic not in admin.list_topics(timeout=30).topics


def member(told: wire.Membership) -> None:
    owned: set[int] = set()

    def taken(_: Consumer, partitions: list[TopicPartition]) -> None:
        owned.update(each.partition for each in partitions)
        told.owns(generation(), owned)

    def given_up(_: Consumer, partitions: list[TopicPartition]) -> None:
        owned.difference_update(each.partition for each in partitions)

    def generation() -> int:
        # What the group's metadata say lies behind a mark of seven bytes.
        return struct.unpack_from("<i", bytes(consumer.consumer_group_metadata()), 7)[0]

    def answered(error: object, partitions: list[TopicPartition]) -> None:
        tell(told, error, partitions)

    classic = {
        "session.timeout.ms": told.session_ms,
        "heartbeat.interval.ms": told.session_ms // 5,
        "partition.assignment.strategy": "cooperative-sticky" if told.protocol == "cooperative" else "range",
    }
    consumer = Consumer(
        {
            "bootstrap.servers": told.address,
            "group.id": told.group,
            "group.protocol": "consumer" if told.protocol == "consumer" else "classic",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "on_commit": answered,
            **({} if told.protocol == "consumer" else classic),
            **RECONNECT,
        }
    )
    consumer.subscribe([told.topic], on_assign=taken, on_revoke=given_up, on_lost=given_up)
    while not told.is_ending:
        messages = [message for message in consumer.consume(100, timeout=0.2) if message.error() is None]
        if messages:
            told.did((message.partition(), message.offset(), message.value()) for message in messages)
            commit(consumer, told, messages)
    consumer.close()


def commit(consumer: Consumer, told: wire.Membership, messages: list[Message]) -> None:
    ends = {message.partition(): message.offset() + 1 for message in messages}
    offsets = [TopicPartition(told.topic, partition, offset) for partition, offset in ends.items()]
    try:
        if told.commits_async:
            consumer.commit(offsets=offsets, asynchronous=True)
        else:
            tell(told, None, consumer.commit(offsets=offsets, asynchronous=False))
    except KafkaException as refusal:
        told.refused(refusal)


def tell(told: wire.Membership, error: object, partitions: list[TopicPartition]) -> None:
    faults = [each.error for each in partitions if each.error is not None]
    if error is not None or faults:
        told.refused(error or faults[0])
    else:
        told.committed((each.partition, each.offset) for each in partitions)


def copy(told: wire.Copying) -> None:
    gathered: list[Message] = []

    def changed(_: Consumer, partitions: list[TopicPartition]) -> None:
        # What is at hand may be somebody else's now.
        gathered.clear()

    classic = {"session.timeout.ms": told.session_ms, "heartbeat.interval.ms": told.session_ms // 5}
    consumer = Consumer(
        {
            "bootstrap.servers": told.address,
            "group.id": told.group,
            "group.protocol": "consumer" if told.protocol == "consumer" else "classic",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            **({} if told.protocol == "consumer" else classic),
            **RECONNECT,
        }
    )
    consumer.subscribe([told.input], on_assign=changed, on_revoke=changed, on_lost=changed)
    producer = transactional(told)
    while not told.is_ending:
        message = consumer.poll(0.2 if not gathered else 0)
        if message is not None and message.error() is None:
            gathered.append(message)
        if not gathered or (message is not None and len(gathered) < told.lot):
            continue
        messages = gathered.copy()
        gathered.clear()
        try:
            copy_lot(told, consumer, producer, messages)
        except KafkaException as refusal:
            told.refused(refusal)
            producer = abandoned(told, producer, refusal.args[0])
            go_back(told, consumer, messages)
    consumer.close()


def copy_lot(told: wire.Copying, consumer: Consumer, producer: Producer, messages: list[Message]) -> None:
    producer.begin_transaction()
    ends: dict[int, int] = {}
    for message in messages:
        producer.produce(told.output, key=message.key(), value=message.value(), partition=message.partition())
        ends[message.partition()] = message.offset() + 1
    producer.flush()
    offsets = [TopicPartition(told.input, partition, end) for partition, end in ends.items()]
    producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
    time.sleep(told.pause)
    if told.aborts():
        producer.abort_transaction()
        told.aborted(len(messages))
        go_back(told, consumer, messages)
        return
    while True:
        try:
            producer.commit_transaction()
            break
        except KafkaException as refusal:
            # Its outcome is not known yet.
            if not refusal.args[0].retriable():
                raise
    told.committed(len(messages), ends)


def transactional(told: wire.Copying) -> Producer:
    while True:
        producer = Producer(
            {
                "bootstrap.servers": told.address,
                "transactional.id": told.transactional_id,
                "transaction.timeout.ms": told.timeout_ms,
                # With "rebootstrap" it may wait for ever for a coordinator that it has put away, when all
                # brokers were gone between AddOffsetsToTxn and TxnOffsetCommit; so before Apache Kafka, too.
                "metadata.recovery.strategy": "none",
                "linger.ms": 5,
                **RECONNECT,
            }
        )
        try:
            producer.init_transactions(30)
            return producer
        except KafkaException as refusal:
            told.refused(refusal)


def abandoned(told: wire.Copying, producer: Producer, error: KafkaError) -> Producer:
    """After it no transaction of ours is open; where that cannot be said, another producer sees to it."""
    if error.txn_requires_abort():
        try:
            producer.abort_transaction()
            return producer
        except KafkaException as refusal:
            told.refused(refusal)
    return transactional(told)


def go_back(told: wire.Copying, consumer: Consumer, messages: list[Message]) -> None:
    """To where the group has committed."""
    read = {message.partition() for message in messages}
    while owned := [each for each in consumer.assignment() if each.partition in read]:
        try:
            for each in consumer.committed(owned, timeout=30):
                consumer.seek(TopicPartition(told.input, each.partition, max(each.offset, 0)))
            return
        except KafkaException as refusal:
            told.refused(refusal)


wire.run(produce, consume, tour, member, copy)
