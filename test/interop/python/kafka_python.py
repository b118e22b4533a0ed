"""Writes a data set with kafka-python, or reads a topic back: see wire.py."""

import threading
import time
from typing import Callable

from kafka import (
    ConsumerRebalanceListener,
    KafkaAdminClient,
    KafkaConsumer,
    KafkaProducer,
    OffsetAndMetadata,
    TopicPartition,
)
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError

import wire

# kafka-python has no bound on what waits to be sent, so this program keeps one.
WAITING_RECORDS_MAX = 10_000
RECONNECT = {"reconnect_backoff_max_ms": 500}


def produce(address: str, topic: str, path: str, acks: wire.Acks) -> None:
    producers = [
        KafkaProducer(
            bootstrap_servers=address,
            enable_idempotence=True,
            acks="all",
            compression_type=None if codec == "none" else codec,
            linger_ms=5,
            batch_size=65_536,
            **RECONNECT,
        )
        for codec in wire.CODECS
    ]
    waiting = threading.Semaphore(WAITING_RECORDS_MAX)
    lock = threading.Lock()

    def acknowledged(metadata: object) -> None:
        with lock:
            acks.add(metadata.partition, metadata.offset)
        waiting.release()

    def failed(error: BaseException) -> None:
        acks.fail(repr(error))
        waiting.release()

    def send(record: wire.Record) -> None:
        waiting.acquire()
        future = producers[record.codec].send(
            topic,
            key=record.key,
            value=record.value,
            partition=record.partition,
            headers=record.headers,
        )
        future.add_callback(acknowledged)
        future.add_errback(failed)

    def flush() -> None:
        for producer in producers:
            producer.flush()

    wire.write(path, acks, send, flush)
    for producer in producers:
        producer.close()


def consume(address: str, topic: str, gathered: wire.Gathered) -> None:
    consumer = KafkaConsumer(
        bootstrap_servers=address,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        check_crcs=True,
        **RECONNECT,
    )
    partitions = [TopicPartition(topic, partition) for partition in range(gathered.partitions)]
    consumer.assign(partitions)
    total = sum(consumer.end_offsets(partitions).values())
    for partition in partitions:
        consumer.seek(partition, 0)
    while gathered.read < total:
        for records in consumer.poll(timeout_ms=1000, max_records=2000).values():
            for record in records:
                gathered.add(record.partition, record.offset, record.key, record.value, record.headers)
    consumer.close()


def tour(address: str, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics({topic: {"num_partitions": 3, "configs": wire.TOUR_SETTING}})
    assert topic in admin.list_topics()
    described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    settings = described["topic"][topic]
    assert {name: settings[name]["value"] for name in wire.TOUR_SETTING} == wire.TOUR_SETTING
    producer = KafkaProducer(bootstrap_servers=address)
    for value in (b"one", b"two", b"three"):
        producer.send(topic, value=value)
    producer.flush(30)
    producer.close()
    asked = {TopicPartition(topic, partition): OffsetSpec.LATEST for partition in range(3)}
    ends = [end.offset for end in admin.list_partition_offsets(asked).values()]
    assert sum(ends) == 3, ends
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()
    admin.close()


class Assignments(ConsumerRebalanceListener):
    """Tells what the member owns."""

    def __init__(self, told: wire.Membership, consumer: KafkaConsumer) -> None:
        self._told = told
        self._consumer = consumer
        self._owned: set[int] = set()

    def on_partitions_assigned(self, assigned: object) -> None:
        self._owned.update(each.partition for each in assigned)
        self._told.owns(self._consumer.group_metadata().generation_id, self._owned)

    def on_partitions_revoked(self, revoked: object) -> None:
        self._owned.difference_update(each.partition for each in revoked)


def member(told: wire.Membership) -> None:
    consumer = KafkaConsumer(
        bootstrap_servers=told.address,
        group_id=told.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=told.session_ms,
        heartbeat_interval_ms=told.session_ms // 5,
        partition_assignment_strategy=[
            CooperativeStickyAssignor if told.protocol == "cooperative" else RangePartitionAssignor
        ],
        **RECONNECT,
    )

    def answered(offsets: dict, outcome: object) -> None:
        if isinstance(outcome, Exception):
            told.refused(repr(outcome))
        else:
            told.committed((partition.partition, each.offset) for partition, each in offsets.items())

    consumer.subscribe([told.topic], listener=Assignments(told, consumer))
    while not told.is_ending:
        try:
            handle(consumer, told, answered)
        except KafkaError as refusal:
            # Also a poll fails while the broker is away.
            told.refused(repr(refusal))
            time.sleep(0.2)
    try:
        consumer.close(autocommit=False)
    except KafkaError as refusal:
        told.refused(repr(refusal))


def handle(consumer: KafkaConsumer, told: wire.Membership, answered: Callable[[dict, object], None]) -> None:
    polled = consumer.poll(timeout_ms=200, max_records=100)
    if not polled:
        return
    told.did((each.partition, each.offset, each.value) for records in polled.values() for each in records)
    offsets = {
        partition: OffsetAndMetadata(records[-1].offset + 1, "", -1) for partition, records in polled.items()
    }
    if told.commits_async:
        consumer.commit_async(offsets, callback=answered)
    else:
        consumer.commit(offsets)
        answered(offsets, None)


wire.run(produce, consume, tour, member)
