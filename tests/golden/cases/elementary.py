"""Cases of activations, initializers, regularizers and constraints."""

from __future__ import annotations

from typing import Any

# Every activation on a wide vector; the values must not be within 1e-3 of a kink.
WIDE = [-1e4, -300.0, -88.5, -40.0, -17.0, -9.5, -5.5, -3.3, -2.75, -1.6, -0.9, -0.45, -0.2,
        -0.01, 0.01, 0.2, 0.45, 0.9, 1.6, 2.75, 3.3, 5.5, 9.5, 17.0, 40.0, 80.0, 300.0, 1e4]

ACTIVATIONS: dict[str, list[dict[str, Any]]] = {
    "celu": [{}, {"alpha": 0.4}],
    "elu": [{}, {"alpha": 0.3}],
    "exponential": [{}],
    "gelu": [{}, {"approximate": True}],
    "hard_shrink": [{}, {"threshold": 1.2}],
    "hard_sigmoid": [{}],
    "hard_silu": [{}],
    "hard_swish": [{}],
    "hard_tanh": [{}],
    "leaky_relu": [{}, {"negative_slope": 0.01}],
    "linear": [{}],
    "log_sigmoid": [{}],
    "mish": [{}],
    "relu": [{}, {"negative_slope": 0.1}, {"max_value": 3.0}, {"threshold": 0.5},
             {"negative_slope": 0.2, "max_value": 2.0, "threshold": 1.0}],
    "relu6": [{}],
    "selu": [{}],
    "sigmoid": [{}],
    "silu": [{}],
    "soft_shrink": [{}, {"threshold": 1.2}],
    "softplus": [{}],
    "softsign": [{}],
    "sparse_plus": [{}],
    "sparse_sigmoid": [{}],
    "squareplus": [{}, {"b": 0.5}],
    "swish": [{}],
    "tanh": [{}],
    "tanh_shrink": [{}],
    "threshold": [{"threshold": 1.0, "default_value": 20.0}],
}

# Activations of rows, on a (3, 6) matrix of moderate values and on one of large values.
ROW_ACTIVATIONS: dict[str, list[dict[str, Any]]] = {
    "softmax": [{}, {"axis": 0}],
    "log_softmax": [{}, {"axis": 0}],
    "glu": [{}],
    "sparsemax": [{}],
}

INITIALIZERS: list[tuple[str, dict[str, Any]]] = [
    ("Zeros", {}), ("Ones", {}), ("Constant", {"value": 0.75}),
    ("Identity", {}), ("Identity", {"gain": 2.0}),
    ("RandomNormal", {"mean": 1.0, "stddev": 0.3}),
    ("RandomUniform", {"minval": -1.0, "maxval": 3.0}),
    ("TruncatedNormal", {"mean": 0.5, "stddev": 0.2}),
    ("GlorotNormal", {}), ("GlorotUniform", {}), ("HeNormal", {}), ("HeUniform", {}),
    ("LecunNormal", {}), ("LecunUniform", {}),
    ("VarianceScaling", {"scale": 2.0, "mode": "fan_out", "distribution": "uniform"}),
    ("VarianceScaling", {"scale": 0.5, "mode": "fan_avg",
                         "distribution": "untruncated_normal"}),
    ("Orthogonal", {"gain": 1.5}),
    ("STFT", {}), ("STFT", {"side": "imag", "window": "hamming", "scaling": "spectrum"}),
    ("STFT", {"window": None}), ("STFT", {"side": "imag", "scaling": None, "periodic": True}),
]
# A dense and a convolution kernel: the fans of the second count its 3x3 field.
INITIALIZER_SHAPES = [(120, 60), (3, 3, 40, 20)]
# Shapes of those that draw nothing, whose values are kept.
DETERMINED = {"Zeros": (3, 4), "Ones": (3, 4), "Constant": (3, 4), "Identity": (3, 4),
              "STFT": (8, 1, 9)}

REGULARIZERS: list[tuple[str, dict[str, Any]]] = [
    ("L1", {}), ("L1", {"l1": 0.3}), ("L2", {}), ("L2", {"l2": 0.2}),
    ("L1L2", {}), ("L1L2", {"l1": 0.1, "l2": 0.05}),
    ("OrthogonalRegularizer", {}), ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
]

CONSTRAINTS: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("MaxNorm", {}, (5, 4)), ("MaxNorm", {"max_value": 0.5, "axis": 1}, (5, 4)),
    ("MaxNorm", {"max_value": 1.0, "axis": [0, 1, 2]}, (3, 2, 2, 4)),
    ("NonNeg", {}, (5, 4)), ("UnitNorm", {}, (5, 4)), ("UnitNorm", {"axis": [0, 1]}, (3, 2, 4)),
    ("MinMaxNorm", {}, (5, 4)),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.0, "rate": 0.7, "axis": 1}, (5, 4)),
]

SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.7}),
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 4, "decay_rate": 0.5,
                          "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [3, 10], "values": [1.0, 0.5, 0.1]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.5, "decay_steps": 12}),
    ("PolynomialDecay", {"initial_learning_rate": 0.5, "decay_steps": 5, "power": 2.0,
                         "end_learning_rate": 0.01, "cycle": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.3, "decay_steps": 5, "decay_rate": 0.9}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.3, "decay_steps": 5, "decay_rate": 0.9,
                          "staircase": True}),
    ("CosineDecay", {"initial_learning_rate": 0.2, "decay_steps": 20, "alpha": 0.1}),
    ("CosineDecay", {"initial_learning_rate": 0.0, "decay_steps": 15, "warmup_target": 0.4,
                     "warmup_steps": 5}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.2, "first_decay_steps": 6}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.2, "first_decay_steps": 6, "t_mul": 1.5,
                             "m_mul": 0.8, "alpha": 0.05}),
]
SCHEDULE_STEPS = [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 19, 20, 37]
