"""What tests of hostile files share: archives and configurations written by hand, claims
about sizes, and a limit."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zipfile

SMALL = 64 << 20  # bytes; all models here are far smaller


def assert_small(call):
    """call() takes little memory; returns the exception that it raises, or None."""
    tracemalloc.start()
    try:
        call()
        error = None
    except Exception as caught:
        error = caught
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < SMALL
    return error


def archive(path, config, weights=b"", **members):
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        made.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        made.writestr("model.weights.h5", weights)
        for name, data in members.items():
            made.writestr(name, data)
    return path


def claim(path, name, size):
    """Let the archive's directory say that the packed bytes of a member are so many."""
    with zipfile.ZipFile(path) as made:
        at, info = made.start_dir, made.getinfo(name)
    data = bytearray(path.read_bytes())
    entry = data.index(name.encode(), at) - 46
    data[entry + 20 : entry + 28] = struct.pack("<II", size, info.file_size)
    path.write_bytes(data)


def layer(module, name, config=None):
    return {"module": module, "class_name": name, "config": config or {}, "registered_name": name}
