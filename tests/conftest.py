"""What all test files share: Spark's Python workers run the Python that runs the tests."""

import os
import sys

os.environ["ZK_DEBUG"] = "1"  # graphs are verified after every pass
os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
