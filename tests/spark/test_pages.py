"""The programs of the quick start and of docs/coming_from run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.spark
DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGES = ["index.md", *(f"coming_from/{path.name}" for path in (DOCS / "coming_from").glob("*.md"))]


def programs(page: str) -> list[str]:
    """The blocks of Python that need nothing but zoo_keras, in order."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    others = re.compile(
        r"^\s*(?:from|import) (?:keras|torch|tensorflow|elephas|bigdl|pyspark)\b", re.M
    )
    return [block for block in blocks if not others.search(block)]


@pytest.mark.parametrize("page", PAGES)
def test_the_programs_of_a_page_run(page, local2, sessions, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 20)).astype("float32")
    y = (x[:, 0] > x[:, 1]).astype("int32")
    names = {
        "spark": sessions.get("local[2]"), "x_train": x[:500], "y_train": y[:500],
        "x_test": x[500:], "y_test": y[500:],
    }  # fmt: skip
    ran = programs(page)
    assert ran
    for block in ran:
        exec(compile(block, page, "exec"), names)
    if "history" in names:
        losses = names["history"].history["loss"]
        assert losses[-1] < losses[0]
    if "predictions" in names:
        assert np.shape(names["predictions"])[1:] == (2,)
