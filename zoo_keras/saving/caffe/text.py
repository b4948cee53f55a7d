"""Protocol buffers in text, as prototxt files have them.

In: a text. Out: fields by name, each a list of its values: str, float, int, bool or fields. Knows
no kind of message.
"""

from __future__ import annotations

import re
from typing import Any

from zoo_keras.errors import FileError

Fields = dict[str, list[Any]]

_LARGEST, _DEEPEST = 4_000_000, 50  # the largest nets take some 300 kB
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*                                  # nothing
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<mark>[{}<>:;,\[\]])
    |(?P<word>[^\s{}<>:;,\[\]"'\#]+)""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False}


def parse(text: str) -> Fields:
    """The fields of a message. FileError when the text is none."""
    if len(text) > _LARGEST:
        raise _damaged(f"{len(text)} characters")
    return _Parser(text).fields("", 0)


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        place = 0
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                raise _damaged(text[place : place + 20])
            if found.lastgroup:
                self.tokens.append((found.lastgroup, found.group()))
            place = found.end()
        self.place = 0

    def take(self) -> tuple[str, str]:
        """The next token; ("", "") behind the last."""
        found = self.peek()
        self.place += 1
        return found

    def peek(self) -> tuple[str, str]:
        """The next token, which stays."""
        return self.tokens[self.place] if self.place < len(self.tokens) else ("", "")

    def fields(self, end: str, depth: int) -> Fields:
        """Fields up to the mark that ends them."""
        found: Fields = {}
        if depth > _DEEPEST:
            raise _damaged("messages in messages without end")
        while True:
            kind, name = self.take()
            if kind == "mark" and name in ";,":
                continue
            if name == end and kind in ("mark", ""):
                return found
            if kind != "word":
                raise _damaged(name or "the end of the file")
            found.setdefault(name, []).extend(self.values(depth))

    def values(self, depth: int) -> list[Any]:
        """What stands behind a field's name: one value, or a list of them."""
        if self.peek() == ("mark", ":"):
            self.take()
        kind, token = self.take()
        if token in ("{", "<") and kind == "mark":
            return [self.fields("}" if token == "{" else ">", depth + 1)]
        if (kind, token) != ("mark", "["):
            return [_value(kind, token)]
        found = []
        while self.peek() != ("mark", "]"):
            kind, token = self.take()
            if (kind, token) != ("mark", ","):
                found.append(_value(kind, token))
        self.take()
        return found


def _value(kind: str, token: str) -> Any:
    if kind == "text":
        return token[1:-1]
    if kind != "word":
        raise _damaged(token or "the end of the file")
    if token in _WORDS:
        return _WORDS[token]
    for number in (int, float):
        try:
            return number(token)
        except ValueError:
            continue
    return token  # the name of a choice


def _damaged(what: str) -> FileError:
    return FileError(
        f"the text is no prototxt. Received: {what!r} where it makes no sense. The file is "
        "damaged, or of another kind."
    )
