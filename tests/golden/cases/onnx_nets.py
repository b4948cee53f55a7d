"""Torch nets whose ONNX exports are golden files: name -> (f(nn, torch) -> net, inputs).

An input is (shape, kind) as in make_onnx.
"""

from __future__ import annotations

from typing import Any

FIRST_OPSET = {"resized": 11, "u_shaped": 11, "causal": 17, "transformer": 17}


def residual(nn: Any, torch: Any) -> Any:
    class Block(nn.Module):
        def __init__(self, channels: int, filters: int, stride: int) -> None:
            super().__init__()
            self.first = nn.Sequential(
                nn.Conv2d(channels, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters),
                nn.ReLU(), nn.Conv2d(filters, filters, 3, 1, 1, bias=False),
                nn.BatchNorm2d(filters),
            )  # fmt: skip
            self.side = nn.Conv2d(channels, filters, 1, stride, bias=False)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.first(x) + self.side(x))

    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        Block(8, 8, 1), Block(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip


def mobile(nn: Any, torch: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU6(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Hardswish(),
        nn.Conv2d(8, 16, 1), nn.SiLU(), nn.Conv2d(16, 16, 3, 2, 1, groups=4), nn.LeakyReLU(0.2),
        nn.PReLU(16), nn.AvgPool2d(3, 2, 1), nn.Flatten(), nn.Linear(64, 3), nn.Softmax(-1),
    )  # fmt: skip


def u_shaped(nn: Any, torch: Any) -> Any:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.top = nn.Sequential(
                nn.Conv2d(3, 6, 3, padding=1), nn.InstanceNorm2d(6, affine=True)
            )
            self.low = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1))
            self.norm, self.up = nn.GroupNorm(2, 8), nn.ConvTranspose2d(8, 6, 2, 2)
            self.end = nn.Sequential(
                nn.Conv2d(12, 2, 3, padding=1),
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Sigmoid(),
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.top(x))
            low = torch.relu(self.norm(self.low(x)))
            return self.end(torch.cat([self.up(low), x], 1))

    return Net()


def words(nn: Any, torch: Any) -> Any:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(20, 8)
            self.lstm = nn.LSTM(8, 6, batch_first=True, bidirectional=True)
            self.gru, self.end = nn.GRU(12, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x: Any) -> Any:
            x, _ = self.gru(self.lstm(self.table(x))[0])
            return torch.log_softmax(self.end(x[:, -1]), -1)

    return Net()


def transformer(nn: Any, torch: Any) -> Any:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 16, 4, 4)
            self.token = nn.Parameter(torch.randn(1, 1, 16))
            self.places = nn.Parameter(torch.randn(1, 17, 16))
            self.block = nn.TransformerEncoderLayer(
                16, 4, 32, batch_first=True, activation="gelu", norm_first=True
            )
            self.norm, self.end = nn.LayerNorm(16), nn.Linear(16, 4)

        def forward(self, x: Any) -> Any:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
            return self.end(self.norm(self.block(x))[:, 0])

    return Net()


def causal(nn: Any, torch: Any) -> Any:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.all, self.end = nn.LayerNorm(12), nn.Linear(12, 36), nn.Linear(12, 12)

        def forward(self, x: Any) -> Any:
            rows, steps, size = x.shape
            q, k, v = (
                part.view(rows, steps, 3, 4).transpose(1, 2)
                for part in self.all(self.norm(x)).split(size, 2)
            )
            scores = (q @ k.transpose(-2, -1)) / 2.0
            scores = scores.masked_fill(torch.tril(torch.ones(steps, steps)) == 0, float("-inf"))
            mixed = (torch.softmax(scores, -1) @ v).transpose(1, 2)
            return x + self.end(mixed.contiguous().view(rows, steps, size))

    return Net()


def sequence(nn: Any, torch: Any) -> Any:
    return nn.Sequential(
        nn.Conv1d(4, 6, 3, padding=2, dilation=2), nn.ELU(), nn.MaxPool1d(2),
        nn.Conv1d(6, 8, 3, stride=2, padding=1), nn.BatchNorm1d(8), nn.Softplus(),
        nn.AdaptiveMaxPool1d(1), nn.Flatten(),
    )  # fmt: skip


def volumes(nn: Any, torch: Any) -> Any:
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.ConvTranspose3d(4, 2, 2, 2),
        nn.Tanh(),
    )  # fmt: skip


def resized(nn: Any, torch: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2),
        nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1),
        nn.Upsample(size=(20, 24), mode="bicubic"), nn.ZeroPad2d((1, 2, 0, 1)),
        nn.ReflectionPad2d(1), nn.PixelUnshuffle(1), nn.GELU(),
    )  # fmt: skip


NETS = {
    "residual": (residual, [((3, 3, 32, 32), "float")]),
    "mobile": (mobile, [((3, 3, 16, 16), "float")]),
    "u_shaped": (u_shaped, [((3, 3, 16, 16), "float")]),
    "words": (words, [((3, 7), 20)]),
    "transformer": (transformer, [((3, 3, 16, 16), "float")]),
    "causal": (causal, [((3, 5, 12), "float")]),
    "sequence": (sequence, [((3, 4, 20), "float")]),
    "volumes": (volumes, [((3, 2, 6, 6, 6), "float")]),
    "resized": (resized, [((3, 3, 9, 9), "float")]),
}
