"""What does low precision gain? Ours and the peers' over our own float32, in alternating windows.

    python benchmarks/low_precision.py                      # all workloads, 2 threads
    python benchmarks/low_precision.py infer_transformer_b16 --threads 1
    python benchmarks/low_precision.py --only accuracy --weights mobilenetv2_notop.h5 --photos DIR

bfloat16 is mixed_bfloat16 in training and set_inference_dtype in prediction here, autocast in
torch, INFERENCE_PRECISION_HINT in OpenVINO. int8 is calibrated by the inputs: `quantize` here, QDQ
nodes by onnxruntime.quantization for the peers (speed only). Ends with rates over zoo_keras in
float32, and with the accuracy of trained models of ours (accuracy.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import accuracy
from alternate import arguments, compare
from workloads import WORKLOADS

DEFAULT = ("train_mlp", "train_mlp_b1024", "train_transformer", "infer_mlp_b1024",
           "infer_transformer_b16", "infer_resnet50_b1", "infer_resnet50_b16",
           "infer_mobilenet_v2_b16")  # fmt: skip


def contenders(workload: str) -> list[str]:
    """Float32 and bfloat16 of all that can run the workload, held to "zoo_keras"."""
    names = ["zoo_keras", "zoo_keras_bfloat16", "torch", "torch_bfloat16"]
    if WORKLOADS[workload].train:
        return names
    peers = ["openvino", "openvino_bfloat16", "openvino_int8", "onnxruntime", "onnxruntime_int8"]
    return [*names, "zoo_keras_int8", *peers]


def gains(record: dict[str, Any]) -> str:
    """One line: rates over that of zoo_keras in float32, medians of the rounds."""
    found = [f"{name} {1 / ratio:.2f}" for name, ratio in record["ratios"].items()]
    return f"{record['workload']:24}" + ", ".join(found)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("workloads", nargs="*", default=DEFAULT, metavar="WORKLOAD",
                        help=", ".join(WORKLOADS))  # fmt: skip
    parser.add_argument("--contenders", help="names, with commas between; default: all")
    parser.add_argument("--only", choices=("rates", "accuracy"), help="default: both")
    parser.add_argument("--weights", type=Path, help="MobileNetV2's without top, .h5")
    parser.add_argument("--photos", type=Path, help="a folder of LABEL.*.jpg for these")
    options = parser.parse_args()
    if options.only != "accuracy":
        print_rates(options)
    for line in accuracy.lines(options.weights, options.photos) if options.only != "rates" else ():
        print(line, flush=True)


def print_rates(options: Any) -> None:
    """All workloads, contenders alternating."""
    lines = []
    for workload in options.workloads:
        names = options.contenders.split(",") if options.contenders else contenders(workload)
        lines.append(gains(compare(workload, names, options)))
    print("\nrates over zoo_keras in float32\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
