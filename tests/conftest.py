"""What all test files share: Spark's Python workers run the Python that runs the tests, and every
test begins with the same noise, whichever ran before it."""

import os
import sys

os.environ["ZK_DEBUG"] = "1"  # graphs are verified after every pass
os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable


def pytest_runtest_setup():
    from zoo_keras.utils import set_random_seed

    set_random_seed(0)
