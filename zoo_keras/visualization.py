"""Pictures of images with boxes and masks, and galleries of them, as `keras.visualization`.

In: batches of images, bounding boxes, masks, labels. Out: arrays (uint8), or a figure of matplotlib
that is shown or saved. pillow and matplotlib are imported where they are used.
"""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any

import numpy as np

from zoo_keras import config
from zoo_keras.errors import ConfigError, DataError, ShapeError
from zoo_keras.layers.preprocessing.bounding_boxes import convert_format
from zoo_keras.missing import missing

__all__ = [
    "draw_bounding_boxes", "draw_segmentation_masks", "plot_bounding_box_gallery",
    "plot_image_gallery", "plot_segmentation_mask_gallery",
]  # fmt: skip

TEXT = 10  # points of a letter at font_scale 1


def _imported(function: str, module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{function} needs {package}. Received: {error}. Run `pip install {package}`."
        ) from None


def _batch(function: str, images: Any, data_format: str | None) -> np.ndarray:
    """(batch, height, width, channels)."""
    array = np.asarray(images)
    if array.ndim != 4:
        raise ShapeError(
            f"{function}: `images` must be batched 4D tensor. Received: shape {array.shape}. Add "
            "the batch axis."
        )
    first = (data_format or config.image_data_format()) == "channels_first"
    return array.transpose(0, 2, 3, 1) if first else array


def draw_bounding_boxes(
    images: Any,
    bounding_boxes: dict[str, Any],
    bounding_box_format: str,
    class_mapping: dict[int, str] | None = None,
    color: tuple[int, int, int] = (128, 128, 128),
    line_thickness: int = 2,
    text_thickness: int = 1,
    font_scale: float = 1.0,
    data_format: str | None = None,
) -> np.ndarray:
    """The images with boxes drawn on them, uint8. Source: keras.visualization.

    Args:
        bounding_boxes: "boxes" (batch, boxes, 4), "labels" (batch, boxes; -1: no box), and
            perhaps "confidences", in a dict.
        class_mapping: label -> the text above the box.
    """
    del text_thickness
    if not isinstance(bounding_boxes, dict) or not {"boxes", "labels"} <= set(bounding_boxes):
        raise DataError(
            "draw_bounding_boxes: `bounding_boxes` should be a dict containing 'boxes' and "
            f"'labels' keys. Received: {type(bounding_boxes).__name__}. Pass such a dict."
        )
    pictures = _bytes(_batch("draw_bounding_boxes", images, data_format))
    height, width = pictures.shape[1:3]
    boxes = convert_format(bounding_boxes["boxes"], bounding_box_format, "xyxy", height, width)
    labels = np.asarray(bounding_boxes["labels"]).astype(int)
    sure = bounding_boxes.get("confidences")
    drawn = []
    for i, picture in enumerate(pictures):
        texts = [_text(class_mapping, c, sure, i, k) for k, c in enumerate(labels[i])]
        kept = [(b, t) for b, t, c in zip(np.asarray(boxes)[i], texts, labels[i], strict=True)
                if c != -1]  # fmt: skip
        drawn.append(_with_boxes(picture, kept, tuple(color), line_thickness, font_scale))
    return np.stack(drawn)


def _bytes(images: np.ndarray) -> np.ndarray:
    if images.dtype.kind == "f" and images.size:
        scale = 255 if images.max() <= 1 else 1
        images = np.clip(images * scale, 0, 255)
    return images.astype(np.uint8)


def _text(names: dict[int, str] | None, label: int, sure: Any, image: int, box: int) -> str:
    if int(label) not in (names or {}):
        return ""
    word = str((names or {})[int(label)])
    return word if sure is None else f"{word} | {np.asarray(sure)[image][box]:.2f}"


