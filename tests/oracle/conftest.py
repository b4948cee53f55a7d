"""These tests need a Python with real Keras; the default suite leaves them out.

Set KERAS_PYTHON to that Python to collect them: KERAS_PYTHON=.venv-oracle/bin/python pytest
tests/oracle
"""

import os

collect_ignore_glob = [] if "KERAS_PYTHON" in os.environ else ["test_*.py"]
