"""`zoo_keras.preprocessing.text`: words of texts, and their numbers by frequency or by hash.

In: texts. Out: lists of words or numbers, or matrices. New code uses layers.TextVectorization,
which works inside a model.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, DataError

PUNCTUATION = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


def text_to_word_sequence(
    input_text: str, filters: str = PUNCTUATION, lower: bool = True, split: str = " "
) -> list[str]:
    """The words of a text, without the characters in `filters`.

    >>> text_to_word_sequence("The cat, the DOG!")
    ['the', 'cat', 'the', 'dog']
    """
    text = input_text.lower() if lower else input_text
    text = text.translate({ord(mark): split for mark in filters})
    return [word for word in text.split(split) if word]


def hashing_trick(
    text: Any,
    n: int,
    hash_function: Any = None,
    filters: str = PUNCTUATION,
    lower: bool = True,
    split: str = " ",
    analyzer: Callable[[Any], Iterable[Any]] | None = None,
) -> list[int]:
    """A number from 1 to n - 1 for each word, by its hash; "md5" is the same in every process."""
    if hash_function == "md5":
        hash_function = _md5
    words = analyzer(text) if analyzer else text_to_word_sequence(text, filters, lower, split)
    return [(hash_function or hash)(word) % (n - 1) + 1 for word in words]


def _md5(word: str) -> int:
    return int(hashlib.md5(word.encode(), usedforsecurity=False).hexdigest(), 16)


def one_hot(
    input_text: Any,
    n: int,
    filters: str = PUNCTUATION,
    lower: bool = True,
    split: str = " ",
    analyzer: Callable[[Any], Iterable[Any]] | None = None,
) -> list[int]:
    """hashing_trick with Python's own hash, which differs from process to process."""
    return hashing_trick(input_text, n, hash, filters, lower, split, analyzer)


