"""What nets of torchvision make of an image with seeded weights, and small files of state dicts.

Needs torchvision beside torch. A net's arrays are not kept but their names and shapes: tests make
them again. VGG's pool before the classifier is 2 x 2, for images of 64 x 64.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

from .cases.torchvision_nets import CLASSES, NETS, image, weight
from .store import DATA, Writer

FILES = DATA / "torchvision"


def make() -> None:
    FILES.mkdir(parents=True, exist_ok=True)
    writer = Writer("torchvision")
    for name in NETS:
        writer.add(name, *golden(name))
    writer.write()
    write_files()


def golden(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    net = getattr(torchvision.models, name)(weights=None, num_classes=CLASSES)
    if name.startswith("vgg"):
        net.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        net.classifier[0] = nn.Linear(512 * 4, 4096)
    state = net.state_dict()
    shapes = {k: list(v.shape) for k, v in state.items() if v.dtype.is_floating_point}
    made = {k: torch.from_numpy(weight(k, tuple(shape))) for k, shape in shapes.items()}
    net.load_state_dict({**state, **made})
    x = torch.from_numpy(image(name).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        predicted = net.eval()(x).numpy()
    return {"shapes": shapes}, {"predicted": predicted}


def write_files() -> None:
    """One state dict in each form, with views, a shared storage and several dtypes."""
    rng = np.random.default_rng(3)
    table = torch.from_numpy(rng.normal(size=(4, 6)).astype(np.float32))
    state = {
        "whole": table, "turned": table.T, "part": table[1:3, ::2], "half": table.half(),
        "brain": table.bfloat16(), "double": table.double(), "long": torch.arange(5),
        "flags": torch.tensor([True, False]), "number": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
    }  # fmt: skip
    torch.save(state, FILES / "state.pth")
    torch.save({"epoch": 3, "state_dict": state}, FILES / "checkpoint.pth")
    torch.save(state, FILES / "old.pth", _use_new_zipfile_serialization=False)
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    torch.save(net.state_dict(), FILES / "ordered.pth")  # an OrderedDict with attributes
    torch.save(net, FILES / "module.pth")  # to be refused: its classes are code
    write_safetensors(state)
    arrays = {k: np.asarray(v.float().tolist(), np.float32) for k, v in state.items()}
    np.savez(FILES / "state.npz", **{k: v.reshape(state[k].shape) for k, v in arrays.items()})


def write_safetensors(state: dict[str, torch.Tensor]) -> None:
    """As safetensors writes it: the header's length, the header, the bytes."""
    names = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64",
             "int64": "I64", "bool": "BOOL"}  # fmt: skip
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for key, tensor in state.items():
        raw = (
            bytes(tensor.contiguous().flatten().view(torch.uint8).numpy())
            if tensor.numel()
            else b""
        )
        header[key] = {"dtype": names[str(tensor.dtype).removeprefix("torch.")],
                       "shape": list(tensor.shape),
                       "data_offsets": [len(data), len(data) + len(raw)]}  # fmt: skip
        data += raw
    text = json.dumps(header).encode()
    (FILES / "state.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
