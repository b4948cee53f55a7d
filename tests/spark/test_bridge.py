"""The bridge by itself, boards, and jobs on one machine."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import struct
import tempfile
import threading
import time
from pathlib import Path

import leftovers
import numpy as np
import pytest

from zoo_keras.errors import ClusterError, ConfigError, DataError
from zoo_keras.spark.java import call_java
from zoo_keras.spark.transport import board as boards
from zoo_keras.spark.transport import bridge as bridges
from zoo_keras.spark.transport import job as jobs
from zoo_keras.spark.transport import neighbours
from zoo_keras.spark.transport.board import (
    BOARD_BYTES,
    Board,
    RemoteBoard,
    pack_record,
    unpack_record,
)
from zoo_keras.spark.transport.bridge import (
    Bridge,
    BridgeError,
    PeerLostError,
    Region,
    driver_bridge,
    with_bridge,
)
from zoo_keras.spark.transport.job import JobError, RankJob, run_rank_job

pytestmark = pytest.mark.spark

BLOCKS_AT = ("SparkEnv", "storage.BlockManager")
NO_PROCESS = 1 << 30  # more than the largest process id


@pytest.fixture
def bridge(local2):
    bridge = driver_bridge(local2)
    yield bridge
    bridge.close()


def test_a_block_shows_what_its_memory_holds_now(bridge):
    region = Region(bridge, 200)
    numbers = region.array(0, 20, np.int32)
    bridge.publish("live", [region.part(0, 40)])
    for turn in (1, 2):
        numbers[:10] = turn
        bridge.fetch(bridge.here(), "live", [region.part(40, 40)])
        assert numbers[10:].tolist() == [turn] * 10


def test_parts_across_the_mappings_of_a_large_region_are_one_block(bridge):
    edge = 1 << 30
    region = Region(bridge, edge + 4096)
    region.array(edge - 4, 8, np.uint8)[:] = range(8)
    bridge.publish("edge", [region.part(edge - 4, 8)])
    bridge.fetch(bridge.here(), "edge", [region.part(0, 3), region.part(8, 5)])
    assert region.array(0, 3, np.uint8).tolist() == [0, 1, 2]
    assert region.array(8, 5, np.uint8).tolist() == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("part", [(0, 4097), (4096, 1), (-1, 1), (1 << 62, 1 << 62), (0, -1)])
def test_parts_outside_a_region_are_refused(bridge, part):
    region = Region(bridge, 4096)
    with pytest.raises(BridgeError, match="of a region of 4096"):
        bridge.publish("outside", [region.part(*part)])


def test_a_name_can_be_published_once(bridge):
    region = Region(bridge, 64)
    bridge.publish("once", [region.part(0, 64)])
    with pytest.raises(BridgeError, match="exists already"):
        bridge.publish("once", [region.part(0, 64)])


def test_memory_under_a_block_cannot_be_unmapped(bridge):
    region = Region(bridge, 64)
    bridge.publish("under", [region.part(0, 64)])
    with pytest.raises(BridgeError, match="still published"):
        bridge.unmap(region.number)


def test_blocks_of_another_size_or_none_are_refused(bridge):
    region = Region(bridge, 64)
    bridge.publish("sized", [region.part(0, 32)])
    with pytest.raises(BridgeError, match="expected"):
        bridge.fetch(bridge.here(), "sized", [region.part(32, 31)])
    with pytest.raises(BridgeError, match="is not there"):
        bridge.fetch(bridge.here(), "nobody's", [region.part(32, 32)])


def test_a_block_that_goes_away_while_it_is_read_is_a_lost_peer(local2, bridge):
    """Whatever Spark says of it, which depends on the moment."""
    region, ended, reasons = Region(bridge, 64), threading.Event(), []

    def come_and_go():
        with contextlib.closing(driver_bridge(local2)) as other:
            own = Region(other, 64)
            while not ended.is_set():
                other.publish("moody", [own.part(0, 64)])
                other.withdraw("moody")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(3000):
            try:
                bridge.fetch(bridge.here(), "moody", [region.part(0, 64)])
            except BridgeError as error:
                reasons.append(error)
    finally:
        ended.set()
        thread.join()
    assert reasons and {type(error) for error in reasons} == {PeerLostError}


def spark_blocks(sc):
    """Spark's BlockManager. By handles: py4j would load all that SparkEnv names, and cannot."""
    java = sc._jvm.java.lang
    env, blocks = map(java.Class.forName, (f"org.apache.spark.{n}" for n in BLOCKS_AT))
    of = java.invoke.MethodType.methodType
    lookup = java.invoke.MethodHandles.publicLookup()
    got = lookup.findStatic(env, "get", of(env)).invokeWithArguments([])
    return lookup.findVirtual(env, "blockManager", of(blocks)).invokeWithArguments([got])