def _with_boxes(picture: np.ndarray, boxes: Any, color: Any, width: int, scale: float) -> Any:
    drawing = _imported("draw_bounding_boxes", "PIL.ImageDraw", "pillow")
    image = _imported("draw_bounding_boxes", "PIL.Image", "pillow").fromarray(picture)
    pen = drawing.Draw(image)
    for box, text in boxes:
        x1, y1, x2, y2 = (int(v) for v in box)
        corners = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
        pen.rectangle(corners, outline=color, width=width)
        if text:
            pen.text((x1, max(y1 - int(TEXT * scale) - 2, 0)), text, fill=color)
    return np.asarray(image)


def draw_segmentation_masks(
    images: Any,
    segmentation_masks: Any,
    num_classes: int | None = None,
    color_mapping: dict[int, Any] | None = None,
    alpha: float = 0.8,
    blend: bool = True,
    ignore_index: int = -1,
    data_format: str | None = None,
) -> np.ndarray:
    """The images with each class of a mask in its colour, uint8 when they are blended.

    Args:
        segmentation_masks: (batch, height, width, 1) whole numbers.
        color_mapping: class -> colour; made up where it lacks.
        alpha: how much of the colour is seen. ignore_index: a class that is not coloured.

    Source: keras.visualization.
    """
    pictures = _batch("draw_segmentation_masks", images, data_format).astype(np.float32)
    masks = _batch("draw_segmentation_masks", segmentation_masks, data_format)[..., 0]
    if masks.dtype.kind not in "iu":
        raise DataError(
            "draw_segmentation_masks: `segmentation_masks` must be in integer dtype. Received: "
            f"{masks.dtype}. Cast them to int32."
        )
    count = int(masks.max()) if num_classes is None else num_classes
    made = pictures.copy()
    for number in range(count):
        color = _color(number) if color_mapping is None else color_mapping[number]
        made[masks == number] = np.asarray(color, np.float32)
    if not blend:
        return made
    mixed = pictures * (1 - alpha) + made * alpha
    kept = np.where((masks != ignore_index)[..., None], mixed, pictures)
    return kept.astype(np.uint8)


def _color(number: int) -> list[int]:
    """A colour for a class, the same everywhere."""
    return [number * (2**bits - 1) % 255 for bits in (25, 15, 21)]


def plot_image_gallery(
    images: Any,
    y_true: Any = None,
    y_pred: Any = None,
    label_map: dict[int, str] | None = None,
    rows: int | None = None,
    cols: int | None = None,
    value_range: tuple[float, float] = (0, 255),
    scale: float = 2,
    path: Any = None,
    show: bool | None = None,
    transparent: bool = True,
    dpi: int = 60,
    legend_handles: Any = None,
    data_format: str | None = None,
) -> None:
    """Images side by side, with labels above them; shown, or saved at `path`.

    Source: keras.visualization.
    """
    if path is not None and show:
        raise ConfigError(
            "plot_image_gallery: expects either `path` to be set, or `show` to be true. Received: "
            "both. Leave one out."
        )
    if (y_true is not None or y_pred is not None) and label_map is None:
        raise ConfigError(
            "plot_image_gallery: if `y_true` or `y_pred` are provided, a `label_map` must also be "
            "provided. Received: label_map=None. Pass class numbers and names."
        )
    plots = _imported("plot_image_gallery", "matplotlib.pyplot", "matplotlib")
    pictures = _batch("plot_image_gallery", images, data_format)
    rows = rows or math.ceil(math.sqrt(len(pictures)))
    cols = cols or math.ceil(len(pictures) / rows)
    low, high = value_range
    pictures = ((pictures.astype(np.float64) - low) / (high - low) * 255).astype(np.uint8)
    figure, axes = plots.subplots(
        rows, cols, figsize=(cols * scale, rows * scale), frameon=False, squeeze=False
    )
    if legend_handles is not None:
        figure.legend(handles=legend_handles, loc="lower center")
    for i, axis in enumerate(axes.ravel()):
        axis.axis("off")
        if i < len(pictures):
            axis.imshow(pictures[i])
            axis.set_title(_title(i, y_true, y_pred, label_map or {}), fontsize=8)
    if path is not None:
        figure.savefig(path, pad_inches=0, bbox_inches="tight", transparent=transparent, dpi=dpi)
    elif show is None or show:
        plots.show()
    plots.close(figure)


