"""Which tests of Keras are left out, and why: excluded.txt.

A line at the margin is a reason; the indented lines after it are the tests, as `file`,
`file::Class::test` or patterns with `*`, below keras/src. Tests below a reason that begins with
"words" are run all the same, and fail when they do so for another reason than an error's words.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

FILE = Path(__file__).with_name("excluded.txt")


class Exclusions:
    """Patterns with their reasons."""

    def __init__(self, patterns: list[tuple[str, str]]) -> None:
        self.patterns = patterns

    @classmethod
    def read(cls) -> Exclusions:
        found, reason = [], ""
        for line in FILE.read_text().splitlines():
            if line.startswith((" ", "\t")):
                found.append((line.strip(), reason))
            elif line.strip():
                reason = line.strip()
        return cls(found)

    def reason(self, test: str) -> str | None:
        """Why a test is left out; None: it runs."""
        for pattern, reason in self.patterns:
            if fnmatchcase(test, pattern) or fnmatchcase(test, f"{pattern}::*"):
                return reason
        return None

    def whole_file(self, file: str) -> str | None:
        """Why all of a file is left out, so that it need not be opened."""
        for pattern, reason in self.patterns:
            if "::" not in pattern and fnmatchcase(file, pattern):
                return reason
        return None
