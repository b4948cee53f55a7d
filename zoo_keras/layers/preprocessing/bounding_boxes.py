"""Bounding boxes: formats, clipping, moving, overlaps, and deltas from anchors.

In: boxes (..., 4), or a dict with "boxes" and perhaps "labels". Out: the same. Formats are "xyxy"
(left, top, right, bottom), "yxyx", "xywh" (left, top, width, height), "center_xywh" and
"center_yxhw"; "rel_xyxy", "rel_yxyx", "rel_xywh" and "rel_center_xywh" are shares of the image's
width and height. Source: keras.utils.bounding_boxes.
"""

from __future__ import annotations

import math
from typing import Any

from zoo_keras import ops
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.ops.convert import fuzz_factor

RELATIVE = "rel_"
FORMATS = (
    "xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw", "rel_xyxy", "rel_yxyx", "rel_xywh",
    "rel_center_xywh",
)  # fmt: skip

__all__ = [
    "affine_transform", "clip_to_image_size", "compute_ciou", "compute_iou", "convert_format",
    "crop", "decode_deltas_to_boxes", "encode_box_to_deltas", "pad",
]  # fmt: skip


def parts(boxes: Any) -> list[Any]:
    """The four numbers of each box, each (..., 1)."""
    found: list[Any] = ops.split(boxes, 4, axis=-1)
    return found


def joined(*numbers: Any) -> Any:
    """Boxes of their four numbers."""
    return ops.concatenate(list(numbers), axis=-1)


def _format(function: str, name: Any) -> str:
    found = name.lower() if isinstance(name, str) else name
    if found not in FORMATS:
        raise ConfigError(
            f"{function}: unknown bounding box format. Received: {name!r}. Use one of "
            f"{', '.join(FORMATS)}."
        )
    return str(found)


def _corners(boxes: Any, kind: str) -> Any:
    """Left, top, right, bottom of boxes in a format, in that format's own unit."""
    a, b, c, d = parts(boxes)
    if kind == "xyxy":
        return a, b, c, d
    if kind == "yxyx":
        return b, a, d, c
    if kind == "xywh":
        return a, b, a + c, b + d
    if kind == "center_yxhw":
        a, b, c, d = b, a, d, c
    return a - c / 2, b - d / 2, a + c / 2, b + d / 2


def _told(x1: Any, y1: Any, x2: Any, y2: Any, kind: str) -> Any:
    """Boxes in a format, of their corners."""
    if kind == "xyxy":
        return joined(x1, y1, x2, y2)
    if kind == "yxyx":
        return joined(y1, x1, y2, x2)
    width, height = x2 - x1, y2 - y1
    if kind == "xywh":
        return joined(x1, y1, width, height)
    x, y = x1 + width / 2, y1 + height / 2
    return joined(y, x, height, width) if kind == "center_yxhw" else joined(x, y, width, height)


def convert_format(
    boxes: Any,
    source: str,
    target: str,
    height: Any = None,
    width: Any = None,
    dtype: Any = "float32",
) -> Any:
    """Boxes in another format.

    Args:
        boxes: (..., 4), or a dict with them as "boxes".
        height, width: of the image, needed from and to relative formats.

    Raises ShapeError unless the last axis is 4; ConfigError for an unknown format or when the
    image's size lacks. Source: keras.utils.bounding_boxes.convert_format.

    >>> convert_format(np.array([[10, 20, 30, 40]]), "xyxy", "xywh")
    array([[10., 20., 20., 20.]], dtype=float32)
    """
    if isinstance(boxes, dict):
        made = convert_format(boxes["boxes"], source, target, height, width, dtype)
        return {**boxes, "boxes": made}
    source, target = (_format("convert_format", name) for name in (source, target))
    if tuple(ops.shape(boxes))[-1:] != (4,):
        raise ShapeError(
            "convert_format: `boxes` must be a tensor with the last dimension of 4. Received: "
            f"shape {ops.shape(boxes)}. Put the four numbers of a box last."
        )
    relative = source.startswith(RELATIVE), target.startswith(RELATIVE)
    if any(relative) and (height is None or width is None):
        raise ConfigError(
            "convert_format must receive `height` and `width` for relative formats. Received: "
            f"source={source!r}, target={target!r}, height={height}, width={width}. Pass the "
            "image's size."
        )
    boxes = ops.cast(boxes, dtype)
    if source == target:
        return boxes
    x1, y1, x2, y2 = _corners(boxes, source.removeprefix(RELATIVE))
    if relative == (True, False):
        x1, y1, x2, y2 = x1 * width, y1 * height, x2 * width, y2 * height
    elif relative == (False, True):
        x1, y1, x2, y2 = x1 / width, y1 / height, x2 / width, y2 / height
    return _told(x1, y1, x2, y2, target.removeprefix(RELATIVE))


