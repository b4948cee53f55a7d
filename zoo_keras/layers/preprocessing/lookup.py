"""StringLookup and IntegerLookup: tokens to numbers of a vocabulary, and back.

In: columns of text or whole numbers. Out: numbers, sets or counts. The vocabulary is given, or
learnt by `adapt`; it is saved in the configuration, or as the asset `vocabulary.txt`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo_keras import config, ops
from zoo_keras.errors import ConfigError, DataError, UnsupportedError
from zoo_keras.feed.states import TokenCounts
from zoo_keras.layers.base.arguments import argument_error, one_of, refuse
from zoo_keras.layers.base.functional import is_tried
from zoo_keras.layers.base.layer import Layer
from zoo_keras.layers.preprocessing.adapting import seen
from zoo_keras.layers.preprocessing.encoding import encode, output_mode
from zoo_keras.primitives.lookup import Table, token_numbers, tokens_of_numbers

MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")
VOCABULARY = "vocabulary.txt"
DROPPED = 2**31 - 1  # the number of the mask token where only counts go on: no one counts it


class Lookup(Layer):
    """What StringLookup and IntegerLookup share.

    Attributes:
        vocabulary_dtype: "string" or "int64".
    """

    on_columns = True
    vocabulary_dtype = "string"

    def __init__(
        self,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Any,
        idf_weights: Any,
        invert: bool,
        mode: str,
        pad_to_max_tokens: bool,
        sparse: bool,
        salt: Any,
        oov_method: str = "farmhash",
        **kwargs: Any,
    ) -> None:
        frozen = kwargs.pop("vocabulary_size", None)
        given = kwargs.pop("has_input_vocabulary", vocabulary is not None)
        super().__init__(**kwargs)
        refuse(self, sparse=sparse)
        self.max_tokens, self.num_oov_indices = max_tokens, num_oov_indices
        self.mask_token, self.oov_token = mask_token, oov_token
        self.invert, self.sparse = bool(invert), False
        self.output_mode = output_mode(self, mode, MODES)
        self.pad_to_max_tokens = bool(pad_to_max_tokens)
        self.salt = salt_of(self, salt)
        self.oov_method = one_of(self, "oov_method", oov_method, ("floormod", "farmhash"))
        self._check(idf_weights)
        self.input_vocabulary = None if isinstance(vocabulary, str) else _listed(vocabulary)
        self.input_idf_weights = _listed(idf_weights)
        self._given, self._frozen = bool(given), frozen
        self._tokens: tuple[Any, ...] = ()
        self._table: Any = None
        self._idf: np.ndarray | None = None
        if vocabulary is not None:
            if self.output_mode == "tf_idf" and idf_weights is None:
                raise argument_error(
                    self, "idf_weights", "given with a vocabulary for tf_idf", None,
                    "Pass one weight for each token.",
                )  # fmt: skip
            self.set_vocabulary(vocabulary, idf_weights)

    def _check(self, idf_weights: Any) -> None:
        if self.max_tokens is not None and self.max_tokens <= 1:
            raise argument_error(
                self, "max_tokens", "above 1", self.max_tokens, "Or leave it out: no limit."
            )
        if self.num_oov_indices < 0:
            raise argument_error(
                self, "num_oov_indices", "at least 0", self.num_oov_indices, "The default is 1."
            )
        if self.pad_to_max_tokens and self.max_tokens is None:
            raise argument_error(
                self, "max_tokens", "given with pad_to_max_tokens", None, "Pass it."
            )
        if self.invert and self.output_mode != "int":
            raise argument_error(
                self, "output_mode", "'int' with invert=True", self.output_mode, "Leave it out."
            )
        if idf_weights is not None and self.output_mode != "tf_idf":
            raise argument_error(
                self, "idf_weights", "left out unless output_mode='tf_idf'", idf_weights, "Drop it."
            )
        if self.salt and self.oov_method != "farmhash":
            raise argument_error(
                self, "oov_method", "'farmhash' with a salt", self.oov_method, "Set it."
            )

    @property
    def input_dtype(self) -> str:  # type: ignore[override]
        """Text or whole numbers."""
        return "int64" if self.invert else self.vocabulary_dtype

    @property
    def idf_weights(self) -> Any:
        """One number for each token, with tf_idf; None before they are known."""
        return self._idf

    # ---- vocabulary ----------------------------------------------------------------------------

    @property
    def _oov_first(self) -> int:
        return 1 if self.mask_token is not None and self.output_mode == "int" else 0

    @property
    def _first(self) -> int:
        return self._oov_first + self.num_oov_indices

    def _special(self) -> list[Any]:
        """What stands before the tokens."""
        return [self.mask_token] * self._oov_first + [self.oov_token] * self.num_oov_indices

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Use these tokens: a list or array, or the path of a file with one in each line.

        Args:
            idf_weights: one for each token, for tf_idf.

        Raises ConfigError for repeated tokens, misplaced special ones, or too many.
        """
        if (idf_weights is not None) != (self.output_mode == "tf_idf"):
            raise argument_error(
                self, "idf_weights", "given for output_mode='tf_idf', and only then", idf_weights,
                f"The layer has output_mode={self.output_mode!r}.",
            )  # fmt: skip
        if isinstance(vocabulary, str):
            vocabulary = self._from_file(vocabulary)
        listed = [self._token(t) for t in _listed(vocabulary)]
        special = self._special()
        found = bool(special) and listed[: self._first] == special
        tokens = listed[self._first :] if found else listed
        self._check_tokens(listed, tokens)
        weights = None
        if idf_weights is not None:
            weights = self._padded(np.asarray(idf_weights, config.floatx()), len(listed), found)
        self._use(tokens, weights)

    def _from_file(self, path: str) -> list[str]:
        from zoo_keras.configs.serialization import in_safe_mode

        if in_safe_mode():
            raise ConfigError(
                f'{type(self).__name__} "{self.name}": a model file may not name other files. '
                f"Received: vocabulary={path!r}. Load with safe_mode=False if you trust it."
            )
        if self.output_mode == "tf_idf":
            raise ConfigError("tf_idf takes its vocabulary as a list. Received: a path. Read it.")
        try:
            with open(path, encoding="utf-8") as file:
                return file.read().splitlines()
        except OSError as error:
            raise ConfigError(
                f"Vocabulary file: {error}. Received: {path!r}. Check the path."
            ) from None

    def _check_tokens(self, listed: list[Any], tokens: list[Any]) -> None:
        what = f'{type(self).__name__} "{self.name}": vocabulary'
        if not listed:
            raise ConfigError(f"{what} must not be empty. Received: []. Pass some tokens.")
        twice = [t for t, n in Counter(tokens).items() if n > 1] if len(set(tokens)) < len(
            tokens) else []  # fmt: skip
        if twice:
            raise ConfigError(f"{what} repeats tokens. Received: {twice[:8]} twice. Drop them.")
        wrong = [self.mask_token] + ([self.oov_token] if self.invert else [])
        for token in wrong:
            if token is not None and token in tokens:
                raise ConfigError(
                    f"{what}: mask and OOV tokens stand at the start, as {self._special()}, or are "
                    f"left out. Received: {token!r} at {listed.index(token)}. Move or drop it."
                )
        size = self._first + len(tokens)
        if self.max_tokens is not None and size > self.max_tokens:
            raise ConfigError(
                f"{what} is larger than max_tokens={self.max_tokens}. Received: {size} with the "
                "special tokens. Cut it, or raise max_tokens."
            )

    def _padded(self, weights: np.ndarray, count: int, special: bool) -> np.ndarray:
        if weights.shape != (count,):
            raise ConfigError(
                f'{type(self).__name__} "{self.name}": idf_weights must be one number a token. '
                f"Received: shape {weights.shape} for {count} tokens. Pass as many."
            )
        front = 0 if special else self._first
        back = self.max_tokens - front - len(weights) if self.pad_to_max_tokens else 0  # type: ignore[operator]
        filler = float(np.average(weights)) if front else 0.0
        return np.pad(weights, (front, back), constant_values=(filler, 0.0))

    def _use(self, tokens: Sequence[Any], idf: np.ndarray | None) -> None:
        """Take tokens and their weights, and let compiled programs know."""
        size = self._first + len(tokens)
        grows = self.output_mode == "int" or self.pad_to_max_tokens
        if self._frozen is not None and not grows and size != self._frozen:
            raise ConfigError(
                f'{type(self).__name__} "{self.name}": the size of the vocabulary is fixed once it '
                f"is known. Received: {size} tokens after {self._frozen}. Make another layer, or "
                "use pad_to_max_tokens."
            )
        self._tokens, self._frozen = tuple(tokens), size
        self._idf = None if idf is None else np.asarray(idf, config.floatx())
        self._table = None
        self._note_change()

    def _token(self, token: Any) -> Any:
        if self.vocabulary_dtype == "string":
            return token.decode() if isinstance(token, bytes) else str(token)
        return int(token)

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The tokens in the order of their numbers."""
        special = self._special() if include_special_tokens else []
        return [*special, *self._tokens]

    def vocabulary_size(self) -> int:
        """How many there are, with mask and OOV tokens."""
        return self._first + len(self._tokens)

    # ---- adapt ---------------------------------------------------------------------------------

    def adapt(self, data: Any, steps: int | None = None, feature_col: Any = None) -> None:
        """Learn the vocabulary: the most frequent tokens of the data.

        Args:
            data: arrays, lists, iterables of batches, an RDD of records or a DataFrame.
            steps: how many batches of an iterable are taken.
            feature_col: the column of a DataFrame that has several.

        Raises ConfigError when the layer was made with a vocabulary.
        """
        self._learn(data, steps, feature_col, Rows(self.vocabulary_dtype))

    def _learn(self, data: Any, steps: int | None, column: Any, prepare: Any) -> None:
        if self._given:
            raise ConfigError(
                f'{type(self).__name__} "{self.name}": cannot adapt a layer that was made with a '
                "vocabulary. Received: adapt(). Make one without."
            )
        counts = seen(_Counts(self.output_mode == "tf_idf"), data, prepare, steps, column)
        self._finish(counts)

    def _finish(self, seen_tokens: TokenCounts) -> None:
        seen_tokens.decode()
        for token in (self.mask_token, self.oov_token):
            seen_tokens.counts.pop(token, None)
        limit = None if self.max_tokens is None else self.max_tokens - self._first
        tokens = seen_tokens.most_common(limit)
        idf = None
        if self.output_mode == "tf_idf":
            with_token = np.array([seen_tokens.rows_with[t] for t in tokens], np.float64)
            learnt = np.log(1 + seen_tokens.rows / (1 + with_token)).astype(config.floatx())
            mean = float(learnt.mean()) if learnt.size else 0.0
            back = self.max_tokens - self._first - len(tokens) if self.pad_to_max_tokens else 0  # type: ignore[operator]
            idf = np.pad(learnt, (self._first, back), constant_values=(mean, 0.0))
        self._use(tokens, idf)

    # ---- calls ---------------------------------------------------------------------------------

    def build(self, input_shape: Any = None) -> None:
        """Nothing is made from shapes."""
        self.built = True

    def get_build_config(self) -> dict[str, Any]:
        """Nothing: shapes do not matter."""
        return {}

    def _depth(self) -> int:
        depth = self.max_tokens if self.pad_to_max_tokens else self._frozen
        if depth is None:
            raise ConfigError(
                f'{type(self).__name__} "{self.name}": output_mode={self.output_mode!r} needs the '
                "size of the vocabulary. Received: no vocabulary. Adapt the layer, or pass one."
            )
        return int(depth)

    def table(self) -> Any:
        """The Table of the vocabulary."""
        if self._table is None:
            self._table = Table(
                self._tokens, self._first, self.mask_token,
                0 if self.output_mode == "int" else DROPPED, self.num_oov_indices, self._oov_first,
                (self.salt[0], self.salt[1]) if self.salt else None,
                self.vocabulary_dtype == "int64" and self.oov_method == "floormod",
            )  # fmt: skip
        return self._table

    def call(self, inputs: Any) -> Any:
        """Numbers of tokens, or tokens of numbers with invert=True."""
        if self.invert:
            tokens = tuple(self.get_vocabulary())
            return tokens_of_numbers(ops.cast(inputs, "int64"), tokens=tokens,
                                     unknown=self.oov_token)  # fmt: skip
        return self.encoded(token_numbers(self._keys(inputs), table=self.table()))

    def _keys(self, inputs: Any) -> Any:
        if self.vocabulary_dtype == "int64":
            return inputs if str(inputs.dtype).startswith(("int", "uint")) else ops.cast(
                inputs, "int64")  # fmt: skip
        if inputs.dtype != "string":
            raise DataError(
                f'{type(self).__name__} "{self.name}": expected text. Received: dtype '
                f'{inputs.dtype}. Give the Input dtype="string", or use IntegerLookup.'
            )
        return inputs

    def encoded(self, numbers: Any) -> Any:
        """Numbers of tokens in the layer's output mode."""
        if self.output_mode == "int":
            return numbers
        return self.weighted(numbers, encode)

    def weighted(self, numbers: Any, encoder: Any) -> Any:
        """encoder(numbers, mode, depth), times the weights of tf_idf."""
        depth = self._depth()
        if self.output_mode != "tf_idf":
            return encoder(numbers, self.output_mode, depth)
        counts = encoder(numbers, "count", depth)
        weights = self._idf
        if weights is None:
            if not numbers.shape or not is_tried(numbers.shape[0]):
                raise ConfigError(
                    f'{type(self).__name__} "{self.name}": tf_idf needs weights. Received: a call '
                    "before any were learnt. Adapt the layer, or load its weights."
                )
            return counts  # a model is being built, its weights come later
        return ops.multiply(counts, weights)

    # ---- files ---------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; a learnt vocabulary is an asset."""
        return {
            **super().get_config(),
            "invert": self.invert,
            "max_tokens": self.max_tokens,
            "num_oov_indices": self.num_oov_indices,
            "oov_token": self.oov_token,
            "mask_token": self.mask_token,
            "output_mode": self.output_mode,
            "sparse": self.sparse,
            "pad_to_max_tokens": self.pad_to_max_tokens,
            "idf_weights": self.input_idf_weights,
            "vocabulary": self.input_vocabulary,
            "vocabulary_size": self._frozen,
            "salt": self.salt,
        }

    def save_own_variables(self, store: Any) -> None:
        """Put the weights of tf_idf into `store`."""
        if self._idf is not None:
            store["idf_weights"] = self._idf

    def load_own_variables(self, store: Any) -> None:
        """Take them back. ConfigError when they do not fit the vocabulary's size."""
        if self.output_mode != "tf_idf" or "idf_weights" not in store:
            return
        weights = np.asarray(store["idf_weights"], config.floatx())
        known = self.max_tokens if self.pad_to_max_tokens else self._frozen
        if weights.ndim != 1 or (known is not None and len(weights) != known):
            raise ConfigError(
                f'{type(self).__name__} "{self.name}": idf_weights must be {known} numbers. '
                f"Received: shape {weights.shape}. Use the file of an equal layer."
            )
        self._idf = weights
        self._note_change()

    def save_assets(self, folder: str) -> None:
        """Write the vocabulary, one token a line, for a `.keras` file."""
        if self.input_vocabulary is not None:
            return
        tokens = [str(t) for t in self.get_vocabulary()]
        text = "\n".join(tokens)
        if _lines(text.splitlines()) != _lines(tokens):
            raise UnsupportedError(
                f'{type(self).__name__} "{self.name}": an archive holds one token in each line. '
                "Received: a vocabulary with line breaks inside of tokens. Pass it as vocabulary=."
            )
        Path(folder, VOCABULARY).write_text(text, encoding="utf-8")

    def load_assets(self, folder: str) -> None:
        """Take it back; weights were taken before."""
        place = Path(folder, VOCABULARY)
        if self.input_vocabulary is None and place.exists():
            lines = _lines(place.read_text(encoding="utf-8").splitlines())
            if lines:
                idf = self._idf if self.output_mode == "tf_idf" else None
                self.set_vocabulary(lines, None if idf is None else idf[: len(lines)])


