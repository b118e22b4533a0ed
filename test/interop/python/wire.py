"""What the small programs for clients in Python share (see ../clients.ts for their arguments and what they
print): the records of a data set (see ../data-set.ts for the file), the check that offsets are dense, and the
digests."""

import hashlib
import signal
import struct
import sys
from typing import BinaryIO, Callable, Iterable, Iterator, NamedTuple, Optional

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
PROGRESS_EVERY = 500
# The setting that a tour gives its topic.
TOUR_SETTING = {"retention.ms": "3600000"}

Bytes = Optional[bytes]
Headers = list[tuple[str, Bytes]]


class Record(NamedTuple):
    partition: int
    codec: int
    key: Bytes
    value: Bytes
    headers: Headers


class Acks:
    """Counts acknowledgements; the topic was empty, so the offsets of each partition are dense from 0."""

    def __init__(self, partitions: int) -> None:
        self._next_offset = [0] * partitions
        self.count = 0
        self.failure: Optional[str] = None

    def add(self, partition: int, offset: int) -> None:
        due = self._next_offset[partition]
        self._next_offset[partition] = due + 1
        if offset != due:
            self.fail(f"partition {partition}: acknowledged at {offset} where {due} was due")
            return
        self.count += 1
        if self.count % PROGRESS_EVERY == 0:
            print("progress", self.count, flush=True)

    def fail(self, reason: str) -> None:
        self.failure = self.failure or reason


class Gathered:
    """What was read so far."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.read = 0
        self._counts = [0] * partitions
        self._digests = [hashlib.sha256() for _ in range(partitions)]

    def add(self, partition: int, offset: int, key: Bytes, value: Bytes, headers: Headers) -> None:
        due = self._counts[partition]
        if offset != due:
            raise RuntimeError(f"partition {partition}: offset {offset} where {due} was due")
        self._counts[partition] = due + 1
        parts = [_blob(key), _blob(value), struct.pack(">i", len(headers))]
        for name, header_value in headers:
            parts += (_blob(name.encode()), _blob(header_value))
        self._digests[partition].update(b"".join(parts))
        self.read += 1
        if self.read % PROGRESS_EVERY == 0:
            print("progress", self.read, flush=True)

    def print(self) -> None:
        for partition, digest in enumerate(self._digests):
            print("partition", partition, self._counts[partition], digest.hexdigest(), flush=True)


def write(path: str, acks: Acks, send: Callable[[Record], None], flush: Callable[[], None]) -> None:
    """Sends all records. The codec of a partition changes only after a flush, since each codec has a producer
    of its own."""
    codec_of: dict[int, int] = {}
    sent = 0
    with open(path, "rb", buffering=1 << 20) as file:
        for record in _records(file):
            if acks.failure:
                break
            if codec_of.get(record.partition, record.codec) != record.codec:
                flush()
                codec_of.clear()
            codec_of[record.partition] = record.codec
            send(record)
            sent += 1
    flush()
    if acks.failure:
        raise RuntimeError(acks.failure)
    if acks.count != sent:
        raise RuntimeError(f"{sent} sent, {acks.count} acknowledged")


class Membership:
    """What a member of a group is told, and what it tells: each line is out before what it is about goes on."""

    def __init__(self, address: str, topic: str, group: str, protocol: str, commits: str, session_ms: str) -> None:
        self.address, self.topic, self.group = address, topic, group
        self.protocol = protocol
        self.commits_async = commits == "async"
        self.session_ms = int(session_ms)
        self.is_ending = False
        signal.signal(signal.SIGTERM, self._end)

    def owns(self, generation: int, partitions: Iterable[int]) -> None:
        print("owns", generation, *sorted(partitions), flush=True)

    def did(self, records: Iterable[tuple[int, int, Bytes]]) -> None:
        sys.stdout.write("".join(f"did {partition} {offset} {(value or b'').decode()}\n" for partition, offset, value in records))
        sys.stdout.flush()

    def committed(self, offsets: Iterable[tuple[int, int]]) -> None:
        sys.stdout.write("".join(f"committed {partition} {offset}\n" for partition, offset in offsets))
        sys.stdout.flush()

    def refused(self, reason: object) -> None:
        print("refused", " ".join(str(reason).split()), flush=True)

    def _end(self, *_: object) -> None:
        self.is_ending = True


class Copying:
    """What a copier is told (see ../copiers.ts), and what it tells."""

    def __init__(self, words: dict[str, str]) -> None:
        self.address, self.input, self.output = words["address"], words["input"], words["output"]
        self.group, self.protocol, self.transactional_id = words["group"], words["protocol"], words["transactional-id"]
        self.session_ms, self.timeout_ms = int(words["session-ms"]), int(words["timeout-ms"])
        self.lot, self.pause = int(words["lot"]), int(words["pause-ms"]) / 1000
        self._aborts_every, self._transactions = int(words["aborts-every"]), 0
        self.is_ending = False
        signal.signal(signal.SIGTERM, self._end)

    def aborts(self) -> bool:
        """Whether the next transaction is aborted on purpose."""
        self._transactions += 1
        return self._transactions % self._aborts_every == 0

    def committed(self, count: int, ends: dict[int, int]) -> None:
        print("committed", count, *(number for end in sorted(ends.items()) for number in end), flush=True)

    def aborted(self, count: int) -> None:
        print("aborted", count, flush=True)

    def refused(self, reason: object) -> None:
        print("refused", " ".join(str(reason).split()), flush=True)

    def _end(self, *_: object) -> None:
        self.is_ending = True


def run(
    produce: Callable[[str, str, str, Acks], None],
    consume: Callable[[str, str, Gathered], None],
    tour: Callable[[str, str], None],
    member: Callable[[Membership], None],
    copy: Optional[Callable[[Copying], None]] = None,
) -> None:
    match sys.argv[1:]:
        case ["produce", address, topic, path, partitions]:
            acks = Acks(int(partitions))
            produce(address, topic, path, acks)
            print("acked", acks.count, flush=True)
        case ["consume", address, topic, partitions]:
            gathered = Gathered(int(partitions))
            consume(address, topic, gathered)
            gathered.print()
        case ["tour", address, topic]:
            tour(address, topic)
        case ["member", *told]:
            member(Membership(*told))
            print("left", flush=True)
        case ["copy", *words] if copy is not None:
            copy(Copying(dict(word.split("=", 1) for word in words)))
            print("left", flush=True)
        case others:
            raise SystemExit(f"cannot read the arguments {others}")


def _records(file: BinaryIO) -> Iterator[Record]:
    while head := file.read(5):
        partition, codec = struct.unpack(">iB", head)
        key, value = _read_blob(file), _read_blob(file)
        headers = [(_read_name(file), _read_blob(file)) for _ in range(_read_int(file))]
        yield Record(partition, codec, key, value, headers)


def _read_int(file: BinaryIO) -> int:
    return int.from_bytes(file.read(4), "big", signed=True)


def _read_blob(file: BinaryIO) -> Bytes:
    length = _read_int(file)
    return None if length < 0 else file.read(length)


def _read_name(file: BinaryIO) -> str:
    return (_read_blob(file) or b"").decode()


def _blob(value: Bytes) -> bytes:
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
