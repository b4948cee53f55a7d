"""`zoo_keras.datasets`: the small data sets of Keras, fetched by get_file from Keras' addresses."""

from __future__ import annotations

from typing import Any

from zoo_keras.datasets import arrays, texts
from zoo_keras.missing import missing
from zoo_keras.paths import module

_FUNCTIONS: dict[str, dict[str, Any]] = {
    "boston_housing": {"load_data": arrays.boston_housing},
    "california_housing": {"load_data": arrays.california_housing},
    "cifar10": {"load_data": arrays.cifar10},
    "cifar100": {"load_data": arrays.cifar100},
    "fashion_mnist": {"load_data": arrays.fashion_mnist},
    "imdb": {"load_data": texts.imdb, "get_word_index": texts.imdb_words},
    "mnist": {"load_data": arrays.mnist},
    "reuters": {
        "load_data": texts.reuters,
        "get_word_index": texts.reuters_words,
        "get_label_names": texts.reuters_labels,
    },
}

__all__ = sorted(_FUNCTIONS)

globals().update(
    {
        name: module(f"{__name__}.{name}", functions, f"The functions of keras.datasets.{name}.")
        for name, functions in _FUNCTIONS.items()
    }
)


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.datasets", name)
