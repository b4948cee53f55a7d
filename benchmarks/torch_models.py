"""The models of benchmarks/workloads.py in torch, layer for layer."""

from __future__ import annotations

import torch as t
from torch import nn
from torch.nn import functional as F
from workloads import ITEMS, USERS, WORDS


class Mlp(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
                         nn.Linear(512, 10))  # fmt: skip


class SmallMlp(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
                         nn.Linear(64, 10), nn.Softmax(-1))  # fmt: skip


class LeNet5(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5),
            nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )  # fmt: skip


class Normed(nn.Sequential):
    """Convolution, batch normalization and perhaps an activation."""

    def __init__(self, ins: int, outs: int, kernel: int, stride: int = 1, groups: int = 1,
                 act: nn.Module | None = None) -> None:  # fmt: skip
        conv = nn.Conv2d(ins, outs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outs), *([act] if act else []))


class Residual(nn.Module):
    """relu(body(x) + shortcut(x))."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut or nn.Identity()

    def forward(self, x: t.Tensor) -> t.Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class CifarResnet20(nn.Sequential):
    def __init__(self) -> None:
        blocks, ins = [Normed(3, 16, 3, act=nn.ReLU())], 16
        for stage, outs in enumerate((16, 32, 64)):
            for block in range(3):
                stride = 2 if stage and not block else 1
                body = nn.Sequential(Normed(ins, outs, 3, stride, act=nn.ReLU()),
                                     Normed(outs, outs, 3))  # fmt: skip
                blocks.append(Residual(body, Normed(ins, outs, 1, 2) if stride == 2 else None))
                ins = outs
        super().__init__(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Resnet50(nn.Sequential):
    def __init__(self) -> None:
        blocks, ins = [Normed(3, 64, 7, 2, act=nn.ReLU()), nn.MaxPool2d(3, 2, 1)], 64
        for stage, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
            for block in range(count):
                stride = 2 if stage and not block else 1
                body = nn.Sequential(
                    Normed(ins, width, 1, stride, act=nn.ReLU()),
                    Normed(width, width, 3, act=nn.ReLU()),
                    Normed(width, 4 * width, 1),
                )
                shortcut = None if block else Normed(ins, 4 * width, 1, stride)
                blocks.append(Residual(body, shortcut))
                ins = 4 * width
        super().__init__(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


class Inverted(nn.Module):
    """MobileNetV2's block: widen, depthwise, narrow."""

    def __init__(self, ins: int, outs: int, stride: int, widen: int) -> None:
        super().__init__()
        wide = ins * widen
        first = [] if widen == 1 else [Normed(ins, wide, 1, act=nn.ReLU6())]
        self.body = nn.Sequential(*first, Normed(wide, wide, 3, stride, wide, nn.ReLU6()),
                                  Normed(wide, outs, 1))  # fmt: skip
        self.adds = stride == 1 and ins == outs

    def forward(self, x: t.Tensor) -> t.Tensor:
        return x + self.body(x) if self.adds else self.body(x)


class MobilenetV2(nn.Sequential):
    PLAN = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip

    def __init__(self) -> None:
        blocks, ins = [Normed(3, 32, 3, 2, act=nn.ReLU6())], 32
        for widen, outs, count, stride in self.PLAN:
            for i in range(count):
                blocks.append(Inverted(ins, outs, 1 if i else stride, widen))
                ins = outs
        super().__init__(*blocks, Normed(320, 1280, 1, act=nn.ReLU6()), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(1280, 1000))  # fmt: skip


class Vgg16(nn.Sequential):
    def __init__(self) -> None:
        blocks, ins = [], 3
        for outs, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(count):
                blocks += [nn.Conv2d(ins, outs, 3, padding=1), nn.ReLU()]
                ins = outs
            blocks.append(nn.MaxPool2d(2))
        super().__init__(*blocks, nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(),
                         nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000))  # fmt: skip


class Text(nn.Module):
    def __init__(self, layer: type[nn.Module]) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(WORDS, 128), layer(128, 128, batch_first=True)
        self.head = nn.Linear(128, 1)

    def forward(self, ids: t.Tensor) -> t.Tensor:
        return self.head(self.rnn(self.embed(ids))[0][:, -1])


class LstmText(Text):
    def __init__(self) -> None:
        super().__init__(nn.LSTM)


class GruText(Text):
    def __init__(self) -> None:
        super().__init__(nn.GRU)


class Ncf(nn.Module):
    def __init__(self, sparse: bool = False) -> None:
        super().__init__()
        sizes = ((USERS, 64), (ITEMS, 64), (USERS, 128), (ITEMS, 128))
        self.tables = nn.ModuleList(nn.Embedding(n, d, sparse=sparse) for n, d in sizes)
        self.tower = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
                                   nn.Linear(128, 64), nn.ReLU())  # fmt: skip
        self.head = nn.Linear(128, 1)

    def forward(self, user: t.Tensor, item: t.Tensor) -> t.Tensor:
        a, b, c, d = (table(ids) for table, ids in zip(self.tables, (user, item) * 2, strict=True))
        return self.head(t.cat([a * b, self.tower(t.cat([c, d], -1))], -1))


class Encoder(nn.Module):
    """Self-attention and feed-forward, normalized after each sum."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(256, 768), nn.Linear(256, 256)
        self.norms = nn.ModuleList([nn.LayerNorm(256, eps=1e-3), nn.LayerNorm(256, eps=1e-3)])
        self.ff = nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 256))

    def forward(self, x: t.Tensor) -> t.Tensor:
        q, k, v = self.qkv(x).view(x.shape[0], 128, 3, 8, 32).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = self.norms[0](x + self.out(y))
        return self.norms[1](x + self.ff(x))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 256), nn.Embedding(128, 256)
        self.norm = nn.LayerNorm(256, eps=1e-3)
        self.layers = nn.Sequential(*(Encoder() for _ in range(4)))
        self.head = nn.Linear(256, 2)

    def forward(self, ids: t.Tensor) -> t.Tensor:
        x = self.norm(self.words(ids) + self.places(t.arange(128)))
        return self.head(self.layers(x).mean(1))


MODELS = {
    "mlp": Mlp, "small_mlp": SmallMlp, "lenet5": LeNet5, "cifar_resnet20": CifarResnet20,
    "resnet50": Resnet50, "mobilenet_v2": MobilenetV2, "vgg16": Vgg16, "lstm_text": LstmText,
    "gru_text": GruText,
    "ncf": Ncf, "transformer": Transformer,
}  # fmt: skip
