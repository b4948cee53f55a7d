"""The command line `zoo-keras`: look at a model file, convert it, score and train with it on Spark.

In: arguments. Out: files, tables, lines on the terminal, and an exit status: 0, 1 when something is
to be changed (doctor), 2 for an error, told in one line. Spark starts only where it is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zoo_keras as keras
from zoo_keras.errors import ConfigError, ZooKerasError
from zoo_keras.saving import files

FORMATS = ("parquet", "orc", "json", "csv", "avro")
CONFIG = ("model", "compile", "data", "validation", "features", "label", "weight", "fit", "output",
          "history", "report")  # fmt: skip
_WIDTH = len("spark.sql.execution.arrow.pyspark.enabled")  # doctor's column of names


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except ZooKerasError as error:
        told = str(error)
    except _errors_of_others() as error:
        told = _first_line(error)
    print(f"zoo-keras {options.command}: {told}", file=sys.stderr)
    return 2


def _errors_of_others() -> tuple[type[Exception], ...]:
    """What else is told in one line: Spark's errors can only be there when it was imported."""
    found: list[type[Exception]] = [OSError, TypeError]
    for module, name in (("pyspark.errors", "PySparkException"), ("py4j.protocol", "Py4JError")):
        if module in sys.modules:
            found.append(getattr(sys.modules[module], name))
    return tuple(found)


def _first_line(error: Exception) -> str:
    """Its kind and its first line, without the heading that Py4J puts before Java's."""
    text = re.sub(r"^An error occurred while calling [^\n]*\n: ", "", str(error))
    return f"{type(error).__name__}: {text.strip().partition(chr(10))[0]}"


def _parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="zoo-keras", description=__doc__.partition("\n")[0])
    commands = whole.add_subparsers(dest="command", required=True)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        return made

    made = command("summary", _summary, "Print the layers of a model file.")
    made.add_argument("file")
    made = command("convert", _convert, "Write a model file in the format that OUT's name says.")
    made.add_argument("input", metavar="IN")
    made.add_argument("output", metavar="OUT", help="*.keras, *.h5 or *.weights.h5")
    made.add_argument("--overwrite", action="store_true")
    _add_predict(command("predict", _predict, "Score a table; its columns are kept."))
    made = command("fit", _fit, "Train as a JSON file says.")
    made.add_argument("--config", required=True, help=f"JSON with {', '.join(CONFIG)}")
    command("doctor", _doctor, "Look at a Spark session and say what to change.")
    return whole


def _add_predict(made: argparse.ArgumentParser) -> None:
    made.add_argument("--model", required=True)
    made.add_argument("--input", required=True, help="a path that Spark reads")
    made.add_argument("--output", required=True, help="a path that Spark writes")
    made.add_argument("--columns", required=True, nargs="+", help="the model's inputs")
    made.add_argument("--output-col", nargs="+", default=["prediction"])
    made.add_argument("--error-col", help="a column for what is wrong with a row")
    made.add_argument("--batch-size", type=int)
    made.add_argument("--format", help=f"of the input: {', '.join(FORMATS)}; default: by its name")
    made.add_argument("--output-format", help="default: that of the input")
    made.add_argument("--option", action="append", default=[], metavar="KEY=VALUE",
                      help="for Spark's reader, for example header=true")  # fmt: skip
    made.add_argument("--mode", default="errorifexists",
                      choices=["errorifexists", "overwrite", "append", "ignore"])  # fmt: skip


# ---- files -----------------------------------------------------------------------------------


def _summary(options: argparse.Namespace) -> None:
    keras.saving.load_model(options.file).summary()


def _convert(options: argparse.Namespace) -> None:
    if Path(options.output).exists() and not options.overwrite:
        raise ConfigError(
            f"convert writes a new file. Received: {options.output}, which is there already. "
            "Choose another name, or pass --overwrite."
        )
    model = keras.saving.load_model(options.input)
    if options.output.endswith(".weights.h5"):
        model.save_weights(options.output)
    else:
        model.save(options.output)
    print(f"{options.output}: {model.count_params():,} parameters")


# ---- Spark -----------------------------------------------------------------------------------


def session(name: str) -> Any:
    """A session with the cluster's own settings. Outside of spark-submit executors on this machine
    run this very Python."""
    from pyspark.sql import SparkSession

    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return SparkSession.builder.appName(f"zoo-keras {name}").getOrCreate()


def _format(path: str, given: str | None) -> str:
    """The format that was asked for, or the one that the path's name shows."""
    found = given or next((f for f in FORMATS if path.rstrip("/").endswith(f".{f}")), "parquet")
    if found not in FORMATS:
        raise ConfigError(
            f"The format of a table is one of {', '.join(FORMATS)}. Received: {found!r} for "
            f"{path}. Choose one of them."
        )
    return found


