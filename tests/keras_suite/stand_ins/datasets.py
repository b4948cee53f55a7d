"""Names of `keras.src.datasets` that zoo_keras keeps elsewhere."""

from zoo_keras.datasets.texts import _arrays as load_npz

__all__ = ["load_npz"]
