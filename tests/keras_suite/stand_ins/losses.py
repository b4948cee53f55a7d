"""Names of `keras.src.losses` that zoo_keras keeps elsewhere."""

from zoo_keras.losses.loss import same_rank as squeeze_or_expand_to_same_rank

__all__ = ["squeeze_or_expand_to_same_rank"]