class Tokenizer:
    """Numbers words by how often they occur: 1 is the most frequent, or the oov_token.

    Attributes word_index, index_word, word_counts, word_docs, index_docs and document_count are
    those of Keras.

    >>> tokenizer = Tokenizer(num_words=3)
    >>> tokenizer.fit_on_texts(["a b b", "b c"])
    >>> tokenizer.texts_to_sequences(["b a c"])
    [[1, 2]]
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: str = PUNCTUATION,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
        analyzer: Callable[[Any], Iterable[Any]] | None = None,
        document_count: int = 0,
        nb_words: int | None = None,
    ) -> None:
        self.num_words = num_words if nb_words is None else nb_words
        self.filters, self.lower, self.split = filters, lower, split
        self.char_level, self.oov_token, self.analyzer = char_level, oov_token, analyzer
        self.document_count = document_count
        self.word_counts: Counter[str] = Counter()
        self.word_docs: Counter[str] = Counter()
        self.index_docs: Counter[int] = Counter()
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}

    def _words(self, text: Any) -> Sequence[Any]:
        if isinstance(text, list):
            return [word.lower() for word in text] if self.lower else text
        if self.char_level:
            return list(text.lower() if self.lower else text)
        if self.analyzer is not None:
            return list(self.analyzer(text))
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    def fit_on_texts(self, texts: Iterable[Any]) -> None:
        """Count the words of texts (or of lists of words), and number them anew."""
        for text in texts:
            words = self._words(text)
            self.document_count += 1
            self.word_counts.update(words)
            self.word_docs.update(set(words))
        first = [] if self.oov_token is None else [self.oov_token]
        known = first + [word for word, _ in self.word_counts.most_common()]
        self.word_index = {word: i for i, word in enumerate(known, 1)}
        self.index_word = {i: word for word, i in self.word_index.items()}
        for word, count in self.word_docs.items():
            self.index_docs[self.word_index[word]] = count

    def fit_on_sequences(self, sequences: Iterable[Iterable[int]]) -> None:
        """Count in how many lists each number occurs."""
        for sequence in sequences:
            self.document_count += 1
            self.index_docs.update(set(sequence))

    def _number(self, word: Any) -> int | None:
        oov = None if self.oov_token is None else self.word_index.get(self.oov_token)
        number = self.word_index.get(word)
        rare = number is not None and self.num_words and number >= self.num_words
        return oov if number is None or rare else number

    def texts_to_sequences(self, texts: Iterable[Any]) -> list[list[int]]:
        """The numbers of the words; unknown and rare ones are left out, or the oov_token's."""
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts: Iterable[Any]) -> Iterator[list[int]]:
        """The same, one text after the other."""
        for text in texts:
            numbers = map(self._number, self._words(text))
            yield [number for number in numbers if number is not None]

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """The words of the numbers, with blanks between them."""
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(self, sequences: Iterable[Iterable[int]]) -> Iterator[str]:
        """The same, one list after the other."""
        for sequence in sequences:
            words = [self._word(number) for number in sequence]
            yield " ".join(word for word in words if word is not None)

    def _word(self, number: int) -> str | None:
        word = self.index_word.get(number)
        rare = word is not None and self.num_words and number >= self.num_words
        return self.oov_token if word is None or rare else word

    def texts_to_matrix(self, texts: Iterable[Any], mode: str = "binary") -> np.ndarray:
        """(texts, words): "binary", "count", "freq" or "tfidf"."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(
        self, sequences: Sequence[Sequence[int]], mode: str = "binary"
    ) -> np.ndarray:
        """(lists, words): "binary", "count", "freq" or "tfidf"."""
        width = self.num_words or (len(self.word_index) + 1 if self.word_index else 0)
        if not width or (mode == "tfidf" and not self.document_count):
            raise DataError(
                "Tokenizer: a matrix needs num_words, or texts seen before; tfidf always does. "
                f"Received: num_words={self.num_words}, {self.document_count} texts. "
                "Call fit_on_texts first."
            )
        made = np.zeros((len(sequences), width))
        for row, sequence in zip(made, sequences, strict=True):
            for number, count in Counter(i for i in sequence if i < width).items():
                row[number] = self._weight(mode, number, count, len(sequence))
        return made

    def _weight(self, mode: str, number: int, count: int, length: int) -> float:
        if mode not in ("binary", "count", "freq", "tfidf"):
            raise ConfigError(
                f"Tokenizer: unknown mode. Received: mode={mode!r}. Use binary, count, freq or "
                "tfidf."
            )
        if mode == "tfidf":
            seen = self.document_count / (1 + self.index_docs.get(number, 0))
            return (1 + math.log(count)) * math.log(1 + seen)
        return {"binary": 1.0, "count": float(count), "freq": count / length}[mode]

    def get_config(self) -> dict[str, Any]:
        """Settings, and what was counted as JSON."""
        names = ("num_words", "filters", "lower", "split", "char_level", "oov_token",
                 "document_count")  # fmt: skip
        return {name: getattr(self, name) for name in names} | {
            name: json.dumps(getattr(self, name)) for name in _COUNTED
        }

    def to_json(self, **kwargs: Any) -> str:
        """What tokenizer_from_json reads."""
        return json.dumps({"class_name": "Tokenizer", "config": self.get_config()}, **kwargs)


_COUNTED = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")


def tokenizer_from_json(json_string: str) -> Tokenizer:
    """The Tokenizer of a to_json."""
    config = dict(json.loads(json_string)["config"])
    counted = {name: json.loads(config.pop(name)) for name in _COUNTED}
    made = Tokenizer(**config)
    made.word_counts, made.word_docs = (
        Counter(counted["word_counts"]),
        Counter(counted["word_docs"]),
    )
    made.index_docs = Counter({int(k): v for k, v in counted["index_docs"].items()})
    made.index_word = {int(k): v for k, v in counted["index_word"].items()}
    made.word_index = counted["word_index"]
    return made


__all__ = ["Tokenizer", "hashing_trick", "one_hot", "text_to_word_sequence", "tokenizer_from_json"]
