"""How near does the planned memory of a step come to the least that any plan needs?

    python benchmarks/memory.py                  # every workload of peers.py
    python benchmarks/memory.py train_resnet50

For each: buffers, planned MB, the most MB alive at one step, their ratio, and the peak of resident
memory, that of weights included. peers.py compares that peak with other libraries.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import contenders
from workloads import WORKLOADS

HEAD = f"{'workload':26}{'buffers':>8}{'planned':>9}{'alive':>9}{'ratio':>7}{'peak':>8}"


def measured(workload: str) -> dict[str, Any]:
    """The largest plan of one call, in this process."""
    from zoo_keras.engine import program
    from zoo_keras.passes.memory import Buffer, most_alive, plan

    plans: list[tuple[int, int, int]] = []

    def noted(buffers: list[Buffer]) -> int:
        plans.append((plan(buffers), most_alive(buffers), len(buffers)))
        return plans[-1][0]

    program.plan = noted  # type: ignore[assignment]
    contenders.zoo_keras(WORKLOADS[workload], threads=2)()
    planned, alive, buffers = max(plans)
    return {"workload": workload, "buffers": buffers, "planned_mb": planned / 1e6,
            "alive_mb": alive / 1e6, "peak_mb": contenders.peak_mb()}  # fmt: skip


def line(found: dict[str, Any]) -> str:
    ratio = found["planned_mb"] / max(found["alive_mb"], 1e-9)
    return (f"{found['workload']:26}{found['buffers']:8}{found['planned_mb']:9.1f}"
            f"{found['alive_mb']:9.1f}{ratio:7.3f}{found['peak_mb']:8.0f}")  # fmt: skip


def main() -> None:
    chosen = sys.argv[1:] or list(WORKLOADS)
    if chosen[0] == "--here":
        print(json.dumps(measured(chosen[1])))
        return
    print(HEAD)
    for workload in chosen:
        command = [sys.executable, __file__, "--here", workload]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{workload:26} {done.stderr.strip().splitlines()[-1]}")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        print(line(found))
        print(json.dumps(found), file=sys.stderr)


if __name__ == "__main__":
    main()
