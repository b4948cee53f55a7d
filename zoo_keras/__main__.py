"""`python -m zoo_keras`, and what spark-submit runs: `spark-submit .../zoo_keras/__main__.py`."""

import sys

if sys.path[:1] == [__file__.rpartition("/")[0]]:  # run by its path: our random.py is not Python's
    sys.path.pop(0)
    sys.path.append(__file__.rpartition("/")[0].rpartition("/")[0])

from zoo_keras.command import main

sys.exit(main())
