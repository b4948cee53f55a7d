"""Golden pictures changed by Keras 2 (tf-keras, which needs scipy and pillow for it)."""

from __future__ import annotations

import numpy as np
from tf_keras.preprocessing import image

from .cases.picture_changes import calls
from .store import Writer


def make() -> None:
    writer = Writer("picture_changes")
    for name, made in calls(image):
        writer.add(name, {}, {"output": np.asarray(made, np.float32)})
    writer.write()