def _only(function: str, given: str, *allowed: str) -> None:
    if given not in allowed:
        raise UnsupportedError(
            f"{function} works on boxes in the format {' or '.join(allowed)}, as in Keras. "
            f"Received: {given!r}. Call convert_format first."
        )


def clip_to_image_size(
    bounding_boxes: dict[str, Any],
    height: Any = None,
    width: Any = None,
    bounding_box_format: str = "xyxy",
) -> dict[str, Any]:
    """Boxes cut at the image's borders; labels of those without an area become -1.

    Args:
        bounding_boxes: "boxes" (..., boxes, 4), and perhaps "labels" (..., boxes).
        bounding_box_format: "xyxy", or "rel_xyxy", which needs no size.

    Source: keras.utils.bounding_boxes.clip_to_image_size.
    """
    _only("clip_to_image_size", bounding_box_format, "xyxy", "rel_xyxy")
    if bounding_box_format == "rel_xyxy":
        height = width = 1.0
    elif height is None or width is None:
        raise ConfigError(
            "clip_to_image_size: `height` and `width` must be set if `format='xyxy'`. Received: "
            f"height={height}, width={width}. Pass the image's size."
        )
    boxes = _cut(ops.convert_to_tensor(bounding_boxes["boxes"]), height, width)
    made = {**bounding_boxes, "boxes": boxes}
    if bounding_boxes.get("labels") is not None:
        area = ops.squeeze(_areas(boxes), axis=-1)
        made["labels"] = ops.where(area > 0, bounding_boxes["labels"], -1)
    return made


def _cut(boxes: Any, height: Any, width: Any) -> Any:
    x1, y1, x2, y2 = parts(boxes)

    def inside(numbers: Any, size: Any) -> Any:
        limit = ops.cast(size, boxes.dtype)
        return ops.minimum(ops.maximum(numbers, ops.cast(0, boxes.dtype)), limit)

    return joined(inside(x1, width), inside(y1, height), inside(x2, width), inside(y2, height))


def _areas(boxes: Any) -> Any:
    x1, y1, x2, y2 = parts(boxes)
    return (x2 - x1) * (y2 - y1)


def affine_transform(
    boxes: Any,
    angle: Any,
    translate_x: Any,
    translate_y: Any,
    scale: Any,
    shear_x: Any,
    shear_y: Any,
    height: Any,
    width: Any,
    center_x: Any = None,
    center_y: Any = None,
    bounding_box_format: str = "xyxy",
) -> Any:
    """The boxes around (batch, boxes, 4) boxes that were turned, moved, scaled and sheared.

    Args:
        angle, shear_x, shear_y: in degrees, each (batch,). translate_x, translate_y: shares of the
            width and height, each (batch,). scale: (batch,).
        center_x, center_y: what stays, as shares of the image; the middle by default.

    Source: keras.utils.bounding_boxes.affine_transform.
    """
    _only("affine_transform", bounding_box_format, "xyxy")
    x = ops.multiply(0.5 if center_x is None else center_x, width - 1)
    y = ops.multiply(0.5 if center_y is None else center_y, height - 1)
    degrees = math.pi / 180.0
    turn, lean_x, lean_y = (ops.multiply(v, -degrees) for v in (angle, shear_x, shear_y))
    rows = inverse_affine(
        turn, lean_x, lean_y, scale, x, y,
        ops.multiply(ops.negative(translate_x), width - 1),
        ops.multiply(ops.negative(translate_y), height - 1),
    )  # fmt: skip
    return around(boxes, rows)


def inverse_affine(
    turn: Any, lean_x: Any, lean_y: Any, scale: Any, x: Any, y: Any, along: Any, down: Any
) -> list[list[Any]]:
    """Two rows of three: the matrix that turns, shears and scales around (x, y), which then goes
    `along` and `down`. Angles in radians; each number a scalar or (batch,)."""
    a = ops.cos(turn - lean_y) / ops.cos(lean_y)
    b = a * ops.tan(lean_x) + ops.sin(turn)
    c = ops.negative(ops.sin(turn - lean_y)) / ops.cos(lean_y)
    d = ops.cos(turn) - c * ops.tan(lean_x)
    a0, a1, b0, b1 = d * scale, -b * scale, -c * scale, a * scale
    return [
        [a0, a1, x - a0 * (x + along) - a1 * (y + down)],
        [b0, b1, y - b0 * (x + along) - b1 * (y + down)],
    ]


