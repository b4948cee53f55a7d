"""Tile registers: the models give the bits of the instructions, and who has them is told apart."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernel_check import SETS, instruction_set, run_kernel

from zoo_keras import config, native
from zoo_keras.errors import ClusterError
from zoo_keras.primitives.op import registry as R
from zoo_keras.spark.engine import check_ranks

HERE = Path(__file__).parent
CSRC = HERE.parent / "csrc"


def test_models_give_the_bits_of_the_instructions(tmp_path: Path) -> None:
    if native.amx_state() != "present":
        pytest.skip(f"AMX is {native.amx_state()}")
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if compiler is None:
        pytest.skip("no C compiler")
    program = tmp_path / "trials"
    folders = {path.parent for path in CSRC.rglob("*.h")}
    flags = ["-O2", "-std=gnu11", *[f"-I{folder}" for folder in folders], "-o", str(program), "-lm"]
    subprocess.run([compiler, str(HERE / "tile_trials.c"), *flags], check=True)
    done = subprocess.run([program, "20000"], timeout=300, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_amx_is_the_widest_set_where_it_is() -> None:
    sets = native.instruction_sets()
    assert ("amx" in sets) == (native.amx_state() in ("present", "emulated"))
    assert "amx" not in sets[1:]


@pytest.mark.parametrize(
    ("isa", "state", "said"),
    [
        ("amx", "present", "AMX               present: products of bfloat16"),
        ("amx", "emulated", "AMX               emulated: products of bfloat16"),
        ("avx512", "refused", "AMX               refused by the system"),
        ("avx512", "present", "AMX               not used"),
        ("avx2", "absent", "AMX               absent"),
    ],
)
def test_show_config_says_whether_amx_is_used(
    isa: str, state: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(native, "instruction_set", lambda: isa)
    monkeypatch.setattr(native, "amx_state", lambda: state)
    config.show_config()
    assert said in capsys.readouterr().out


def test_ranks_with_and_without_amx_have_the_same_bits_in_float32() -> None:
    check_ranks(["amx", "avx512"])
    with pytest.raises(ClusterError, match="ZOO_KERAS_ISA=avx2"):
        check_ranks(["amx", "avx2"])


# ---- products ------------------------------------------------------------------------------------

SHAPES = ((1, 32, 16), (16, 40, 33), (17, 64, 64), (33, 1, 1), (100, 129, 70), (64, 96, 96))


def operands(m: int, k: int, n: int, turned: bool = False) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng([m, k, n])
    x, w, r = (rng.normal(size=s).astype("f") for s in ((m, k), (k, n), (m, n)))
    x = np.ascontiguousarray(x.T) if turned else x
    return x, R["pack_bf16"](w, transpose=False), rng.normal(size=n).astype("f"), r


def product(x: Any, w: Any, b: Any, *more: Any, **attrs: Any) -> np.ndarray:
    op = R["dense_bf16_add" if more else "dense_bf16"]
    attrs = {"units": len(b), "activation": "linear", "transpose_a": False, **attrs}
    return run_kernel(op, [x, w, b, *more], attrs)[0]


def bits(x: Any) -> Any:
    return R["to_bfloat16"].reference(x)


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_has_the_same_bits_in_every_instruction_set(
    shape: tuple[int, int, int], activation: str
) -> None:
    for turned in (False, True):
        x, w, b, r = operands(*shape, turned)
        found = set()
        for isa in SETS:
            with instruction_set(isa):
                y = product(x, w, b, r, transpose_a=turned, activation=activation)
                found.add(y.tobytes())
        assert len(found) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_has_the_same_bits_alone_and_in_a_batch(shape: tuple[int, int, int]) -> None:
    x, w, b, r = operands(*shape)
    whole = product(x, w, b, r, activation="gelu")
    for i in {0, shape[0] // 2, shape[0] - 1}:
        row = slice(i, i + 1)
        alone = product(x[row], w, b, r[row], activation="gelu")
        assert alone.tobytes() == whole[row].tobytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_bits_read_and_written_change_no_result(shape: tuple[int, int, int]) -> None:
    for turned in (False, True):
        x, w, b, r = operands(*shape, turned)
        wide = product(x, w, b, R["round_bfloat16"].reference(r), transpose_a=turned)
        narrow = product(bits(x), w, b, bits(r), transpose_a=turned, narrow=True)
        np.testing.assert_array_equal(narrow, bits(wide))


def test_packing_reads_bits_and_turns() -> None:
    w = np.random.default_rng(0).normal(size=(70, 45)).astype("f")
    packed = R["pack_bf16"](w, transpose=False)
    for given, turned in ((w, False), (w.T, True), (bits(w), False), (bits(w).T, True)):
        got = run_kernel(R["pack_bf16"], [np.ascontiguousarray(given)], {"transpose": turned})[0]
        np.testing.assert_array_equal(got, packed)
