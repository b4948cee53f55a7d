"""Optimizer cases: class and arguments; 5 steps on a fixed kernel (3, 4) and bias (4,).

`scale` multiplies the gradients (large ones make clipping bite). The gradients of one case have
whole rows of zeros in some steps, as the gradients of embeddings do.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    optimizer: str
    label: str
    kwargs: dict[str, Any]
    scale: float = 1.0
    zero_rows: bool = False

    @property
    def name(self) -> str:
        return f"{self.optimizer}-{self.label}"


VARIANTS: dict[str, dict[str, Any]] = {
    "weight_decay": {"weight_decay": 0.02},
    "clipnorm": {"clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.3},
    "global_clipnorm": {"global_clipnorm": 0.7},
    "ema": {"use_ema": True, "ema_momentum": 0.8},
    "ema_overwrite": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 2},
    "decay_and_clip": {"weight_decay": 0.01, "clipnorm": 1.0},
}

OWN: dict[str, dict[str, dict[str, Any]]] = {
    "SGD": {
        "plain": {},
        "rate": {"learning_rate": 0.5},
        "momentum": {"momentum": 0.9},
        "nesterov": {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True},
    },
    "Adam": {
        "plain": {},
        "rate": {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.9},
        "amsgrad": {"learning_rate": 0.02, "amsgrad": True},
        "epsilon": {"epsilon": 0.1},
    },
    "RMSprop": {
        "plain": {},
        "rho": {"learning_rate": 0.01, "rho": 0.5},
        "momentum": {"momentum": 0.7},
        "centered": {"centered": True, "epsilon": 1e-3},
        "centered_momentum": {"learning_rate": 0.01, "centered": True, "momentum": 0.5},
    },
}

# Optimizers without a row in VARIANTS each: some of their arguments with the common ones.
OTHERS: dict[str, dict[str, dict[str, Any]]] = {
    "AdamW": {"plain": {}, "decay": {"weight_decay": 0.1, "amsgrad": True, "clipnorm": 0.5}},
    "Adagrad": {"plain": {}, "options": {"learning_rate": 0.1, "initial_accumulator_value": 0.5,
                                         "weight_decay": 0.05}},
    "Adadelta": {"plain": {}, "options": {"learning_rate": 1.0, "rho": 0.8, "clipvalue": 0.5}},
    "Adamax": {"plain": {}, "options": {"learning_rate": 0.05, "beta_2": 0.9, "use_ema": True}},
    "Lion": {"plain": {}, "options": {"learning_rate": 0.01, "beta_1": 0.8,
                                      "weight_decay": 0.1}},
    "Ftrl": {
        "plain": {"learning_rate": 0.1},
        "options": {"learning_rate": 0.1, "l1_regularization_strength": 0.01,
                    "l2_regularization_strength": 0.02, "beta": 0.1},
        "shrinkage": {"learning_rate": 0.1, "l2_shrinkage_regularization_strength": 0.05,
                      "learning_rate_power": -0.7},
    },
}
# A learning rate given as a dict is a serialized schedule.
SCHEDULED = {"class_name": "ExponentialDecay",
             "config": {"initial_learning_rate": 0.2, "decay_steps": 2, "decay_rate": 0.5}}

CASES: list[Case] = []
for _optimizer, _rows in OTHERS.items():
    for _label, _kwargs in _rows.items():
        CASES.append(Case(_optimizer, _label, _kwargs))
for _optimizer, _rows in OWN.items():
    for _label, _kwargs in _rows.items():
        CASES.append(Case(_optimizer, _label, _kwargs))
    _fast = {"learning_rate": 0.05}
    for _label, _kwargs in VARIANTS.items():
        CASES.append(Case(_optimizer, _label, _fast | _kwargs, scale=2.0))
    CASES.append(Case(_optimizer, "zero_rows", _fast, zero_rows=True))
CASES.append(Case("SGD", "momentum_zero_rows", {"momentum": 0.9}, zero_rows=True))
CASES.append(Case("SGD", "momentum_clip_ema", {"momentum": 0.9, "global_clipnorm": 1.0,
                                               "use_ema": True}, scale=3.0))
CASES.append(Case("Adam", "amsgrad_decay", {"amsgrad": True, "weight_decay": 0.1}))
CASES.append(Case("SGD", "schedule", {"learning_rate": SCHEDULED, "momentum": 0.5}))
CASES.append(Case("Adam", "schedule", {"learning_rate": SCHEDULED}))
