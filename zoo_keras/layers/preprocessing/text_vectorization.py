"""TextVectorization: texts standardised, split, joined to n-grams, and looked up."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import DataError, UnsupportedError
from zoo_keras.layers.base.arguments import argument_error, refuse
from zoo_keras.layers.base.layer import Layer
from zoo_keras.layers.preprocessing.adapting import is_spark
from zoo_keras.layers.preprocessing.encoding import output_mode
from zoo_keras.layers.preprocessing.lookup import MODES, StringLookup
from zoo_keras.primitives.lookup import token_numbers
from zoo_keras.primitives.text import (
    SPLIT,
    STANDARDIZE,
    padded_numbers,
    standardized,
    token_sums,
    tokens,
)


class TextVectorization(Layer):
    """Texts to numbers of their words, padded with 0, or to sets or counts of words.

    https://keras.io/api/layers/preprocessing_layers/text/text_vectorization/

    `standardize` and `split` may be functions of an array of str (here, of numpy); they do not
    travel to a cluster.

    >>> layer = TextVectorization(output_sequence_length=3, vocabulary=["earth", "wind"])
    >>> layer(["Wind, earth!"])
    array([[3, 2, 0]])
    """

    on_columns = True
    input_dtype = "string"

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace",
        ngrams: Any = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        lookup = {k: kwargs.pop(k) for k in ("vocabulary_size", "has_input_vocabulary")
                  if k in kwargs}  # fmt: skip
        super().__init__(name=name, **kwargs)
        refuse(self, sparse=sparse, ragged=ragged)
        self._standardize = _choice(self, "standardize", standardize, STANDARDIZE)
        self._split = _choice(self, "split", split, SPLIT)
        self._output_mode = _mode(self, output_mode)
        self._ngrams_argument = ngrams
        self._ngrams = _widths(self, ngrams)
        self._length = output_sequence_length
        if self._length is not None and (self._output_mode != "int" or self._length < 1):
            raise argument_error(
                self, "output_sequence_length", "a positive integer, with output_mode='int' only",
                self._length, "Leave it out.",
            )  # fmt: skip
        self._lookup_layer = StringLookup(
            max_tokens=max_tokens, vocabulary=vocabulary, idf_weights=idf_weights, mask_token="",
            pad_to_max_tokens=pad_to_max_tokens, output_mode=self._output_mode, encoding=encoding,
            **lookup,
        )  # fmt: skip

    # ---- vocabulary ----------------------------------------------------------------------------

    def adapt(
        self, data: Any, batch_size: int | None = None, steps: int | None = None,
        feature_col: Any = None,
    ) -> None:  # fmt: skip
        """Learn the vocabulary: the most frequent words of the data.

        Args:
            data: texts as arrays, lists, iterables of batches, an RDD or a DataFrame.
            steps: how many batches of an iterable are taken.
            feature_col: the column of a DataFrame that has several.
        """
        del batch_size
        for name, given in (("standardize", self._standardize), ("split", self._split)):
            if callable(given) and is_spark(data):
                raise UnsupportedError(
                    f'TextVectorization "{self.name}": functions of your own do not travel to a '
                    f"cluster. Received: {name}={given!r}. Apply it to the records before."
                )
        self._lookup_layer._learn(data, steps, feature_col, self._words())
        self._note_change()

    def _words(self) -> Words:
        return Words(self._standardize, self._split, self._ngrams)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Use these words; see StringLookup.set_vocabulary."""
        self._lookup_layer.set_vocabulary(vocabulary, idf_weights)
        self._note_change()

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The words in the order of their numbers."""
        return self._lookup_layer.get_vocabulary(include_special_tokens)

    def vocabulary_size(self) -> int:
        """How many there are, with padding and OOV."""
        return self._lookup_layer.vocabulary_size()

    # ---- calls ---------------------------------------------------------------------------------

    def call(self, inputs: Any) -> Any:
        """Numbers (rows, length), or sets or counts of words (rows, vocabulary)."""
        if inputs.dtype != "string":
            raise DataError(
                f'TextVectorization "{self.name}": expected text. Received: dtype {inputs.dtype}. '
                'Give the Input dtype="string".'
            )
        single = not inputs.shape
        x = ops.reshape(inputs, (1,)) if single else inputs
        made = self._numbers(x)
        return ops.squeeze(made, 0) if single else made

    def _numbers(self, x: Any) -> Any:
        if self._standardize is not None:
            x = standardized(x, how=self._standardize)
        lookup = self._lookup_layer
        if self._split is None and self._ngrams is None:
            numbers = token_numbers(x, table=lookup.table())
            return self._cut(numbers) if self._output_mode == "int" else lookup.encoded(numbers)
        words = tokens(x, split=self._split, ngrams=self._ngrams)
        if self._output_mode == "int":
            return padded_numbers(words, table=lookup.table(), length=self._length)
        return lookup.weighted(words, self._sums)

    def _sums(self, words: Any, mode: str, depth: int) -> Any:
        if mode == "one_hot":
            raise argument_error(
                self, "output_mode", "'int', 'multi_hot', 'count' or 'tf_idf' for texts that are "
                "split", mode, "Choose one of these.",
            )  # fmt: skip
        table = self._lookup_layer.table()
        return token_sums(words, table=table, depth=depth, once=mode == "multi_hot")

    def _cut(self, numbers: Any) -> Any:
        """Rows of whole texts, cut or filled up to output_sequence_length."""
        if self._length is None:
            return numbers
        kept = numbers[..., : self._length]
        missing = self._length - kept.shape[-1]
        return ops.pad(kept, [(0, 0)] * (len(kept.shape) - 1) + [(0, missing)]) if missing else kept

    # ---- files ---------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; a learnt vocabulary is an asset."""
        lookup = self._lookup_layer
        return {
            **super().get_config(),
            "max_tokens": lookup.max_tokens,
            "standardize": serialize_keras_object(self._standardize),
            "split": serialize_keras_object(self._split),
            "ngrams": self._ngrams_argument,
            "output_mode": self._output_mode,
            "output_sequence_length": self._length,
            "pad_to_max_tokens": lookup.pad_to_max_tokens,
            "sparse": False,
            "ragged": False,
            "vocabulary": lookup.input_vocabulary,
            "idf_weights": lookup.input_idf_weights,
            "encoding": lookup.encoding,
            "vocabulary_size": lookup._frozen or self.vocabulary_size(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer with this configuration."""
        config = dict(config)
        for name in ("standardize", "split"):
            if not isinstance(config.get(name), (str, type(None))):
                config[name] = deserialize_keras_object(config[name])
        if isinstance(config.get("ngrams"), list):
            config["ngrams"] = tuple(config["ngrams"])
        return super().from_config(config)

    def save_own_variables(self, store: Any) -> None:
        """Put the lookup's weights into `store`."""
        self._lookup_layer.save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        """Take them back."""
        self._lookup_layer.load_own_variables(store)

    def save_assets(self, folder: str) -> None:
        """Write the vocabulary, one token a line, for a `.keras` file."""
        self._lookup_layer.save_assets(folder)

    def load_assets(self, folder: str) -> None:
        """Take it back."""
        self._lookup_layer.load_assets(folder)
        self._note_change()


class Words:
    """From a chunk of raw texts to the tokens of each; plain data, unless functions are the
    user's."""

    def __init__(self, standardize: Any, split: Any, ngrams: Any) -> None:
        self.standardize, self.split, self.ngrams = standardize, split, ngrams

    def __call__(self, chunk: Any) -> np.ndarray:
        x = np.atleast_1d(np.array(chunk, object))
        if self.standardize is not None:
            x = standardized.reference(x, how=self.standardize)
        if self.split is None and self.ngrams is None:
            return x
        made: np.ndarray = tokens.reference(x, split=self.split, ngrams=self.ngrams)
        return made


def _choice(layer: Layer, name: str, value: Any, words: tuple[str, ...]) -> Any:
    if value is None or callable(value) or value in words:
        return value
    allowed = ", ".join(map(repr, words))
    raise argument_error(layer, name, f"None, {allowed} or a function", value, "Choose one.")


def _widths(layer: Layer, ngrams: Any) -> tuple[int, ...] | None:
    if ngrams is None:
        return None
    if isinstance(ngrams, int):
        return tuple(range(1, ngrams + 1))
    if isinstance(ngrams, (list, tuple)) and all(isinstance(n, int) for n in ngrams):
        return tuple(ngrams)
    raise argument_error(layer, "ngrams", "a whole number or a tuple of them", ngrams, "Pass one.")


def _mode(layer: Layer, value: Any) -> str:
    return output_mode(layer, value, MODES)
