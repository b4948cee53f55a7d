"""The names of Keras' own conftest.py, which its wheel leaves out."""

from __future__ import annotations

from typing import Any

import pytest


def skip_if_backend(given_backend: str, reason: str) -> Any:
    """A mark for tests that don't run on one backend; none of them is ours."""
    return pytest.mark.skipif(given_backend == "zoo_keras", reason=reason)
