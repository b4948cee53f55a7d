"""A short run of fuzz_files.py: damaged files of every kind open or end in an error of ours."""

from __future__ import annotations

import fuzz_files
import pytest


@pytest.mark.parametrize("kind", fuzz_files.KINDS)
def test_damaged_files_open_or_are_refused(kind):
    if kind == "yaml":
        pytest.importorskip("yaml", reason="the package pyyaml reads YAML")
    found, failures = fuzz_files.batch(kind, 0, 40)
    assert not failures, failures
    assert found["refused"] > 0 and found.total() == 40
