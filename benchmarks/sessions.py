"""Contenders that each have a Spark session and a process of their own, and take turns.

In: a script that gives `serve` its actions; the parent says on stdin which one to run. Out: what
it answers, as JSON lines. Contenders that cannot start are named, with the reason.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MASTER = "local-cluster[2,1,4096]"
Action = Callable[..., dict[str, Any]]


class Session:
    """One contender in its own process: `SCRIPT serve NAME CASE FOLDER`."""

    def __init__(self, python: str, script: str, name: str, case: str, folder: str) -> None:
        self.name, self.log = name, Path(folder) / f"{name}-{case}.log"
        paths = os.pathsep.join([str(HERE.parent), str(HERE)])
        environment = dict(os.environ, PYTHONPATH=paths, PYSPARK_PYTHON=python,
                           PYSPARK_DRIVER_PYTHON=python, OMP_NUM_THREADS="1",
                           TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")  # fmt: skip
        environment.pop("SPARK_HOME", None)
        self.process = subprocess.Popen(
            [python, script, "serve", name, case, folder], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.log.open("w"), text=True, env=environment,
        )  # fmt: skip
        self.error = self._read(600).get("error")

    def _read(self, timeout: float) -> dict[str, Any]:
        pipe = self.process.stdout
        assert pipe is not None
        while select.select([pipe], [], [], timeout)[0]:
            line = pipe.readline()
            if line.startswith("{"):
                return json.loads(line)
            if not line:
                return {"error": f"it died: {self.log.read_text()[-500:]}"}
        return {"error": f"no answer within {timeout:.0f} s"}

    def ask(self, action: str, *given: Any) -> dict[str, Any]:
        """Runs an action; its answer, with the seconds it took."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([action, *given]) + "\n")
        self.process.stdin.flush()
        answer = self._read(1800)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Lets it stop its session, and waits until it has."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def started(script: str, case: str, folder: str, pythons: dict[str, str]) -> list[Session]:
    """The contenders, by name and interpreter, that can start."""
    found = []
    for name, python in pythons.items():
        session = Session(python, script, name, case, folder)
        if session.error:
            print(f"{case}: {name} is not measured: {session.error}", flush=True)
            session.close()
        else:
            found.append(session)
    return found


def serve(start: Callable[[], dict[str, Action]]) -> None:
    """A contender's side: answers until stdin ends. `start` gives the actions by name."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Spark prints is no answer

    def answer(**content: Any) -> None:
        out.write(json.dumps(content) + "\n")
        out.flush()

    try:
        actions = start()
    except Exception as error:
        answer(error=repr(error))
        return
    answer(ready=True)
    for line in sys.stdin:
        action, *given = json.loads(line)
        begin = time.perf_counter()
        try:
            found = actions[action](*given)
        except Exception as error:
            answer(error=repr(error))
        else:
            answer(seconds=time.perf_counter() - begin, **found)


def settings() -> dict[str, str]:
    """Of every contender's session."""
    return {"spark.executorEnv.PYTHONPATH": os.environ["PYTHONPATH"], "spark.ui.enabled": "false",
            "spark.executorEnv.OMP_NUM_THREADS": "1", "spark.executor.memory": "3g"}  # fmt: skip


def spark_session(name: str) -> Any:
    """Two executors of one core, as any application makes them."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(MASTER).appName(name)
    for key, value in settings().items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark
