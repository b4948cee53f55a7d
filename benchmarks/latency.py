"""How long does one prediction take? An mlp 784-128-64-10, batch 1, one thread, through each
library's public call: predict_on_batch here, a session run in ONNX Runtime.

    python benchmarks/latency.py [--peer-python PATH]
"""

from __future__ import annotations

from alternate import arguments, compare


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.set_defaults(threads=1)
    names = ["zoo_keras", "torch", "onnxruntime"]
    compare("infer_small_mlp_b1", names, parser.parse_args(), "us", lambda s: 1e6 * s)


if __name__ == "__main__":
    main()
