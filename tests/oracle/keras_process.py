"""Runs jobs of open_in_keras.py in the Python that KERAS_PYTHON names.

In: jobs and arrays. Out: series of arrays by file name.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
from golden.store import series

SCRIPT = Path(__file__).with_name("open_in_keras.py")


def joined(items):
    return items[0] if len(items) == 1 else list(items)


def as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def run_keras(folder, jobs, arrays):
    """What real Keras finds: `found_series(it, file name, prefix)`."""
    (folder / "jobs.json").write_text(json.dumps(jobs))
    np.savez(folder / "jobs.npz", **arrays)
    command = [os.environ["KERAS_PYTHON"], str(SCRIPT), str(folder / "jobs.json")]
    done = subprocess.run(
        [*command, str(folder / "found.npz")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    with np.load(folder / "found.npz") as found:
        return dict(found)


def found_series(found, file, prefix):
    mine = {k.partition("/")[2]: v for k, v in found.items() if k.startswith(f"{file}/")}
    assert "failed" not in mine, mine["failed"]
    return series(mine, prefix)
