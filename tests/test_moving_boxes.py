"""Bounding boxes go where the pixels inside them go."""

from __future__ import annotations

import numpy as np
import pytest

from zoo_keras import layers
from zoo_keras.errors import ConfigError, UnsupportedError

BOX = (10, 14, 22, 30)  # left, top, right, bottom
KINDS = {
    "flip": lambda **kw: layers.RandomFlip(**kw),
    "rotation": lambda **kw: layers.RandomRotation((0.05, 0.05), fill_mode="constant", **kw),
    "zoom": lambda **kw: layers.RandomZoom((0.3, 0.3), fill_mode="constant", **kw),
    "translation": lambda **kw: layers.RandomTranslation(0.2, 0.2, fill_mode="constant", **kw),
    "shear": lambda **kw: layers.RandomShear(0.2, 0.2, fill_mode="constant", **kw),
    "perspective": lambda **kw: layers.RandomPerspective(scale=0.3, **kw),
    "crop": lambda **kw: layers.RandomCrop(32, 36, **kw),
    "small crop": lambda **kw: layers.RandomCrop(60, 90, **kw),
}


def data():
    mask = np.zeros((4, 40, 48, 1), "float32")
    left, top, right, bottom = BOX
    mask[:, top:bottom, left:right] = 1
    boxes = {"boxes": np.tile(np.float32(BOX), (4, 1, 1)), "labels": np.full((4, 1), 7)}
    return {"images": mask, "segmentation_masks": mask, "bounding_boxes": boxes}


def around(mask):
    rows, columns = np.nonzero(mask.max(1))[0], np.nonzero(mask.max(0))[0]
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", (True, False))
def test_a_box_stays_around_its_pixels(kind, training):
    made = KINDS[kind](bounding_box_format="xyxy", seed=3)(data(), training=training)
    masks = np.asarray(made["segmentation_masks"])[..., 0] > 0.5
    for mask, box in zip(masks, np.asarray(made["bounding_boxes"]["boxes"]), strict=True):
        # of slanted rectangles the corner pixels may fall out of the mask
        np.testing.assert_allclose(box[0], around(mask), atol=4 if kind == "small crop" else 2.5)
    assert np.all(np.asarray(made["bounding_boxes"]["labels"]) == 7)


def test_a_single_image_has_boxes_of_two_axes():
    given = {k: v[0] for k, v in data().items() if k == "images"}
    given["bounding_boxes"] = {"boxes": np.float32([BOX]), "labels": np.array([7])}
    made = layers.RandomFlip("horizontal", bounding_box_format="xyxy", seed=1)(given)
    assert made["bounding_boxes"]["boxes"].shape == (1, 4)


def test_a_box_that_leaves_the_image_loses_its_label():
    given = data()
    given["bounding_boxes"]["boxes"][:] = (0, 0, 4, 4)
    layer = layers.RandomTranslation((-0.5, -0.5), 0.0, bounding_box_format="xyxy")
    assert np.all(np.asarray(layer(given, training=True)["bounding_boxes"]["labels"]) == -1)


def test_both_images_of_a_mixture_give_their_boxes():
    made = layers.MixUp(seed=1)({"images": data()["images"],
                                 "bounding_boxes": data()["bounding_boxes"]})  # fmt: skip
    assert made["bounding_boxes"]["boxes"].shape == (4, 2, 4)
    assert made["bounding_boxes"]["labels"].shape == (4, 2)


def test_what_cannot_move_boxes_says_so():
    with pytest.raises(ConfigError, match="bounding_box_format"):
        layers.RandomFlip()(data(), training=True)
    with pytest.raises(UnsupportedError, match="do not move along"):
        layers.CutMix(bounding_box_format="xyxy")(data(), training=True)