def _lines(lines: list[str]) -> list[str]:
    """The lines of a vocabulary, without empty ones at its end."""
    count = len(lines)
    while count and lines[count - 1] == "":
        count -= 1
    return lines[:count]


class Rows:
    """From a chunk of raw rows to what TokenCounts takes: an array, or lists of tokens."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def __call__(self, chunk: Any) -> Any:
        if isinstance(chunk, (str, bytes)) or np.isscalar(chunk):
            chunk = [chunk]
        if self.dtype != "string":
            return np.asarray(chunk).astype(np.int64)
        return chunk.astype(object) if isinstance(chunk, np.ndarray) else chunk


class _Counts:
    """Makes TokenCounts; plain data."""

    def __init__(self, documents: bool) -> None:
        self.documents = documents

    def __call__(self) -> TokenCounts:
        return TokenCounts(self.documents)


def salt_of(layer: Layer, salt: Any) -> list[int] | None:
    """A salt as two numbers."""
    if salt is None:
        return None
    if isinstance(salt, int):
        return [salt, salt]
    if isinstance(salt, (list, tuple)) and len(salt) == 2:
        return [int(s) for s in salt]
    raise argument_error(layer, "salt", "a whole number or two of them", salt, "Pass one.")


def _listed(values: Any) -> Any:
    return values if values is None else np.asarray(values).tolist() if not isinstance(
        values, (list, tuple)) else list(values)  # fmt: skip


class StringLookup(Lookup):
    """Words to their numbers in a vocabulary: 0 is the mask (if any), then come unknown words.

    https://keras.io/api/layers/preprocessing_layers/categorical/string_lookup/

    >>> StringLookup(vocabulary=["a", "b"])(["b", "z", "a"])
    array([2, 0, 1])
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str | None = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        salt: Any = None,
        oov_method: str = "floormod",
        **kwargs: Any,
    ) -> None:
        self.encoding = encoding
        super().__init__(
            max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
            output_mode, pad_to_max_tokens, sparse, salt, "farmhash", name=name, **kwargs,
        )  # fmt: skip
        self._named_method = oov_method
        if encoding.lower().replace("-", "") != "utf8":
            raise argument_error(self, "encoding", "'utf-8'", encoding, "Convert the text before.")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(), "encoding": self.encoding, "oov_method": self._named_method,
        }  # fmt: skip


class IntegerLookup(Lookup):
    """Whole numbers to their places in a vocabulary: unknown ones first, then the tokens.

    https://keras.io/api/layers/preprocessing_layers/categorical/integer_lookup/

    >>> IntegerLookup(vocabulary=[12, 36])(np.array([36, 7, 12]))
    array([2, 0, 1])
    """

    vocabulary_dtype = "int64"
    list_dtype = np.int64

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int | None = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
            output_mode, pad_to_max_tokens, sparse, salt, oov_method, name=name, **kwargs,
        )  # fmt: skip
        one_of(self, "vocabulary_dtype", vocabulary_dtype, ("int64",))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        config.update(vocabulary_dtype=self.vocabulary_dtype, oov_method=self.oov_method)
        if self.input_vocabulary is not None:
            config["vocabulary"] = [int(v) for v in self.input_vocabulary]
        return config
