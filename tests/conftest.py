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


# JVMs that live for a minute on few cores: the optimizing compiler, threads that collect garbage
# and a check of Spark's classes would cost more than they gain. Programs that tests start have them
# from here, too.
os.environ["JDK_JAVA_OPTIONS"] = (
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC "
    "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)

# Folders whose tests stay in one process and begin first: Spark's share sessions, and look for what
# others of their kind leave behind; the scripts of examples take long.
TOGETHER = ("tests/examples", "tests/spark")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With several processes of pytest, each takes a folder of TOGETHER or a file at a time, by
    which fixtures of modules are made once, and the scheduler knows 200 things and not 20,000."""
    from xdist.scheduler import LoadScopeScheduling

    class FoldersFirst(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            return next((folder for folder in TOGETHER if file.startswith(f"{folder}/")), file)

        def _assign_work_unit(self, node):
            for folder in TOGETHER:
                if folder in self.workqueue:
                    self.workqueue.move_to_end(folder, last=False)
            super()._assign_work_unit(node)

    return FoldersFirst(config, log)


def pytest_runtest_setup():
    from zoo_keras.utils import set_random_seed

    set_random_seed(0)