def test_a_block_on_its_way_out_keeps_the_size_that_its_frame_announces(local2, bridge):
    """Spark asks for the size and for the bytes one after the other, while it holds the block."""
    store = spark_blocks(local2)
    name = local2._jvm.org.apache.spark.storage.TestBlockId("zookeras-leaving")
    used = store.memoryStore().memoryUsed()
    bridge.publish("leaving", [Region(bridge, 64).part(0, 48)])
    held = store.getLocalBytes(name).get()
    thread = threading.Thread(target=bridge.withdraw, args=["leaving"])
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    assert held.size() == held.toByteBuffer().remaining() == 48
    store.releaseLock(name, local2._jvm.scala.Option.empty())
    thread.join()
    assert store.memoryStore().memoryUsed() == used


@pytest.mark.parametrize("moment", ["_next_answer", "_send"])
def test_ctrl_c_in_a_command_never_gives_its_answer_to_the_next(bridge, monkeypatch, moment):
    original = getattr(Bridge, moment)

    def interrupted(self, *given):
        monkeypatch.setattr(Bridge, moment, original)
        raise KeyboardInterrupt

    monkeypatch.setattr(Bridge, moment, interrupted)
    with pytest.raises(KeyboardInterrupt):
        bridge.locate("nobody's")
    assert bridge.count_blocks() == 0 and bridge.here().executor == "driver"


def test_only_findable_blocks_are_located(bridge):
    region = Region(bridge, 64)
    bridge.publish("hidden", [region.part(0, 64)])
    bridge.publish("findable", [region.part(0, 64)], findable=True)
    assert bridge.locate("hidden") is None
    assert bridge.locate("findable")[:3] == bridge.here()[:3]
    bridge.withdraw("findable")
    assert bridge.locate("findable") is None


def test_all_goes_when_a_connection_closes(local2, bridge):
    other = driver_bridge(local2)
    region = Region(other, 64)
    other.publish("short-lived", [region.part(0, 64)])
    assert bridge.count_blocks() == 1
    other.close()
    assert bridge.count_blocks() == 0


def test_the_socket_is_in_a_private_folder_and_goes_with_the_last_user(local2):
    address = call_java(local2, "Bridge", "openForDriver")
    kind, path, _, _ = address.split(":")
    assert kind == "unix"
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    Bridge(address).close()
    assert not os.path.exists(os.path.dirname(path))


