"""Layers that mix images with others, with noise, or with several changed selves of theirs.

In: batches of images, and labels that are mixed along. Out: the same shapes.
"""

from __future__ import annotations

import random as python_random
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import ops, random
from zoo_keras.layers.base.arguments import int_tuple, positive
from zoo_keras.layers.preprocessing import colours, motions
from zoo_keras.layers.preprocessing.augmentation import (
    ImageAugmentation,
    applies,
    between,
    per_image,
)


def _boxes(shape: Sequence[int], shares: Sequence[Any], seed: Any) -> tuple[Any, Any]:
    """(batch, height, width, 1), True in a box of these shares (height, width) of each image, and
    the share of its area."""
    inside: Any = True
    area: Any = 1.0
    for axis, share in zip((1, 2), shares, strict=True):
        size = shape[axis]
        start = random.uniform(shape[:1], seed=seed) * (size - share * size)
        cells = np.arange(size, dtype=np.float32).reshape(
            [-1 if a == axis else 1 for a in range(4)]
        )
        low, high = per_image(start), per_image(start + share * size)
        inside = ops.logical_and(inside, ops.logical_and(cells >= low, cells < high))
        area = area * share
    return inside, area


class RandomErasing(ImageAugmentation):
    """Overwrites a box of each image with `fill_value`, or with noise.

    Each with a probability from `factor`; the box has a share of the area from `scale`.
    https://keras.io/api/layers/preprocessing_layers/image_augmentation/random_erasing/

    >>> RandomErasing()(np.ones((1, 2, 2, 3))).shape
    (1, 2, 2, 3)
    """

    _options = ("factor", "scale", "fill_value", "value_range", "seed")

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = (0.02, 0.33),
        fill_value: Any = None,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = between(self, "factor", factor, 0, 1)
        self.scale = between(self, "scale", scale, 0, 1)
        self.fill_value, self.value_range = fill_value, value_range

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """Which images change, where, and what comes there."""
        shares = [ops.sqrt(random.uniform(shape[:1], *self.scale, seed=seed)) for _ in range(2)]
        fill = self.fill_value
        if fill is None:
            fill = random.normal(shape, seed=seed) * self.value_range[1]
        return {
            "batch_masks": _boxes(shape, shares, seed)[0],
            "apply_erasing": applies(shape[0], self.factor, seed),
            "fill_value": ops.clip(ops.cast(fill, "float32"), *self.value_range),
        }

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images with a box overwritten."""
        here = ops.logical_and(drawn["batch_masks"], per_image(drawn["apply_erasing"]))
        return ops.where(here, drawn["fill_value"], x)


class _Mixed(ImageAugmentation):
    """Each image meets another of its batch; labels are weighted by their shares."""

    moves = True

    def transform_labels(self, labels: Any, transformation: Any, training: bool = True) -> Any:
        """The labels of both images, by their shares."""
        if not training or transformation is None:
            return labels
        labels = ops.cast(labels, self.compute_dtype)
        weight = ops.reshape(transformation["mix_weight"], (-1, *[1] * (len(labels.shape) - 1)))
        other = ops.take(labels, transformation["permutation_order"], axis=0)
        return weight * labels + (1 - weight) * other


class MixUp(_Mixed):
    """Averages of each image with another, by weights from Beta(alpha, alpha). Zhang et al. 2018.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/mix_up/

    >>> MixUp()(np.ones((2, 2, 2, 3))).shape
    (2, 2, 2, 3)
    """

    _options = ("alpha", "seed")

    def __init__(
        self, alpha: float = 0.2, data_format: Any = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.alpha = alpha

    def transform_bounding_boxes(
        self, bounding_boxes: Any, transformation: Any, training: bool = True
    ) -> Any:
        """The boxes of both images, each with its label."""
        if not training or transformation is None:
            return bounding_boxes
        order = transformation["permutation_order"]
        both = {k: [v, ops.take(v, order, axis=0)] for k, v in bounding_boxes.items()}
        return {k: ops.concatenate(parts, axis=1) for k, parts in both.items()}

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """The other image of each, and the weights."""
        return {
            "permutation_order": random.shuffle(np.arange(shape[0], dtype=np.int32), seed=seed),
            "mix_weight": random.beta(shape[:1], self.alpha, self.alpha, seed=seed),
        }

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Averages of images."""
        weight = per_image(drawn["mix_weight"])
        return weight * x + (1 - weight) * ops.take(x, drawn["permutation_order"], axis=0)


