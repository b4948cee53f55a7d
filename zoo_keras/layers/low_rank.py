"""LowRank: layers whose large weight may be frozen and corrected by a product of two thin factors.

In: a built layer and a rank. Out: the same layer, whose weight reads as frozen + alpha / rank *
a @ b; training changes a and b in its place. Files keep the sum, so layers without factors read
them. Source: Hu et al. 2021, https://keras.io/api/layers/base_layer (enable_lora).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import initializers, ops
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.errors import ConfigError, FileError, UnsupportedError
from zoo_keras.layers.base.arguments import positive
from zoo_keras.variables import Variable, beside_awaited

LARGEST_STORED_RANK = 256  # in files, of weights whose axes are all shorter


def adapted(name: str) -> Any:
    """The property by which a large weight is read, with its correction if it has one."""
    kept = f"_{name}"

    def read(layer: Any) -> Any:
        weight = layer.__dict__.get(kept)
        if weight is None:
            raise AttributeError(
                f'{type(layer).__name__} "{layer.name}" has no {name!r} before it is built. '
                "Received: a layer without weights. Call it on data, or build(input_shape), first."
            )
        return layer.corrected(weight) if layer.lora_enabled else weight

    def write(layer: Any, weight: Any) -> None:
        setattr(layer, kept, weight)

    return property(read, write, doc=f"The {name}, a Variable; with LoRA the sum that is used.")


class LowRank:
    """What layers share whose weight `adapts` may get a correction of low rank."""

    adapts = "kernel"
    name: str
    built: bool
    add_weight: Any
    _own_variables: list[Variable]
    quantization_mode: str | None
    lora_enabled = False
    lora_rank: int | None = None
    lora_alpha: float | None = None

    def set_low_rank(self, rank: Any, alpha: Any) -> None:
        """Keep the constructor's arguments lora_rank and lora_alpha."""
        self.lora_rank = None if rank is None else positive(self, "lora_rank", rank)
        self.lora_alpha = rank if alpha is None else alpha

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """Freeze the large weight and train factors a (..., rank) and b (rank, last axis).

        Raises ConfigError for a layer that is not built, has factors already or a constraint on
        that weight; UnsupportedError for one in int8. Source: keras.layers.Dense.enable_lora.

        >>> layer.enable_lora(rank=4)
        >>> [w.name for w in layer.trainable_weights]
        ['bias', 'lora_kernel_a', 'lora_kernel_b']
        """
        own = f'{type(self).__name__} "{self.name}"'
        self._check_low_rank()
        if not self.built:
            raise ConfigError(
                f"{own}: Cannot enable lora on a layer that isn't yet built. Received: a layer "
                "without weights. Call it on data, or build(input_shape), first."
            )
        self.add_factors(rank, lora_alpha, a_initializer, b_initializer)

    def build_factors(self) -> None:
        """Make the factors that the constructor asked for; the end of `build`."""
        if self.lora_rank:
            self._check_low_rank()
            self.add_factors(self.lora_rank, self.lora_alpha)

    def fold(self) -> None:
        """Make the correction part of the weight, for good."""
        frozen, factors = getattr(self, f"_{self.adapts}"), self.factors()
        frozen.assign(_Merged(self, frozen).numpy())
        self._own_variables[:] = [v for v in self._own_variables if not _among(v, factors)]
        for letter in "ab":
            delattr(self, f"lora_{self.adapts}_{letter}")
        frozen.trainable = True
        self.lora_enabled, self.lora_rank, self.lora_alpha = False, None, None

    def _check_low_rank(self) -> None:
        own = f'{type(self).__name__} "{self.name}"'
        if getattr(self, f"{self.adapts}_constraint", None) is not None:
            raise ConfigError(
                f"{own}: Lora is incompatible with {self.adapts} constraints. Received: "
                f"{getattr(self, f'{self.adapts}_constraint')}. Make the layer without."
            )
        if self.lora_enabled:
            raise ConfigError(
                f"{own}: lora is already enabled. Received: a second call of enable_lora. This can "
                "only be done once per layer."
            )
        if self.quantization_mode:
            raise UnsupportedError(
                f"{own}: weights in int8 have no gradient. Received: enable_lora on a quantised "
                "layer. Train the factors first, quantise then."
            )

    def add_factors(
        self, rank: Any, alpha: Any = None, a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:  # fmt: skip
        """Make the factors and freeze the weight."""
        rank = positive(self, "rank", rank)
        frozen = getattr(self, f"_{self.adapts}")
        with beside_awaited() as from_file:
            if from_file and rank > max(LARGEST_STORED_RANK, *frozen.shape):
                raise FileError(
                    f"{frozen.path} is asked to have factors larger than itself. Received: shape "
                    f"{frozen.shape} and lora_rank={rank}. The file is damaged or hostile."
                )
            self._add_factor("a", (*frozen.shape[:-1], rank), a_initializer, frozen.path)
            self._add_factor("b", (rank, frozen.shape[-1]), b_initializer, frozen.path)
        frozen.trainable = False
        self.lora_enabled, self.lora_rank = True, rank
        self.lora_alpha = rank if alpha is None else alpha

    def _add_factor(self, letter: str, shape: tuple[int, ...], first: Any, path: str) -> None:
        name = f"lora_{self.adapts}_{letter}"
        made = self.add_weight(
            shape=shape, initializer=initializers.get(first), dtype="float32", name=name,
            regularizer=getattr(self, f"{self.adapts}_regularizer"),
        )  # fmt: skip
        made.path = f"{path.rpartition('/')[0]}/{name}"
        setattr(self, name, made)

    def factors(self) -> tuple[Variable, Variable]:
        """a and b."""
        return getattr(self, f"lora_{self.adapts}_a"), getattr(self, f"lora_{self.adapts}_b")

    @property
    def strength(self) -> float:
        """What the product of the factors is multiplied by."""
        return float(self.lora_alpha or 0) / float(self.lora_rank or 1)

    def corrected(self, frozen: Any) -> Any:
        """The frozen weight plus its correction."""
        a, b = self.factors()
        wide = ops.reshape(ops.matmul(ops.reshape(a, (-1, a.shape[-1])), b), frozen.shape)
        return ops.add(frozen, ops.multiply(wide, np.float32(self.strength)))

    def stored_in_order(self) -> list[Any]:
        """What files keep: the weight with its correction in place of weight and factors."""
        found: list[Any] = super().stored_in_order()  # type: ignore[misc]
        if not self.lora_enabled:
            return found
        frozen, factors = getattr(self, f"_{self.adapts}"), self.factors()
        kept = [v for v in found if not _among(v, factors)]
        return [_Merged(self, v) if v is frozen else v for v in kept]

    def low_rank_config(self) -> dict[str, Any]:
        """The arguments for the configuration of a layer that has factors."""
        if not self.lora_rank:
            return {}
        return {"lora_rank": self.lora_rank, "lora_alpha": self.lora_alpha}


def _among(variable: Any, others: Any) -> bool:
    return any(variable is other for other in others)


class _Merged:
    """In place of a frozen Variable in files: it is written with its correction, and what is read
    leaves none (b becomes zeros, so training can go on from there)."""

    def __init__(self, layer: Any, frozen: Variable) -> None:
        self.layer, self.frozen = layer, frozen
        self.shape, self.path, self.guard = frozen.shape, frozen.path, frozen.guard

    def numpy(self) -> np.ndarray:
        """The sum."""
        a, b = (factor.numpy() for factor in self.layer.factors())
        wide = (a.reshape(-1, a.shape[-1]) @ b).reshape(self.shape)
        made: np.ndarray = self.frozen.numpy() + np.float32(self.layer.strength) * wide
        return made

    def assign(self, value: Any) -> None:
        """Keep a sum."""
        self.frozen.assign(value)
        factor = self.layer.factors()[1]
        factor.assign(in_dtype(np.zeros(factor.shape), factor.dtype))