@pytest.mark.parametrize(
    "is_old, name, swept",
    [
        (False, "zookeras-{pid}-{machine}-{pids}-", True),  # no process has that id
        (True, "zookeras-1-{machine}-{pids}-", True),  # process 1 is there, the socket is old
        (False, "zookeras-1-{machine}-{pids}-", False),
        (False, "zookeras-{pid}-{machine}-00000000-", False),  # of another container
        (True, "zookeras-{pid}-{machine}-00000000-", True),
        (True, "zookeras-{pid}-00000000-{pids}-", False),  # of another machine
        (True, "zookeras-{pid}-", False),
    ],
)
def test_sockets_of_killed_processes_are_swept_away(local2, is_old, name, swept):
    with contextlib.closing(Bridge(address := call_java(local2, "Bridge", "openForDriver"))):
        folder = os.path.basename(os.path.dirname(address.split(":")[1]))
    _, _, machine, pids, _ = folder.split("-")
    prefix = name.format(pid=NO_PROCESS, machine=machine, pids=pids)
    stale = Path(tempfile.mkdtemp(prefix=prefix))
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(stale / "s"))
    os.utime(stale / "s", (0, 0) if is_old else None)
    driver_bridge(local2).close()
    assert stale.exists() == (not swept)
    shutil.rmtree(stale, ignore_errors=True)


def _no_anonymous_files():
    raise OSError("not on this system")


def test_regions_can_lie_in_files_which_have_no_name_any_more(bridge, monkeypatch):
    monkeypatch.setattr(bridges, "_anonymous_file", _no_anonymous_files)
    region = Region(bridge, 64)
    bridge.publish("filed", [region.part(0, 32)])
    region.array(0, 4, np.uint8)[:] = 7
    bridge.fetch(bridge.here(), "filed", [region.part(32, 32)])
    assert region.array(32, 4, np.uint8).tolist() == [7] * 4
    assert not list(Path("/dev/shm").glob("zookeras-*"))


def _no_room(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_no_room_for_a_region_says_what_to_raise(bridge, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", _no_room)
    with pytest.raises(ClusterError, match=r"no room for 1 MB .*No space.*memoryOverhead"):
        Region(bridge, 1_000_000)


def test_a_wrong_secret_or_lease_is_turned_away(local2):
    address = call_java(local2, "Bridge", "openForDriver")
    where, secret, lease = address.rsplit(":", 2)
    for wrong in (f"{where}:{'0' * 32}:{lease}", f"{where}:{secret}:12345"):
        with pytest.raises(BridgeError, match="gone"):
            Bridge(wrong)
    Bridge(address).close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\0\0\0\1?",  # no such command
        b"\0\0\0\3M\xff\xff",  # a text longer than the request
        b"\0\0\0\x0eP\0\1xA" + b"\0" + struct.pack(">i", 1 << 30) + b"\0" * 4,  # so many parts
    ],
)
def test_a_broken_request_is_refused_and_the_next_one_served(local2, request_bytes):
    address = call_java(local2, "Bridge", "openForDriver")
    bridge = Bridge(address)
    bridge._socket.sendall(request_bytes)
    with pytest.raises(BridgeError):
        bridge._answer()
    assert bridge.here().executor == "driver"
    bridge.close()


def test_a_request_longer_than_allowed_ends_the_connection(bridge):
    bridge._socket.sendall(struct.pack(">I", 1 << 31))
    with pytest.raises(BridgeError, match="gone"):
        bridge._answer()


def test_loopback_tcp_serves_as_well(sessions):
    conf = {"spark.zookeras.bridge.transport": "tcp"}
    sc = sessions.get("local[2]", **conf).sparkContext
    address = call_java(sc, "Bridge", "openForDriver")
    assert address.startswith("tcp:")
    port = int(address.split(":")[1])
    with socket.create_connection(("127.0.0.1", port), 5) as stranger:
        stranger.sendall(b"0" * 32 + b"\0" * 8)
        assert stranger.recv(1) == b""
    bridge = Bridge(address)
    assert bridge.here().executor == "driver"
    bridge.close()


def test_records_survive_and_torn_ones_are_told():
    record = bytearray(pack_record(7, np.array([1.5, -2.0]), b"{}"))
    version, values, text = unpack_record(bytes(record) + b"\0" * 8)
    assert (version, values.tolist(), text) == (7, [1.5, -2.0], b"{}")
    for place in range(len(record)):
        torn = bytes(record[:place]) + bytes([record[place] ^ 1]) + bytes(record[place + 1 :])
        assert unpack_record(torn) is None or place < 8
    assert unpack_record(b"\0" * BOARD_BYTES)[0] == 0
    with pytest.raises(ConfigError, match="holds"):
        pack_record(1, np.zeros(BOARD_BYTES), b"")


