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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With several processes of pytest, one has all tests of Spark: they share sessions, and look
    for what others of their kind leave behind."""
    from xdist.scheduler import LoadScopeScheduling

    class OneForSpark(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "spark" if nodeid.startswith("tests/spark/") else nodeid

    return OneForSpark(config, log)


def pytest_runtest_setup():
    from zoo_keras.utils import set_random_seed

    set_random_seed(0)
