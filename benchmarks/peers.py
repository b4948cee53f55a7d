"""How does zoo_keras compare with every peer, workload by workload, in training and inference?

    python benchmarks/peers.py                               # all, on 2 threads: over an hour
    python benchmarks/peers.py train_mlp infer_resnet50_b1 --threads 1
    python benchmarks/peers.py train_ncf --contenders zoo_keras,torch_sparse

Contenders alternate in time, each in a process of its own; a peer that is not installed or does
not start is named. Ends with one line a workload.
"""

from __future__ import annotations

import json
from typing import Any

from alternate import arguments, compare
from workloads import IMAGES, WORKLOADS, Workload


def contenders(work: Workload) -> list[str]:
    """All that can run the workload."""
    names = ["zoo_keras", "torch", "keras_tf", "keras_tf_jit"]
    if work.model in IMAGES:
        names.append("torch_channels_last")
    if work.train:
        return [*names, "torch_compile", *["torch_sparse"] * (work.model == "ncf")]
    return [*names, "onnxruntime", "openvino"]


def summary(records: list[dict[str, Any]]) -> str:
    """One line for each workload: the ratio to the best peer, and memory against torch's."""
    lines = []
    for record in records:
        ratios, memory = record["ratios"], record["peak_mb"]
        if not ratios:
            continue
        best = min(ratios, key=ratios.get)
        lines.append(
            f"{record['workload']:26}{ratios[best]:6.2f} x {best:20}"
            f"{memory['zoo_keras']:6} MB, torch {memory.get('torch', 0)} MB"
        )
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), metavar="WORKLOAD",
                        help=", ".join(WORKLOADS))  # fmt: skip
    parser.add_argument("--contenders", help="names, with commas between; default: all")
    options = parser.parse_args()
    records = []
    for workload in options.workloads:
        names = options.contenders.split(",") if options.contenders else None
        records.append(compare(workload, names or contenders(WORKLOADS[workload]), options))
    print("\n" + summary(records))
    print(json.dumps({"threads": options.threads, "workloads": len(records)}))


if __name__ == "__main__":
    main()
