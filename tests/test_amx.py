"""Tile registers: the models give the bits of the instructions, and who has them is told apart."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from zoo_keras import config, native
from zoo_keras.errors import ClusterError
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