def _title(i: int, y_true: Any, y_pred: Any, names: dict[int, str]) -> str:
    given = (("Label", y_true), ("Pred", y_pred))
    return "  ".join(
        f"{word}: {names.get(np.asarray(labels)[i].item(), 'Unknown')}"
        for word, labels in given
        if labels is not None and i < len(labels)
    )


def plot_bounding_box_gallery(
    images: Any,
    bounding_box_format: str,
    y_true: Any = None,
    y_pred: Any = None,
    value_range: tuple[float, float] = (0, 255),
    true_color: tuple[int, int, int] = (0, 188, 212),
    pred_color: tuple[int, int, int] = (255, 235, 59),
    line_thickness: int = 2,
    font_scale: float = 1.0,
    text_thickness: int | None = None,
    class_mapping: dict[int, str] | None = None,
    ground_truth_mapping: dict[int, str] | None = None,
    prediction_mapping: dict[int, str] | None = None,
    legend: bool = False,
    legend_handles: Any = None,
    rows: int | None = None,
    cols: int | None = None,
    data_format: str | None = None,
    **kwargs: Any,
) -> None:
    """A gallery of images with true and predicted boxes. Source: keras.visualization."""
    del text_thickness
    if legend and legend_handles:
        raise ConfigError(
            "plot_bounding_box_gallery: only pass `legend` OR `legend_handles`. Received: both. "
            "Leave one out."
        )
    pictures: Any = _batch("plot_bounding_box_gallery", images, data_format)
    draw = functools.partial(
        draw_bounding_boxes, bounding_box_format=bounding_box_format, font_scale=font_scale,
        line_thickness=line_thickness, data_format="channels_last",
    )  # fmt: skip
    kinds = (
        (y_true, true_color, ground_truth_mapping or class_mapping),
        (y_pred, pred_color, prediction_mapping or class_mapping),
    )
    for boxes, color, names in kinds:
        if boxes is not None:
            pictures = draw(pictures, boxes, color=color, class_mapping=names)
    if legend:
        patches = _imported("plot_bounding_box_gallery", "matplotlib.patches", "matplotlib")
        words = (("Ground Truth", true_color), ("Prediction", pred_color))
        legend_handles = [patches.Patch(color=np.array(c) / 255, label=w) for w, c in words]
    plot_image_gallery(
        pictures, value_range=value_range, legend_handles=legend_handles, rows=rows, cols=cols,
        data_format="channels_last", **kwargs,
    )  # fmt: skip


def plot_segmentation_mask_gallery(
    images: Any,
    num_classes: int,
    value_range: tuple[float, float] = (0, 255),
    y_true: Any = None,
    y_pred: Any = None,
    color_mapping: dict[int, Any] | None = None,
    blend: bool = True,
    alpha: float = 0.8,
    ignore_index: int = -1,
    data_format: str | None = None,
    **kwargs: Any,
) -> None:
    """A row for each image: itself, with its true mask, with the predicted one.

    Source: keras.visualization.
    """
    pictures = _batch("plot_segmentation_mask_gallery", images, data_format)
    columns = [pictures]
    for masks in (y_true, y_pred):
        if masks is not None:
            whole = _batch("plot_segmentation_mask_gallery", masks, data_format).astype(np.int32)
            columns.append(
                draw_segmentation_masks(
                    pictures, whole, num_classes, color_mapping, alpha, blend, ignore_index,
                    "channels_last",
                )
            )  # fmt: skip
    shown = np.stack(columns, axis=1).reshape(-1, *pictures.shape[1:])
    plot_image_gallery(
        shown, value_range=value_range, rows=len(pictures), cols=len(columns),
        data_format="channels_last", **kwargs,
    )  # fmt: skip


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.visualization", name)
