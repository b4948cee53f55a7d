"""Python's end of the bridge to the JVM of its executor (or driver).

In: an address put in front of the data by `with_bridge`, or `driver_bridge(sc)`. Out: shared memory
(`Region`), blocks published from it and blocks of others fetched into it. Knows no models and no
all-reduce. The other end is csrc/jvm/zookeras/Connection.java.

    bridge = Bridge(address)                      # one thread at a time
    region = Region(bridge, nbytes)               # region.array(offset, count, dtype) are views
    bridge.publish("name", [region.part(0, 64)])  # the memory stays live: peers read what is there
    bridge.fetch(peer, "name", [region.part(64, 64)])
    bridge.close()                                # takes back all that was published
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import struct
import tempfile
import threading
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import ClusterError, ConfigError
from zoo_keras.spark.java import call_java, new_java

COMMAND_TIMEOUT = 60.0
_CLOSE_TIMEOUT = 10.0
_LARGEST_ANSWER = 1 << 24
_PAGE = 4096


class BridgeError(ClusterError):
    """The bridge refused a command, or is gone."""


class BridgeTimeoutError(BridgeError):
    """Somebody did not answer in time; the message names the peer."""


class BridgeGoneError(BridgeError):
    """The JVM at the other end is there no more."""


class PeerLostError(BridgeError):
    """Another executor, or a block of it, is gone; the message names the peer."""


class TaskCancelledError(BridgeError):
    """Spark has asked this task to stop: the job failed elsewhere or was cancelled."""


_KINDS = {2: BridgeTimeoutError, 3: PeerLostError, 4: TaskCancelledError}


class Peer(NamedTuple):
    """Where a block manager listens. `executor` is "driver" on the driver."""

    host: str
    port: int
    executor: str
    pid: int = 0


class Part(NamedTuple):
    """`nbytes` bytes of a region, from `offset`."""

    region: int
    offset: int
    nbytes: int


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _peer(peer: Peer) -> bytes:
    return _text(peer.host) + struct.pack(">i", peer.port) + _text(peer.executor)


def _parts(parts: Sequence[Part]) -> bytes:
    parts = [part for part in parts if part.nbytes]
    return struct.pack(">i", len(parts)) + b"".join(struct.pack(">iqq", *part) for part in parts)


def _read_peer(answer: bytes) -> Peer:
    (n,) = struct.unpack_from(">H", answer)
    host, answer = answer[2 : 2 + n].decode(), answer[2 + n :]
    port, n = struct.unpack_from(">iH", answer)
    executor, answer = answer[6 : 6 + n].decode(), answer[6 + n :]
    return Peer(host, port, executor, struct.unpack(">q", answer)[0])


class Bridge:
    """A connection to the bridge of this machine's JVM. Commands of several threads queue up.

    Args:
        address: "unix:PATH:SECRET:LEASE" or "tcp:PORT:SECRET:LEASE", as the JVM gives it.

    Raises:
        BridgeError: nobody listens there, or the lease has ended.
    """

    def __init__(self, address: str) -> None:
        where, secret, lease = address.rsplit(":", 2)
        self._lock = threading.Lock()
        self._socket = _connect(where)
        self._socket.settimeout(COMMAND_TIMEOUT)
        self._buffer = b""
        self._unread = 0  # answers to commands that Ctrl-C has broken off
        try:
            self._socket.sendall(secret.encode() + struct.pack(">q", int(lease)))
            self._answer()
        except OSError as error:
            self._socket.close()
            raise _gone(error) from None
        except BridgeError:
            self._socket.close()
            raise

    def call(self, op: bytes, body: bytes = b"", timeout: float = COMMAND_TIMEOUT) -> bytes:
        """Sends one command and waits for its answer.

        Raises:
            BridgeError: the bridge refused it, is gone, or did not answer within `timeout` seconds.
        """
        with self._lock:
            try:
                self._socket.settimeout(timeout)
                self._skip_unread()
                self._send(struct.pack(">I", 1 + len(body)) + op + body)
                return self._answer()
            except TimeoutError:
                self._socket.close()
                raise BridgeTimeoutError(
                    f"The bridge to this executor's JVM did not answer. Received: nothing within "
                    f"{timeout:.0f} s. Look at the executor's log; it may be out of memory."
                ) from None
            except OSError as error:
                raise _gone(error) from None

    def _send(self, command: bytes) -> None:
        self._unread += 1
        try:
            self._socket.sendall(command)
        except BaseException:  # after half a command nothing can follow
            self._socket.close()
            raise

    def _skip_unread(self) -> None:
        while self._unread:
            self._next_answer()

    def _answer(self) -> bytes:
        status, body = self._next_answer()
        if status:
            raise _KINDS.get(status, BridgeError)(body.decode())
        return body

    def _next_answer(self) -> tuple[int, bytes]:
        while len(self._buffer) < 5:
            self._buffer += self._receive()
        status, length = struct.unpack_from(">BI", self._buffer)
        if length > _LARGEST_ANSWER:
            raise BridgeError(f"The bridge gave an answer that is too long. Received: {length}.")
        while len(self._buffer) < 5 + length:
            self._buffer += self._receive()
        body, self._buffer = self._buffer[5 : 5 + length], self._buffer[5 + length :]
        self._unread = max(0, self._unread - 1)
        return status, body

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise _gone("end of stream")
        return data

    def here(self) -> Peer:
        """This JVM's block manager."""
        return _read_peer(self.call(b"I"))

    def count_blocks(self) -> int:
        """How many blocks of zoo_keras this JVM holds, of all jobs and processes."""
        return int.from_bytes(self.call(b"N"), "big")

    def map(self, path: str, nbytes: int) -> int:
        """Shares a file with the JVM; returns the region's number."""
        return int.from_bytes(self.call(b"M", _text(path) + struct.pack(">q", nbytes)), "big")

    def unmap(self, region: int) -> None:
        """Ends the sharing. Blocks over the region must have been withdrawn."""
        self.call(b"U", struct.pack(">i", region))

    def publish(self, name: str, parts: Sequence[Part], *, findable: bool = False) -> None:
        """Makes memory a block under a name that nobody has used before.

        With `findable` the driver is told, so that `locate` finds the block.
        """
        self.call(b"P", _text(name) + bytes([findable]) + _parts(parts))

    def withdraw(self, name: str) -> None:
        """Takes a block back; returns when nobody is being sent it any more."""
        self.call(b"W", _text(name))

    def locate(self, name: str) -> Peer | None:
        """Who has published a findable block, or None. Asks the driver."""
        answer = self.call(b"L", _text(name))
        return _read_peer(answer) if answer else None

    def fetch(
        self,
        peer: Peer,
        name: str,
        parts: Sequence[Part],
        *,
        who: str = "executor",
        timeout: float = COMMAND_TIMEOUT,
    ) -> None:
        """Reads a peer's block into memory of ours, whose size must be the block's.

        Raises:
            PeerLostError: the peer or the block is gone.
            BridgeTimeoutError: it did not come within `timeout` seconds.
        """
        wait = struct.pack(">q", int(timeout * 1000))
        body = _text(who) + _peer(peer) + wait + _text(name) + _parts(parts)
        self.call(b"F", body, timeout + COMMAND_TIMEOUT)

    def check(self) -> None:
        """Raises when Spark wants this task to stop.

        Raises:
            TaskCancelledError: the job failed elsewhere, or was cancelled.
        """
        self.call(b"C")

    def new_group(self, job: str, rank: int, size: int) -> int:
        """Hangs up this rank's bells for a job; returns the group's number."""
        answer = self.call(b"G", _text(job) + struct.pack(">ii", rank, size))
        return int.from_bytes(answer, "big")

    def join(self, group: int, peers: Sequence[Peer]) -> None:
        """Tells the group every rank's address, in rank order."""
        body = struct.pack(">ii", group, len(peers)) + b"".join(map(_peer, peers))
        self.call(b"J", body)

    def plan(
        self, group: int, wanted: Iterable[tuple[int, Sequence[tuple[str, Sequence[Part]]]]]
    ) -> int:
        """Prepares an exchange with some peers: their ranks, block names and where they go."""
        wanted = list(wanted)
        body = struct.pack(">ii", group, len(wanted))
        for rank, blocks in wanted:
            body += struct.pack(">ii", rank, len(blocks))
            body += b"".join(_text(name) + _parts(parts) for name, parts in blocks)
        return int.from_bytes(self.call(b"T", body), "big")

    def exchange(self, group: int, plan: int, number: int, timeout: float) -> None:
        """Runs exchange `number` of a group: see csrc/jvm/zookeras/Exchange.java."""
        body = struct.pack(">iiqq", group, plan, number, int(timeout * 1000))
        self.call(b"X", body, timeout + COMMAND_TIMEOUT)

    def close(self) -> None:
        """Hangs up and waits until the JVM has taken back blocks and memory."""
        with contextlib.suppress(OSError), self._lock:
            self._socket.settimeout(_CLOSE_TIMEOUT)
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(1 << 16):
                pass
        self._socket.close()


