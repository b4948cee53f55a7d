"""docs/compatibility.md is what `make compatibility` would write now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_tells_which_names_there_are():
    spec = importlib.util.spec_from_file_location("made", DOCS / "make_compatibility.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    page = (DOCS / "compatibility.md").read_text()
    there = 0
    for version in ("3", "2"):
        section, count, _, _ = made.table(version)
        assert section in page, "run make compatibility"
        there += count
    assert there > 1_500
