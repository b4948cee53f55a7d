"""Other users of a machine get at nothing of ours; sessions that authenticate and encrypt all they
send, by Spark's own means or TLS, train to the same bits."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import traceback
from pathlib import Path

import numpy as np
import pyspark
import pytest
from conftest import SECURE
from test_fit_failures import X, classifier, executor_pids, fit, state_of

from zoo_keras.spark.data.spill import SpillFile
from zoo_keras.spark.java import call_java
from zoo_keras.spark.transport.bridge import Bridge, Region, driver_bridge

pytestmark = pytest.mark.spark
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="to become another user needs root")


def as_nobody(work):
    """What a function gives (as JSON) in a process of another user."""
    inner, outer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(outer, json.dumps(work()).encode())
        except BaseException:
            os.write(outer, json.dumps(traceback.format_exc()).encode())
        finally:
            os._exit(0)
    os.close(outer)
    with open(inner) as pipe:
        found = json.load(pipe)
    os.waitpid(pid, 0)
    return found


def refused(*attempts):
    """By attempt, the name of the error that it ends with, or None."""
    found = []
    for attempt in attempts:
        try:
            attempt()
            found.append(None)
        except OSError as error:
            found.append(type(error).__name__)
    return found


def opens(path):
    return lambda: os.close(os.open(path, os.O_RDONLY))


def knocks(path):
    def attempt():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)

    return attempt


@as_root
def test_another_user_can_neither_see_memory_nor_reach_the_socket(cluster2):
    address = call_java(cluster2, "Bridge", "openForDriver")
    path = address.split(":")[1]
    bridge = Bridge(address)
    region = Region(bridge, 4096)
    spilled = SpillFile()
    attempts = [
        lambda: os.listdir(os.path.dirname(path)),
        knocks(path),
        lambda: os.listdir(cluster2._temp_dir),
    ]
    ours = [bridge.here().pid, os.getpid(), *executor_pids(cluster2)]
    attempts += [opens(f"/proc/{pid}/mem") for pid in ours]
    attempts += [lambda pid=pid: os.listdir(f"/proc/{pid}/fd") for pid in ours]
    attempts += [opens(f"/proc/{os.getpid()}/fd/{fd}")
                 for fd in (region.fd, spilled.file.fileno())]  # fmt: skip
    try:
        assert refused(*attempts) == [None] * len(attempts), "the same attempts by ourselves"
        assert as_nobody(lambda: refused(*attempts)) == ["PermissionError"] * len(attempts)
    finally:
        spilled.file.close()
        bridge.close()


@as_root
def test_a_named_file_of_shared_memory_is_for_its_owner_alone(local2, monkeypatch):
    modes = []
    monkeypatch.delattr(os, "memfd_create")
    share = Bridge.map

    def looked(bridge, path, nbytes):
        modes.append((os.stat(path).st_mode & 0o777, as_nobody(lambda: refused(opens(path)))))
        return share(bridge, path, nbytes)

    monkeypatch.setattr(Bridge, "map", looked)
    bridge = driver_bridge(local2)
    Region(bridge, 4096)
    bridge.close()
    assert modes == [(0o600, ["PermissionError"])]


@as_root
def test_a_port_that_anybody_can_reach_hangs_up_on_who_has_no_secret(sessions):
    sc = sessions.get("local[2]", **{"spark.zookeras.bridge.transport": "tcp"}).sparkContext
    address = call_java(sc, "Bridge", "openForDriver")
    where, secret, lease = address.rsplit(":", 2)
    bridge, port = Bridge(address), int(where.split(":")[1])

    def answers():
        found = []
        for word in (secret[::-1], "0" * len(secret), "", "GET / HTTP/1.1\r\n" * 8):
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                sock.sendall(word.encode() + struct.pack(">q", int(lease)))
                sock.shutdown(socket.SHUT_WR)
                try:
                    found.append(sock.recv(100).decode())
                except ConnectionResetError:
                    found.append("")
        return found

    try:
        assert as_nobody(answers) == [""] * 4
        assert bridge.count_blocks() == 0  # and those who have it are served
    finally:
        bridge.close()


def test_no_command_line_or_environment_tells_the_secret(local2):
    address = call_java(local2, "Bridge", "openForDriver")
    secret, bridge = address.rsplit(":", 2)[1].encode(), Bridge(address)
    try:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):  # it has ended
                    assert secret not in Path("/proc", pid, name).read_bytes()
    finally:
        bridge.close()


# ---- sessions that are secure --------------------------------------------------------------------


def tls(folder):
    """Settings of Spark's RPC over TLS, with a certificate of our own."""
    store, word = folder / "keys.p12", "a password for tests"
    subprocess.run(
        ["keytool", "-genkeypair", "-alias", "tests", "-keyalg", "EC", "-storetype", "PKCS12",
         "-dname", "CN=tests", "-validity", "2", "-keystore", store, "-storepass", word],
        check=True, capture_output=True,
    )  # fmt: skip
    rpc = {"enabled": "true", "keyStore": store, "keyStoreType": "PKCS12", "trustStore": store,
           "trustStoreType": "PKCS12"}  # fmt: skip
    words = dict.fromkeys(("keyStorePassword", "keyPassword", "trustStorePassword"), word)
    settings = {f"spark.ssl.rpc.{name}": str(value) for name, value in {**rpc, **words}.items()}
    return {**settings, "spark.ssl.rpc.protocol": "TLSv1.3", "spark.io.encryption.enabled": "true",
            "spark.authenticate": "true", "spark.authenticate.secret": "for tests"}  # fmt: skip


def trained(sc, **options):
    model = classifier()
    fit(model, sc, **options)
    return state_of(model), model.predict(sc.parallelize(list(X), 2)).collect()


@pytest.mark.parametrize("means", ["spark", "tls"])
def test_a_session_that_encrypts_trains_and_predicts_to_the_same_bits(sessions, tmp_path, means):
    if means == "tls" and pyspark.__version__ < "4":
        pytest.skip("Spark has TLS between executors from 4.0 on")
    state, predicted = trained(sessions.get("local[2]").sparkContext)
    settings = (
        tls(tmp_path) if means == "tls" else {**SECURE, "spark.io.encryption.enabled": "true"}
    )
    # Through the network, which is what is encrypted, not by way of shared memory.
    far = {**settings, "spark.zookeras.sameHost": "false"}
    found, again = trained(sessions.get("local-cluster[2,1,1024]", **far).sparkContext)
    assert all(map(np.array_equal, found, state))
    assert all(map(np.array_equal, again, predicted))