def _table(spark: Any, path: str, kind: str | None, settings: dict[str, Any]) -> Any:
    from pyspark.errors import AnalysisException

    form = _format(path, kind)
    if form == "csv":
        settings = {"header": "true", "inferSchema": "true", **settings}
    try:
        return spark.read.format(form).options(**settings).load(path)
    except AnalysisException as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"The table {path} cannot be read. Received: {reason} Check the path and the format."
        ) from error


def _predict(options: argparse.Namespace) -> None:
    pairs = [option.partition("=") for option in options.option]
    if any(not middle for _, middle, _ in pairs):
        raise ConfigError(
            f"--option has the form KEY=VALUE. Received: {options.option}. Write header=true."
        )
    model, spark = keras.saving.load_model(options.model), session("predict")
    frame = _table(spark, options.input, options.format, {k: v for k, _, v in pairs})
    columns, names = options.columns, options.output_col
    scored = model.predict(
        frame, batch_size=options.batch_size, error_col=options.error_col,
        feature_cols=columns[0] if len(columns) == 1 else columns,
        output_col=names[0] if len(names) == 1 else names,
    )  # fmt: skip
    kind = options.output_format or options.format or _format(options.input, None)
    scored.write.mode(options.mode).format(_format(options.output, kind)).save(options.output)
    print(f"{options.output}: columns {', '.join(scored.columns)}")


def _fit(options: argparse.Namespace) -> None:
    config = _read_config(options.config)
    _check_targets(config)
    model, spark = keras.saving.load_model(config["model"]), session("fit")
    if "compile" in config:
        given = dict(config["compile"])
        given["optimizer"] = keras.optimizers.get(given.get("optimizer", "rmsprop"))
        model.compile(**given)
    tables = {name: _given_table(spark, name, config[name])
              for name in ("data", "validation") if name in config}  # fmt: skip
    arguments = {**config.get("fit", {}), "feature_cols": config["features"],
                 "label_cols": config["label"], "weight_col": config.get("weight")}  # fmt: skip
    if "validation" in tables:
        arguments["validation_data"] = tables["validation"]
    history = model.fit(tables["data"], **arguments)
    model.save(config["output"])
    if "history" in config:
        Path(config["history"]).write_text(json.dumps(history.history, default=float, indent=1))
    if "report" in config:
        from zoo_keras.spark import report

        report(history, config["report"])
    print(f"{config['output']}: trained {len(history.epoch)} epochs")


def _read_config(path: str) -> dict[str, Any]:
    try:
        config = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"fit --config needs a JSON file. Received: {path}: {error}. Check its name and commas."
        ) from error
    needed = ("model", "data", "features", "label", "output")
    if not isinstance(config, dict):
        config = {}
    wrong = {"unknown": sorted(set(config) - set(CONFIG)),
             "missing": [key for key in needed if key not in config]}  # fmt: skip
    if any(wrong.values()):
        found = "; ".join(f"{what}: {', '.join(keys)}" for what, keys in wrong.items() if keys)
        raise ConfigError(
            f"fit --config: the keys are {', '.join(CONFIG)}. Received: {found} in {path}. "
            "Mend the file."
        )
    return config


def _check_targets(config: dict[str, Any]) -> None:
    """What training makes can be written, before it trains: the model, history and report."""
    for key in ("output", "history", "report"):
        if key in config and (wrong := _wrong_target(key, config[key])):
            raise ConfigError(
                f"fit --config: {key} cannot be written: {wrong}. Received: {config[key]!r}. Name "
                "another file."
            )


def _wrong_target(key: str, path: Any) -> str:
    files.path_text(path)  # refuses what is no path
    if key == "output" and not path.endswith((".keras", ".h5", ".hdf5")):
        return "a model's file ends in .keras, .h5 or .hdf5"
    if files.is_remote(path):
        return "" if key == "output" else "only a path of this machine will do"
    if os.path.isdir(path):
        return "this is a folder"
    folder = Path(path).resolve().parent
    while key == "output" and not folder.exists():  # save makes folders
        folder = folder.parent
    writable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return "" if writable else f"{folder} is no folder where files can be written"


def _given_table(spark: Any, name: str, given: Any) -> Any:
    """A table by its path, or by {"path", "format", "options"}."""
    parts: dict[str, Any] = {"path": given} if isinstance(given, str) else dict(given)
    unknown = set(parts) - {"path", "format", "options"}
    if unknown or "path" not in parts:
        raise ConfigError(
            f"fit --config: {name} is a path, or an object of path, format and options. Received: "
            f"{given}. Mend the file."
        )
    return _table(spark, parts["path"], parts.get("format"), parts.get("options", {}))


def _doctor(options: argparse.Namespace) -> int:
    from zoo_keras.spark.doctor import examine

    status = 0
    for name, value, advice, must in examine(session("doctor")):
        print(f"{'CHANGE' if must else 'ok':6} {name:{_WIDTH}}  {value}", flush=True)
        if advice:
            print(f"{'':6} {'':{_WIDTH}}  {advice}", flush=True)
        status |= must
    return status