def test_boards_carry_records_and_blobs(bridge):
    board = Board(bridge, "a-board", findable=True)
    remote = RemoteBoard(bridge, bridge.locate("a-board"), "a-board")
    assert remote.read() is None
    board.write([1.0, 2.0], {"stop": False})
    assert remote.read().values.tolist() == [1.0, 2.0]
    for data in (b"program", b""):
        board.publish("blob", data)
        assert remote.fetch("blob").tobytes() == data
    board.publish("array", np.arange(3.0))
    assert remote.fetch("array").view(np.float64).tolist() == [0, 1, 2]
    kept = [remote.fetch("array", again=True) for _ in range(2)]
    assert np.shares_memory(*kept) and kept[0].view(np.float64).tolist() == [0, 1, 2]
    board.publish("array", np.arange(1000.0))  # more than fits there
    assert np.array_equal(remote.fetch("array", again=True).view(np.float64), np.arange(1000.0))
    assert remote.blobs() == {"blob": 0, "array": 8000}
    assert remote.read().facts == {"stop": False}
    with pytest.raises(ConfigError, match="no blob"):
        remote.fetch("nothing")
    remote.close()
    board.close()


def test_a_writer_may_be_put_aside_in_the_middle_of_a_record(bridge, monkeypatch):
    board = Board(bridge, "slow-board", findable=True)
    remote = RemoteBoard(bridge, bridge.locate("slow-board"), "slow-board")
    board.write([1.0])
    place = 40  # in its text
    whole = int(board._bytes[place])
    board._bytes[place] ^= 1
    mend = threading.Timer(0.5, board._bytes.__setitem__, (place, whole))
    mend.start()
    assert remote.read().values.tolist() == [1.0]
    board._bytes[place] ^= 1
    monkeypatch.setattr(boards, "_TORN", 0.1)
    with pytest.raises(ClusterError, match="slow-board of the driver cannot be read"):
        remote.read()
    mend.join()
    board.close()


def _first_items(items):
    items = list(items)
    yield items[0].split(":")[0], items[1:]


def test_the_address_comes_before_the_data_of_any_rdd(local2, tmp_path):
    (tmp_path / "lines.txt").write_text("a\nb\n")
    for rdd in (local2.parallelize(["a", "b"], 1), local2.textFile(str(tmp_path), 1)):
        found = with_bridge(rdd).mapPartitions(_first_items).collect()
        assert [kind for kind, _ in found] == ["unix"] * len(found)
        assert [item for _, items in found for item in items] == ["a", "b"]


def _count_both(rank):
    rows, more = list(rank.rows), list(rank.validation)
    facts = rank.gather({"rows": len(rows), "more": len(more)})
    return facts, rank.cores, rows[:1], more[:1]


def test_ranks_get_training_rows_then_validation_rows(local2):
    rows = local2.parallelize(range(10), 2)
    more = local2.parallelize("abc", 2).map(str.upper)
    first, second = run_rank_job(rows, _count_both, validation=more)
    assert first == ([{"rows": 5, "more": 1}, {"rows": 5, "more": 2}], 1, [0], ["A"])
    assert second[2:] == ([5], ["B"])


def _skip_rows(rank):
    more = list(rank.validation)
    rank.gather()
    return more


def test_validation_rows_can_be_read_first(local2):
    rows = local2.parallelize(range(10), 2)
    assert run_rank_job(rows, _skip_rows, validation=rows) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_validation_needs_as_many_partitions(local2):
    rows = local2.parallelize(range(10), 2)
    with pytest.raises(ConfigError, match="2 and 1 partitions"):
        run_rank_job(rows, _skip_rows, validation=local2.parallelize(range(3), 1))


