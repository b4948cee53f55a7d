"""Golden transforms of tf.keras' ImageDataGenerator; needs scipy and Pillow too."""

from __future__ import annotations

from keras._tf_keras.keras.preprocessing.image import ImageDataGenerator

from .arrays import generator
from .cases.image_generator import CASES
from .store import Writer


def make() -> None:
    writer = Writer("image_generator")
    x = generator("picture").uniform(0, 255, (8, 6, 3)).astype("float32")
    for number, (mode, turn) in enumerate(CASES):
        made = ImageDataGenerator(fill_mode=mode, cval=7.0).apply_transform(x.copy(), turn)
        info = {"fill_mode": mode, "transform": turn}
        writer.add(f"{mode}-{number}", info, {"picture": x, "output": made})
    writer.write()
