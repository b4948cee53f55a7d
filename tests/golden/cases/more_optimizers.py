"""More optimizer cases, and trainings of a table (12, 3) of which each step touches few rows."""

from __future__ import annotations

from typing import Any

from .optimizers import VARIANTS, Case

OWN: dict[str, dict[str, dict[str, Any]]] = {
    "Nadam": {"plain": {}, "betas": {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.9}},
    "Lamb": {"plain": {}, "betas": {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.9}},
    "Adafactor": {
        "plain": {},
        "options": {"learning_rate": 0.5, "beta_2_decay": -0.5, "clip_threshold": 0.8,
                    "relative_step": False},
    },
    "Muon": {
        "plain": {"learning_rate": 0.05},
        "options": {"learning_rate": 0.05, "nesterov": False, "rms_rate": None, "ns_steps": 3,
                    "momentum": 0.8, "adam_weight_decay": None},
        "excluded": {"learning_rate": 0.05, "exclude_layers": ["kernel"], "adam_lr_ratio": 0.5},
    },
}  # fmt: skip
INNER = {"class_name": "SGD", "config": {"learning_rate": 0.1, "momentum": 0.5, "name": "sgd"}}
ADAM = {"class_name": "Adam", "config": {"learning_rate": 0.05, "name": "adam", "use_ema": True}}
MAPS = {
    "each": {"": INNER, ".*bias": ADAM},
    "same": {"": INNER, ".*kernel|.*bias": ADAM},
    "default": {"": ADAM},
}

CASES: list[Case] = []
for _optimizer, _rows in OWN.items():
    for _label, _kwargs in _rows.items():
        CASES.append(Case(_optimizer, _label, _kwargs))
    for _label in ("weight_decay", "global_clipnorm", "ema_overwrite"):
        CASES.append(Case(_optimizer, _label, {"learning_rate": 0.05} | VARIANTS[_label], 2.0))
for _optimizer in ("Adagrad", "Adadelta", "Adamax", "Lion", "Ftrl", "AdamW"):
    for _label in ("decay_and_clip", "ema"):
        CASES.append(Case(_optimizer, _label, {"learning_rate": 0.05} | VARIANTS[_label], 2.0))
CASES.append(Case("LossScaleOptimizer", "plain", {"inner_optimizer": INNER}))
CASES.append(Case("LossScaleOptimizer", "growing", {"inner_optimizer": INNER, "initial_scale": 8.0,
                                                    "dynamic_growth_steps": 2}))  # fmt: skip
CASES += [Case("MultiOptimizer", label, {"optimizer_map": each}) for label, each in MAPS.items()]
TABLES: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"learning_rate": 0.1}),
    "momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.8, "nesterov": True}),
    "adam": ("Adam", {"learning_rate": 0.02}),
    "amsgrad": ("Adam", {"learning_rate": 0.02, "amsgrad": True, "global_clipnorm": 0.2}),
    "adamw": ("AdamW", {"learning_rate": 0.02, "weight_decay": 0.1}),
    "adamax": ("Adamax", {"learning_rate": 0.02, "weight_decay": 0.05}),
    "nadam": ("Nadam", {"learning_rate": 0.02}),
    "rmsprop": ("RMSprop", {"learning_rate": 0.01, "momentum": 0.7, "centered": True}),
    "adagrad": ("Adagrad", {"learning_rate": 0.1}),
    "adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "lion": ("Lion", {"learning_rate": 0.005}),
    "ftrl": ("Ftrl", {"learning_rate": 0.1, "l1_regularization_strength": 0.001}),
    "schedule": ("Adam", {"learning_rate": {
        "class_name": "ExponentialDecay",
        "config": {"initial_learning_rate": 0.05, "decay_steps": 5, "decay_rate": 0.7}}}),
}  # fmt: skip
TABLE_STEPS = 40
