"""Writes a data set with confluent-kafka (librdkafka), or reads a topic back: see wire.py."""

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
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


wire.run(produce, consume, tour)