def around(boxes: Any, rows: list[list[Any]]) -> Any:
    """The boxes around the moved corners of (batch, boxes, 4) boxes; rows: of the matrix."""
    (a0, a1, a2), (b0, b1, b2) = [[ops.reshape(v, (-1, 1, 1)) for v in row] for row in rows]
    x1, y1, x2, y2 = parts(ops.cast(boxes, "float32"))
    xs = joined(x1, x2, x2, x1)
    ys = joined(y1, y1, y2, y2)
    return enclosing(a0 * xs + a1 * ys + a2, b0 * xs + b1 * ys + b2)


def enclosing(xs: Any, ys: Any) -> Any:
    """The boxes (..., 4) around points (..., n)."""
    low = [ops.min(v, axis=-1, keepdims=True) for v in (xs, ys)]
    high = [ops.max(v, axis=-1, keepdims=True) for v in (xs, ys)]
    return joined(*low, *high)


def crop(
    boxes: Any, top: Any, left: Any, height: Any, width: Any, bounding_box_format: str = "xyxy"
) -> Any:
    """Boxes of an image of which the part at (top, left) of this size is cut out.

    Source: keras.utils.bounding_boxes.crop.
    """
    _only("crop", bounding_box_format, "xyxy")
    return _cut(pad(boxes, ops.negative(top), ops.negative(left)), height, width)


def pad(
    boxes: Any, top: Any, left: Any, height: Any = None, width: Any = None,
    bounding_box_format: str = "xyxy",
) -> Any:  # fmt: skip
    """Boxes of an image that got so many rows on top and columns at the left.

    Source: keras.utils.bounding_boxes.pad.
    """
    del height, width
    _only("pad", bounding_box_format, "xyxy")
    x1, y1, x2, y2 = parts(ops.convert_to_tensor(boxes))
    return joined(x1 + left, y1 + top, x2 + left, y2 + top)


def scaled(boxes: Any, top: float, left: float, down: float, across: float) -> Any:
    """Boxes of the image that begins at (top, left), resized by factors."""
    x1, y1, x2, y2 = parts(boxes)
    return joined((x1 - left) * across, (y1 - top) * down, (x2 - left) * across, (y2 - top) * down)


# ---- deltas from anchors -------------------------------------------------------------------------


def _delta_arguments(name: str, kind: str, variance: Any, image_shape: Any) -> tuple[Any, Any, Any]:
    if kind not in ("center_xywh", "center_yxhw"):
        raise ConfigError(
            f"{name} should be one of 'center_xywh' or 'center_yxhw'. Received: {kind!r}. Use "
            "one of these."
        )
    if variance is not None:
        variance = ops.convert_to_tensor(variance, "float32")
        if variance.shape[-1] != 4:
            raise ConfigError(
                f"`variance` must be length 4. Received: {variance}. Pass a number for each of "
                "the four."
            )
    height, width = (None, None) if image_shape is None else image_shape[:2]
    return variance, height, width


def encode_box_to_deltas(
    anchors: Any,
    boxes: Any,
    anchor_format: str,
    box_format: str,
    encoding_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
) -> Any:
    """How boxes differ from anchors: moves in sizes of the anchors, and logarithms of ratios.

    Args:
        anchors: (boxes, 4). boxes: (boxes, 4) or (batch, boxes, 4).
        variance: four numbers by which the deltas are divided.
        image_shape: (height, width, channels), for relative formats.

    Source: keras.utils.bounding_boxes.encode_box_to_deltas.
    """
    variance, height, width = _delta_arguments(
        "encoding_format", encoding_format, variance, image_shape
    )
    anchors = convert_format(anchors, anchor_format, encoding_format, height, width)
    boxes = convert_format(boxes, box_format, encoding_format, height, width)
    size = ops.maximum(anchors[..., 2:], fuzz_factor())
    moved = (boxes[..., :2] - anchors[..., :2]) / size
    grown = ops.log(ops.maximum(boxes[..., 2:], fuzz_factor()) / size)
    deltas = ops.concatenate([ops.broadcast_to(moved, grown.shape), grown], axis=-1)
    return deltas if variance is None else deltas / variance


def decode_deltas_to_boxes(
    anchors: Any,
    boxes_delta: Any,
    anchor_format: str,
    box_format: str,
    encoded_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
) -> Any:
    """The boxes that encode_box_to_deltas has made deltas of; dicts of levels give dicts.

    Source: keras.utils.bounding_boxes.decode_deltas_to_boxes.
    """
    if isinstance(anchors, dict):
        return {
            level: decode_deltas_to_boxes(
                anchors[level], boxes_delta[level], anchor_format, box_format, encoded_format,
                variance, image_shape,
            )
            for level in anchors
        }  # fmt: skip
    variance, height, width = _delta_arguments(
        "encoded_format", encoded_format, variance, image_shape
    )
    anchors = convert_format(anchors, anchor_format, encoded_format, height, width)
    deltas = ops.convert_to_tensor(boxes_delta)
    deltas = deltas if variance is None else deltas * variance
    moved = deltas[..., :2] * anchors[..., 2:] + anchors[..., :2]
    grown = ops.exp(deltas[..., 2:]) * anchors[..., 2:]
    boxes = ops.concatenate([moved, grown], axis=-1)
    return convert_format(boxes, encoded_format, box_format, height, width)