class CutMix(_Mixed):
    """Each image with a box of another. Yun et al. 2019.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/cut_mix/

    >>> CutMix()(np.ones((2, 2, 2, 3))).shape
    (2, 2, 2, 3)
    """

    _options = ("factor", "seed")

    def __init__(
        self, factor: Any = 1.0, seed: int | None = None, data_format: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = between(self, "factor", factor, 0, 1)

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """The other image of each, the boxes, and what is left of the first."""
        alpha = random.uniform((1,), *self.factor, seed=seed) + 1e-6
        side = ops.sqrt(1 - random.beta(shape[:1], alpha, alpha, seed=seed))
        inside, area = _boxes(shape, [side, side], seed)
        return {
            "permutation_order": random.shuffle(np.arange(shape[0], dtype=np.int32), seed=seed),
            "batch_masks": inside,
            "mix_weight": 1 - area,
        }

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images with boxes of others."""
        other = ops.take(x, drawn["permutation_order"], axis=0)
        return ops.where(drawn["batch_masks"], other, x)


_PLAIN = (
    "random_shear", "random_translation", "random_rotation", "random_posterization",
    "solarization", "auto_contrast", "equalization",
)  # fmt: skip
_ALL = (
    *_PLAIN, "random_brightness", "random_color_degeneration", "random_contrast",
    "random_sharpness",
)  # fmt: skip


def _library(factor: Any, value_range: Any, interpolation: str, seed: Any) -> dict[str, Any]:
    """The layers that RandAugment and AugMix choose from."""
    moved = {"interpolation": interpolation, "seed": seed}
    valued = {"value_range": value_range}
    drawn = {**valued, "seed": seed}
    return {
        "random_shear": motions.RandomShear(factor, factor, **moved),
        "random_translation": motions.RandomTranslation(factor, factor, **moved),
        "random_rotation": motions.RandomRotation(factor, **moved),
        "random_posterization": colours.RandomPosterization(max(1, int(8 * factor[1])), **drawn),
        "solarization": colours.Solarization(factor, factor, **drawn),
        "auto_contrast": colours.AutoContrast(**valued),
        "equalization": colours.Equalization(**valued),
        "random_brightness": colours.RandomBrightness(factor, **drawn),
        "random_color_degeneration": colours.RandomColorDegeneration(factor, **drawn),
        "random_contrast": colours.RandomContrast(factor, **drawn),
        "random_sharpness": colours.RandomSharpness(factor, **drawn),
    }


class _Several(ImageAugmentation):
    """Holds the layers of `_library`."""

    moves = True

    def _make(self, factor: Any, value_range: Any, interpolation: str, seed: Any) -> None:
        self.value_range, self.interpolation = value_range, interpolation
        self.factor = between(self, "factor", factor, 0, 1)
        self._changes = _library(self.factor, value_range, interpolation, seed)

    def _with(self, name: str, x: Any, drawn: Any, interpolation: str) -> Any:
        layer, masks = self._changes[name], interpolation != self.interpolation
        return x if masks and not layer.moves else layer.transformed(x, drawn, interpolation)


class RandAugment(_Several):
    """num_ops changes of each image, drawn among 11 layers. Cubuk et al. 2020.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/rand_augment/

    >>> RandAugment()(np.ones((2, 4, 4, 3))).shape
    (2, 4, 4, 3)
    """

    _options = ("value_range", "num_ops", "factor", "interpolation", "seed")

    def __init__(
        self,
        value_range: Any = (0, 255),
        num_ops: int = 2,
        factor: Any = 0.5,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.num_ops = int_tuple(self, "num_ops", num_ops, 1, least=0)[0]
        self._make(factor, value_range, interpolation, seed)

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """The numbers of layers for each image, and what the layers draw."""
        return {
            "layer_idxes": random.randint((shape[0], self.num_ops), 0, len(_ALL), seed=seed),
            "transforms": {name: self._changes[name].draw(shape, seed) for name in _ALL},
        }

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images, each changed by the layers drawn for it."""
        for i in range(self.num_ops):
            chosen, before = per_image(drawn["layer_idxes"][:, i]), x
            for number, name in enumerate(_ALL):
                made = self._with(name, before, drawn["transforms"][name], interpolation)
                x = ops.where(chosen == number, made, x)
        return x


class AugMix(_Several):
    """Averages of an image and chains of changes to it. Hendrycks et al. 2020.

    Which layers are in the chains is chosen when the layer is traced, as Keras does in a graph.
    https://keras.io/api/layers/preprocessing_layers/image_augmentation/aug_mix/

    >>> AugMix()(np.ones((2, 4, 4, 3))).shape
    (2, 4, 4, 3)
    """

    _options = (
        "value_range", "num_chains", "chain_depth", "factor", "alpha", "all_ops", "interpolation",
        "seed",
    )  # fmt: skip

    def __init__(
        self,
        value_range: Any = (0, 255),
        num_chains: int = 3,
        chain_depth: int = 3,
        factor: Any = 0.3,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.num_chains = positive(self, "num_chains", num_chains)
        self.chain_depth = positive(self, "chain_depth", chain_depth)
        self.alpha, self.all_ops = alpha, all_ops
        self._make(factor, value_range, interpolation, seed)

    def draw(self, shape: Sequence[int], seed: Any) -> Any:
        """The chains, what their layers draw, and all weights, for each image."""
        chains = []
        choice = python_random.Random(self.seed).choice if self.seed else python_random.choice
        for _ in range(self.num_chains):
            names = [choice([*(_ALL if self.all_ops else _PLAIN), None])
                     for _ in range(self.chain_depth)]  # fmt: skip
            chains.append([(n, self._changes[n].draw(shape, seed)) for n in names if n])
        alphas = (shape[0], self.num_chains)
        return {
            "chain_transforms": chains,
            "chain_mixing_weights": ops.softmax(random.log_gamma(alphas, self.alpha, seed)),
            "weight_sample": random.beta(shape[:1], self.alpha, self.alpha, seed=seed),
        }

    def transformed(self, x: Any, drawn: Any, interpolation: str) -> Any:
        """Images averaged with changed selves."""
        mixed: Any = 0.0
        for i, chain in enumerate(drawn["chain_transforms"]):
            made = x
            for name, own in chain:
                made = self._with(name, made, own, interpolation)
            mixed = mixed + made * per_image(drawn["chain_mixing_weights"][:, i])
        weight = per_image(drawn["weight_sample"])
        return ops.clip(weight * x + (1 - weight) * mixed, *self.value_range)


class MaxNumBoundingBoxes(ImageAugmentation):
    """Exactly `max_number` bounding boxes for each image: more are cut, fewer are filled up.

    https://keras.io/api/layers/preprocessing_layers/image_augmentation/max_num_bounding_boxes/

    >>> boxes = {"boxes": np.ones((1, 2, 4)), "labels": np.ones((1, 2))}
    >>> MaxNumBoundingBoxes(3)({"images": np.ones((1, 2, 2, 3)), "bounding_boxes": boxes})[
    ...     "bounding_boxes"]["labels"]
    array([[ 1.,  1., -1.]], dtype=float32)
    """

    _options = ("max_number", "fill_value")
    draws = False

    def __init__(self, max_number: int, fill_value: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_number, self.fill_value = int(max_number), int(fill_value)

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        """The images, as they are."""
        return images

    def transform_bounding_boxes(
        self, bounding_boxes: Any, transformation: Any, training: bool = True
    ) -> Any:
        """The boxes (batch, max_number, 4) and labels (batch, max_number); also without a batch."""
        batched = len(bounding_boxes["boxes"].shape) == 3
        made = {key: self._filled(bounding_boxes[key], int(batched)) for key in ("boxes", "labels")}
        return {**bounding_boxes, **made}

    def _filled(self, x: Any, axis: int) -> Any:
        first = x[:, : self.max_number] if axis else x[: self.max_number]
        sides = [(0, 0)] * len(x.shape)
        sides[axis] = (0, max(self.max_number - x.shape[axis], 0))
        return ops.pad(first, sides, constant_values=self.fill_value)
