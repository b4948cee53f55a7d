"""Names of `keras.src.layers` that zoo_keras keeps elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.layers.preprocessing.lookup import Lookup
from zoo_keras.saving import register_keras_serializable


@register_keras_serializable()
class IndexLookup(Lookup):
    """What StringLookup and IntegerLookup share, under the arguments that Keras' tests use."""

    def __init__(
        self, max_tokens: Any, num_oov_indices: int, mask_token: Any, oov_token: Any,
        vocabulary_dtype: str, vocabulary: Any = None, idf_weights: Any = None,
        invert: bool = False, output_mode: str = "int", sparse: bool = False,
        pad_to_max_tokens: bool = False, salt: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        self.vocabulary_dtype = vocabulary_dtype
        if vocabulary_dtype == "int64":
            self.list_dtype = np.int64
        super().__init__(
            max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
            output_mode, pad_to_max_tokens, sparse, salt, **kwargs,
        )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "vocabulary_dtype": self.vocabulary_dtype}