def _connect(where: str) -> socket.socket:
    kind, _, place = where.partition(":")
    try:
        if kind == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(place)
        else:
            sock = socket.create_connection(("127.0.0.1", int(place)), COMMAND_TIMEOUT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise _gone(error) from None
    return sock


def _gone(why: object) -> BridgeError:
    return BridgeGoneError(
        f"The bridge to this executor's JVM is gone. Received: {why}. "
        "The task or its executor has ended; see the executor's log."
    )


class Region:
    """Memory shared by this process and its JVM, all zero at first. It has no name in any folder
    once it is shared, so nothing is left behind even after `kill -9`.

    Args:
        bridge: the connection it is shared through.
        nbytes: its size; rounded up to whole pages.

    Attributes:
        nbytes: its size. number: its number in the JVM. fd: its file, until it is closed.

    Raises:
        ClusterError: there is no room for it.
    """

    def __init__(self, bridge: Bridge, nbytes: int) -> None:
        self.nbytes = -(-max(nbytes, 1) // _PAGE) * _PAGE
        self._bridge = bridge
        self._memory, self.number, self.fd = self._share()
        self._close_fd = weakref.finalize(self, os.close, self.fd)

    def _share(self) -> tuple[mmap.mmap, int, int]:
        reasons = []
        for make in (_anonymous_file, *(_file_in(folder) for folder in _folders())):
            try:
                with make() as (fd, path):
                    os.posix_fallocate(fd, 0, self.nbytes)  # else a full /dev/shm is a SIGBUS later
                    number = self._bridge.map(path, self.nbytes)
                    return mmap.mmap(fd, self.nbytes), number, os.dup(fd)
            except (OSError, AttributeError) as error:
                reasons.append(str(error))
            except BridgeGoneError:
                raise  # a file with a name would outlive a process that is killed now
            except BridgeError as error:
                reasons.append(str(error))
        raise ClusterError(
            f"There is no room for {self.nbytes / 1e6:.0f} MB of shared memory. "
            f"Received: {'; '.join(reasons)}. Give the executors more memory "
            "(spark.executor.memoryOverhead) or a larger spark.local.dir."
        )

    def array(self, offset: int, count: int, dtype: Any = np.float32) -> np.ndarray:
        """A view of `count` values from byte `offset`."""
        return np.frombuffer(self._memory, dtype, count, offset)

    def part(self, offset: int, nbytes: int) -> Part:
        """Bytes of the region, for `publish` and `fetch`."""
        return Part(self.number, offset, nbytes)

    def close(self) -> None:
        """Gives the JVM's share back; ours goes with the last array."""
        self._close_fd()
        with contextlib.suppress(BridgeError):
            self._bridge.unmap(self.number)


@contextlib.contextmanager
def _anonymous_file() -> Any:
    fd = os.memfd_create("zookeras")
    try:
        yield fd, f"/proc/{os.getpid()}/fd/{fd}"
    finally:
        os.close(fd)


def _file_in(folder: str) -> Any:
    @contextlib.contextmanager
    def make() -> Any:
        fd, path = tempfile.mkstemp(prefix="zookeras-", dir=folder)
        try:
            yield fd, path
        finally:
            os.unlink(path)
            os.close(fd)

    return make


def _folders() -> list[str]:
    local = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")
    folders = ["/dev/shm", *local, tempfile.gettempdir()]
    return [folder for folder in folders if folder and os.path.isdir(folder)]


def driver_bridge(sc: Any) -> Bridge:
    """A bridge for the driver's own Python process: it publishes and reads blocks like any rank."""
    return Bridge(call_java(sc, "Bridge", "openForDriver"))


def with_bridge(rows: Any, more: Any = None) -> Any:
    """The same RDD with the address of the local bridge (a str) in front of every partition.

    With `more`, an RDD of as many partitions, each partition is: address, rows, the address again
    as a marker, rows of `more`. RDDs of Arrow batches (`arrow_batches`) give bytes throughout.

    Raises:
        ConfigError: the two RDDs differ in partitions or kind.
    """
    from pyspark.rdd import RDD

    rows, more = _batched(rows), None if more is None else _batched(more)
    pickled = not _is_raw(rows)
    start = new_java(rows.ctx, "Start", pickled)
    if more is None:
        java = rows._jrdd.mapPartitions(start, True)
    else:
        _check_alike(rows, more)
        java = rows._jrdd.zipPartitions(more._jrdd, start)
    return RDD(java, rows.ctx, rows._jrdd_deserializer)


def _is_raw(rdd: Any) -> bool:
    from pyspark.serializers import NoOpSerializer

    return isinstance(rdd._jrdd_deserializer, NoOpSerializer)


def _batched(rdd: Any) -> Any:
    """An RDD whose JVM side holds pickled batches; text files and the like are converted."""
    from pyspark.serializers import BatchedSerializer, CPickleSerializer

    kind = rdd._jrdd_deserializer
    batched = isinstance(kind, BatchedSerializer) and isinstance(kind.serializer, CPickleSerializer)
    return rdd if batched or _is_raw(rdd) else rdd._pickled()


def _check_alike(rows: Any, more: Any) -> None:
    received = rows.getNumPartitions(), more.getNumPartitions()
    if received[0] != received[1] or _is_raw(rows) != _is_raw(more):
        raise ConfigError(
            "Training and validation data must have the same kind and number of partitions. "
            f"Received: {received[0]} and {received[1]} partitions. Repartition one of them."
        )


def arrow_batches(frame: Any) -> Any:
    """A DataFrame as an RDD of Arrow record batches (bytes, as IPC messages without a schema)."""
    from pyspark.rdd import RDD
    from pyspark.serializers import NoOpSerializer

    sc = frame.sparkSession.sparkContext
    return RDD(frame._jdf.toArrowBatchRdd().toJavaRDD(), sc, NoOpSerializer())
