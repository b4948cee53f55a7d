"""How the tests compare with Keras: tolerances of arrays, and configurations word for word."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

OUTPUT = 1e-4
GRADIENT = 1e-3
STEP = 2e-4
# Keys written here that Keras leaves out (and accepts): its Identity forgets the gain.
KNOWN = ("gain: unknown to Keras",)


def assert_close(got: Any, want: np.ndarray, tolerance: float, what: str = "") -> None:
    """The largest difference is within `tolerance` of the largest expected entry."""
    got = np.asarray(got)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, Keras has {want.shape}"
    if want.size == 0:
        return
    wide, expected = got.astype(np.float64), want.astype(np.float64)
    odd = ~np.isfinite(expected)
    np.testing.assert_array_equal(wide[odd], expected[odd], err_msg=what)
    difference = np.abs(wide - expected)[~odd]
    limit = tolerance * max(float(np.abs(expected[~odd]).max(initial=0.0)), 1e-6)
    worst = float(difference.max(initial=0.0))
    assert worst <= limit, f"{what}: off by {worst:.3g}, allowed {limit:.3g}\n{got}\n{want}"


def assert_all_close(got: list, want: list[np.ndarray], tolerance: float, names: Any) -> None:
    assert len(got) == len(want)
    for value, expected, name in zip(got, want, names, strict=True):
        assert_close(value, expected, tolerance, str(name))


def differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """Where two configurations differ, after JSON has made lists of their tuples."""
    found = _differences(json.loads(json.dumps(ours)), theirs, where)
    return [row for row in found if not row.endswith(KNOWN)]


def _differences(ours: Any, theirs: Any, where: str) -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = [f"{where}.{k}: missing here" for k in theirs.keys() - ours.keys()]
        found += [f"{where}.{k}: unknown to Keras" for k in ours.keys() - theirs.keys()]
        for key in sorted(ours.keys() & theirs.keys()):
            found += _differences(ours[key], theirs[key], f"{where}.{key}")
        return found
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [d for i, (a, b) in pairs for d in _differences(a, b, f"{where}[{i}]")]
    return [] if _equal(ours, theirs) else [f"{where}: {ours!r}, Keras has {theirs!r}"]


def _equal(ours: Any, theirs: Any) -> bool:
    """Equal values of equal type; floats to float32 rounding (Keras keeps some in float32)."""
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return ours is theirs
    if isinstance(ours, (int, float)) and isinstance(theirs, (int, float)):
        return abs(ours - theirs) <= 1e-6 * abs(theirs)
    return bool(ours == theirs)
