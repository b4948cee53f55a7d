"""What real Keras reaches with the scripts of examples/keras: results.json, three seeds each.

    python tests/examples/make_results.py [NAME ...]      (in an environment with Keras)

Names given are made anew; the others keep their results.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[1] / "examples" / "keras"
SEEDS = (0, 1, 2)


def results(name: str) -> dict[str, list[float]]:
    import keras

    script = importlib.import_module(name)
    found: dict[str, list[float]] = {}
    for seed in SEEDS:
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        for key, value in script.main().items():
            found.setdefault(key, []).append(round(float(value), 5))
    return found


def main() -> None:
    sys.path.insert(0, str(SCRIPTS))
    every = sorted({path.stem for path in SCRIPTS.glob("*.py")} - {"run", "made_data"})
    path = HERE / "results.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for name in sys.argv[1:] or every:
        known[name] = results(name)
        print(name, known[name], flush=True)
        lines = [f" {json.dumps(key)}: {json.dumps(known[key])}" for key in sorted(known)]
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
