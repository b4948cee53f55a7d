"""Run scripts of this folder with zoo_keras in Keras' place, here or on two executors.

python examples/keras/run.py digits_convnet [more names] [--spark]
python examples/keras/run.py --all
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zoo_keras

HERE = Path(__file__).parent
NAMES = sorted({path.stem for path in HERE.glob("*.py")} - {"run", "made_data"})
QUICK_ROWS = 96


def script(name: str) -> Any:
    """The script as a module, its `keras` being zoo_keras."""
    zoo_keras.install_as_keras(tensorflow=True)
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    return importlib.import_module(name)


def rows(x: Any, y: Any) -> list[Any]:
    """One record for each row: x, or (x, y); several inputs are a tuple or a dict."""
    if isinstance(x, dict):
        inputs = [dict(zip(x, row)) for row in zip(*x.values())]
    elif isinstance(x, list):
        inputs = list(zip(*x))
    else:
        inputs = list(x)
    return inputs if y is None else list(zip(inputs, y))


def on_spark(context: Any, quick: bool, slices: int = 2) -> Callable[..., Any]:
    """A `fit` for the scripts' `main`: the arrays become an RDD, which trains on the executors."""

    def fit(model: Any, x: Any, y: Any, **options: Any) -> Any:
        records = rows(x, y)
        if quick:
            records, options = records[:QUICK_ROWS], options | {"epochs": 1}
        return model.fit(context.parallelize(records, slices), **options)

    return fit


def run(name: str, fit: Callable[..., Any]) -> None:
    """Prints a line: the script's name and its results as JSON, or what went wrong."""
    try:
        found = script(name)
        zoo_keras.utils.set_random_seed(0)
        results = {key: round(float(value), 4) for key, value in found.main(fit).items()}
    except Exception as error:
        traceback.print_exc()
        results = {"failed": f"{type(error).__name__}: {error}"}
    print(name, json.dumps(results), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--spark", action="store_true", help="train on two executors")
    parser.add_argument(
        "--quick", action="store_true", help=f"with --spark: one epoch of {QUICK_ROWS} rows"
    )
    options = parser.parse_args()
    fit = zoo_keras.Model.fit
    if options.spark:
        from zoo_keras.spark.cluster import init_session

        session = init_session("local-cluster[2,1,1024]", "keras scripts")
        fit = on_spark(session.sparkContext, options.quick)
    for name in NAMES if options.all else options.names:
        run(name, fit)


if __name__ == "__main__":
    main()
