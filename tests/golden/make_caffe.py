"""Files of Caffe, with what OpenCV's reader makes of them (opencv-python-headless below 5).

The prototxt of cases/caffe_nets.py, and a caffemodel of arrays drawn by the net's name.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np

from .arrays import generator
from .cases.caffe_nets import NETS
from .store import DATA, Writer

FILES = DATA / "caffe"


def make() -> None:
    FILES.mkdir(parents=True, exist_ok=True)
    writer = Writer("caffe")
    for name, (text, shapes, image) in NETS.items():
        rng = generator("caffe" + name)
        blobs = {layer: [drawn(layer, i, s, rng) for i, s in enumerate(given)]
                 for layer, given in shapes.items()}  # fmt: skip
        (FILES / f"{name}.prototxt").write_text(text)
        (FILES / f"{name}.caffemodel").write_bytes(caffemodel(blobs, name == "old"))
        x = rng.normal(size=(2, *image)).astype(np.float32)
        told = "\n".join(row for row in text.split("\n") if "SoftmaxWithLoss" not in row)
        both = told.encode(), caffemodel(blobs, name == "old")
        net = cv2.dnn.readNetFromCaffe(*(np.frombuffer(data, np.uint8) for data in both))
        net.setInput(x)
        predicted = net.forward()
        writer.add(name, {}, {"x": x, "predicted": predicted.reshape(2, -1)})
    writer.write()


def drawn(layer: str, number: int, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    values = rng.normal(size=shape) * 0.4
    if layer.startswith(("bn", "scale")) and (number or layer.startswith("scale")):
        values = np.abs(values) + 0.5
    return values.astype(np.float32)


def caffemodel(blobs: dict[str, list[np.ndarray]], is_old: bool) -> bytes:
    """A NetParameter; an old one has layers of version 1, and four sizes for each array."""
    made = b""
    for name, arrays in blobs.items():
        number, place = (4, 6) if is_old else (1, 7)
        parts = field(number, name.encode())
        parts += b"".join(field(place, blob(array, is_old)) for array in arrays)
        made += field(2 if is_old else 100, parts)
    return made


def blob(array: np.ndarray, is_old: bool) -> bytes:
    data = field(5, array.astype("<f4").tobytes())
    if not is_old:
        return field(7, field(1, b"".join(map(varint, array.shape)))) + data
    sizes = [1] * (4 - array.ndim) + list(array.shape)
    return b"".join(varint(n << 3) + varint(size) for n, size in enumerate(sizes, 1)) + data


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made += struct.pack("B", value & 127 | 128)
        value >>= 7
    return made + struct.pack("B", value)