# ---- overlaps ------------------------------------------------------------------------------------


def compute_iou(
    boxes1: Any,
    boxes2: Any,
    bounding_box_format: str,
    use_masking: bool = False,
    mask_val: int = -1,
    image_shape: Any = None,
) -> Any:
    """The overlap of each box of the first with each of the second, as a share of their union.

    Args:
        boxes1: (m, 4) or (batch, m, 4). boxes2: (n, 4) or (batch, n, 4).
        use_masking: give mask_val where a box is padding (all its numbers below 0).
        image_shape: (height, width, channels), for relative formats.

    Returns (m, n), or (batch, m, n). Source: keras.utils.bounding_boxes.compute_iou.
    """
    for name, given in (("boxes1", boxes1), ("boxes2", boxes2)):
        if len(ops.shape(given)) not in (2, 3):
            raise ShapeError(
                f"compute_iou() expects {name} to be batched, or to be unbatched. Received: shape "
                f"{ops.shape(given)}. Pass (boxes, 4) or (batch, boxes, 4)."
            )
    if "rel" in bounding_box_format and image_shape is None:
        raise ConfigError(
            "compute_iou: relative formats need `image_shape`. Received: image_shape=None. Pass "
            "(height, width, channels)."
        )
    height, width = (None, None) if image_shape is None else image_shape[:2]
    first, second = (
        convert_format(b, bounding_box_format, "xyxy", height, width) for b in (boxes1, boxes2)
    )
    rows = ops.expand_dims(first, axis=-2)
    columns = ops.expand_dims(second, axis=-3)
    ax1, ay1, ax2, ay2 = (rows[..., i] for i in range(4))
    bx1, by1, bx2, by2 = (columns[..., i] for i in range(4))
    wide = ops.maximum(ops.minimum(ax2, bx2) - ops.maximum(ax1, bx1), 0.0)
    high = ops.maximum(ops.minimum(ay2, by2) - ops.maximum(ay1, by1), 0.0)
    shared = wide * high
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared
    found = shared / (union + fuzz_factor())
    if not use_masking:
        return found
    padding = ops.logical_or(ops.max(rows, axis=-1) < 0, ops.max(columns, axis=-1) < 0)
    return ops.where(padding, ops.cast(mask_val, found.dtype), found)


def compute_ciou(
    boxes1: Any, boxes2: Any, bounding_box_format: str, image_shape: Any = None
) -> Any:
    """The complete overlap of pairs of boxes (..., 4): less for far centres and other shapes.

    Source: keras.utils.bounding_boxes.compute_ciou; Zheng et al. 2020.
    """
    if "rel" in bounding_box_format:
        raise ConfigError(
            "compute_ciou knows no image, so no relative formats. Received: "
            f"{bounding_box_format!r}. Call convert_format first."
        )
    height, width = (None, None) if image_shape is None else image_shape[:2]
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = (
        [v[..., i] for i in range(4)]
        for v in (convert_format(b, bounding_box_format, "xyxy", height, width)
                  for b in (boxes1, boxes2))
    )  # fmt: skip
    small = fuzz_factor()
    aw, ah, bw, bh = ax2 - ax1, ay2 - ay1 + small, bx2 - bx1, by2 - by1 + small
    shared = ops.maximum(ops.minimum(ax2, bx2) - ops.maximum(ax1, bx1), 0.0) * ops.maximum(
        ops.minimum(ay2, by2) - ops.maximum(ay1, by1), 0.0
    )
    iou = shared / (aw * ah + bw * bh - shared + 2 * small)
    across = ops.square(ops.maximum(ax2, bx2) - ops.minimum(ax1, bx1))
    across = across + ops.square(ops.maximum(ay2, by2) - ops.minimum(ay1, by1)) + small
    apart = ops.square((ax1 + ax2 - bx1 - bx2) / 2) + ops.square((ay1 + ay2 - by1 - by2) / 2)
    turned = (4 / math.pi**2) * ops.square(ops.arctan(bw / bh) - ops.arctan(aw / ah))
    share = turned / (turned - iou + (1 + small))
    return iou - (apart / across + turned * share)
