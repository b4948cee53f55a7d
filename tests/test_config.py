"""Settings of the process: they are remembered, and wrong ones are named."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from zoo_keras import config, constraints, gemm, losses, metrics, native, ops
from zoo_keras.errors import ConfigError

ONE = np.ones((2, 3), np.float32)
SETTINGS = [
    (config.floatx, config.set_floatx, "float32", "float64"),
    (config.epsilon, config.set_epsilon, 1e-7, 1e-5),
    (config.image_data_format, config.set_image_data_format, "channels_last", "channels_first"),
    (config.gemm, config.set_gemm, "auto", "native"),
]


@pytest.mark.parametrize("get,put,default,other", SETTINGS)
def test_a_setting_has_keras_default_and_can_be_changed(get, put, default, other):
    assert get() == default
    put(other)
    try:
        assert get() == other
    finally:
        put(default)


@pytest.mark.parametrize(
    "put",
    [config.set_floatx, config.set_image_data_format, config.set_gemm],
    ids=lambda f: f.__name__,
)
def test_an_unknown_value_is_named_and_changes_nothing(put):
    before = config.floatx(), config.image_data_format(), config.gemm()
    with pytest.raises(ConfigError, match=rf"{put.__name__}: .*'int7'.*Use one of"):
        put("int7")
    assert before == (config.floatx(), config.image_data_format(), config.gemm())


def test_mkl_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr(gemm, "load_mkl", lambda: False)
    monkeypatch.setattr(gemm, "find_mkl", lambda: None)
    with pytest.raises(ConfigError, match=r"set_gemm: MKL .*pip install mkl-service"):
        config.set_gemm("mkl")
    assert config.gemm() == "auto"


NO_LIBRARY = """
import sys
from zoo_keras import config, gemm
gemm.find_mkl = lambda: sys.argv[1]
config.set_gemm("mkl")
"""


def test_a_file_that_is_no_mkl_is_not_loaded(tmp_path):
    path = tmp_path / "libmkl_rt.so"
    path.write_bytes(b"not a library")
    command = [sys.executable, "-c", NO_LIBRARY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert f"cannot be loaded on this machine. Received: library {path}" in done.stderr


def test_show_config_says_who_multiplies(capsys):
    config.show_config()
    shown = capsys.readouterr().out
    assert native.instruction_set() in shown
    assert "auto: own kernels" in shown


@pytest.mark.parametrize(
    "compute",
    [
        lambda: losses.mean_absolute_percentage_error(0 * ONE, ONE),
        lambda: losses.poisson(ONE, 0 * ONE),
        lambda: losses.kl_divergence(ONE, 0 * ONE),
        lambda: losses.dice(ONE, ONE),
        lambda: ops.binary_crossentropy(ONE, 0 * ONE),
        lambda: constraints.UnitNorm()(ONE),
        lambda: metrics.AUC().thresholds[0],
        lambda: metrics.F1Score(threshold=0.5)(ONE, ONE),
    ],
)
def test_epsilon_is_what_computations_use(compute):
    before = np.asarray(compute())
    config.set_epsilon(0.01)
    try:
        assert abs(np.asarray(compute()) - before).max() > 1e-3 * abs(before).max()
    finally:
        config.set_epsilon(1e-7)