def _arrow_sums(rank):
    import pyarrow as pa

    schema = pa.schema([("id", pa.int64()), ("x", pa.float32())])
    sums = []
    for messages in (rank.rows, rank.validation):
        batches = [pa.ipc.read_record_batch(pa.py_buffer(m), schema) for m in messages]
        sums.append(sum(batch.column(1).to_numpy().sum() for batch in batches))
    rank.gather()
    return sums


def test_data_frames_come_as_arrow_batches(local2):
    from pyspark.sql import SparkSession

    spark = SparkSession(local2)
    frame = spark.range(0, 100, 1, 2).selectExpr("id", "cast(id * 2 as float) as x")
    found = run_rank_job(frame, _arrow_sums, validation=frame.limit(0).repartition(2))
    assert np.sum(found, axis=0).tolist() == [9900, 0]


def _raise(kind):
    def body(rank):
        rank.gather()
        if rank.rank == 1:
            raise kind("row 7 is odd")
        rank.barrier()

    return body


def test_an_error_of_ours_keeps_its_type_and_names_the_rank(local2):
    with pytest.raises(DataError, match=r"row 7 is odd \(rank 1 on "):
        run_rank_job(local2.parallelize(range(4), 2), _raise(DataError))


def test_any_other_error_is_told_with_its_trace(local2):
    with pytest.raises(JobError, match=r"rank 1 .*KeyError: .*row 7(.|\n)*in body") as caught:
        run_rank_job(local2.parallelize(range(4), 2), _raise(KeyError))
    assert not caught.value.restartable


@pytest.mark.parametrize("same_host", [False, True])
def test_a_wait_has_an_end_and_names_who_is_late(local2, same_host):
    rows = local2.parallelize(range(4), 2)
    with pytest.raises(JobError, match=r"waited too long for rank 1 \(host .*executor"):
        run_rank_job(rows, _late, same_host=same_host)


def _late(rank):
    rank.gather()
    rank.group.timeout = 1.0
    if rank.rank == 1:
        time.sleep(3)
    rank.barrier()


def _leave(rank):
    rank.gather()
    if rank.rank == 1:
        rank.hang_up()
        time.sleep(25)
    # Spark knows of no other failure. This process ends with the task.
    neighbours._GRACE, jobs._VERDICT_TIMEOUT = 0.5, 0.2
    rank.barrier()


@pytest.mark.parametrize("same_host", [False, True])
def test_a_rank_that_has_gone_is_noticed(local2, same_host):
    start = time.monotonic()
    with pytest.raises(JobError, match=r"lost rank 1") as caught:
        run_rank_job(local2.parallelize(range(4), 2), _leave, same_host=same_host)
    assert caught.value.restartable
    assert time.monotonic() - start < 30


def _forever(rank):
    rank.gather()
    rank.progress.write([rank.rank])
    while True:
        rank.barrier()


def _interrupt(job):
    if job.progress(0) and job.progress(1):
        raise KeyboardInterrupt


@pytest.mark.parametrize("end", ["cancel", "ctrl-c", "failure"])
def test_nothing_is_left_behind(local2, end):
    rows = local2.parallelize(range(4), 2)
    if end == "cancel":
        with RankJob(rows, _forever) as job:
            while not (job.progress(0) and job.progress(1)):
                assert not job.wait(0.05)
            job.cancel()
            with pytest.raises(JobError) as caught:
                job.result()
            assert caught.value.cancelled
    elif end == "ctrl-c":
        with pytest.raises(KeyboardInterrupt):
            run_rank_job(rows, _forever, watch=_interrupt)
    else:
        with pytest.raises(DataError):
            run_rank_job(rows, _raise(DataError))
    leftovers.wait_until(leftovers.driver, leftovers.NOTHING)
    leftovers.wait_until(lambda: leftovers.executors(local2), {(0, 0, 0)})
