"""What all test files share: Spark's Python workers run the Python that runs the tests, and every
test begins with the same noise, whichever ran before it."""

import os
import sys
from pathlib import Path

import pytest

os.environ["ZK_DEBUG"] = "1"  # graphs are verified after every pass
os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable

# Tests start many processes, which compile all that they import unless one of them has kept it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).parent.parent / "build/pycache"))


def pytest_itemcollected(item):
    """With several processes of pytest, one has all tests of Spark: they share sessions, and look
    for what others of their kind leave behind."""
    if item.get_closest_marker("spark"):
        item.add_marker(pytest.mark.xdist_group("spark"))


def pytest_runtest_setup():
    from zoo_keras.utils import set_random_seed

    set_random_seed(0)
