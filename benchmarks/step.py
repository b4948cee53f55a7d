"""How long is one training step? zoo_keras against torch and Keras on TensorFlow.

python benchmarks/step.py [--threads 2] [--peer-python PATH]
"""

from __future__ import annotations

from alternate import arguments, compare


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    for workload in ("train_mlp", "train_lenet5"):
        compare(workload, ["zoo_keras", "torch", "keras_tf_jit"], options)


if __name__ == "__main__":
    main()
