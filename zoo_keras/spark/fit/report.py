"""What a fit has done, as one self-contained page: curves, where the time went, the model.

In: the History that fit returned. Out: an HTML file without scripts, fonts or pictures of others.
Knows no cluster: only numbers and the model's own summary.
"""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError
from zoo_keras.training.clock import PARTS

_WIDE, _HIGH, _EDGE = 460, 240, 48
_COLOURS = dict(zip(
    PARTS,
    ("#8d99ae", "#4e79a7", "#e15759", "#59a14f", "#f28e2b", "#b07aa1", "#76b7b2", "#9c755f"),
))  # fmt: skip
_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 62em; color: #222 }
svg { background: #fafafa; margin: 0 1em 1em 0 } svg text { font-size: 11px; fill: #444 }
table { border-collapse: collapse } td, th { padding: .2em .8em; text-align: right }
th:first-child { text-align: left } tr:nth-child(even) { background: #f4f4f4 }
pre { background: #f4f4f4; padding: 1em; overflow-x: auto }
i { padding: 0 .5em; margin-right: .3em }
"""


def report(history: Any, path: str | os.PathLike[str]) -> None:
    """Writes a page about a fit: a curve for each metric with its validation, seconds by part for
    each rank, the model's summary.

    Args:
        history: what `fit` returned, on Spark or on arrays.
        path: the file; it replaces an older one.

    Raises ConfigError when no epoch has been trained. Source: none.

    >>> zoo_keras.spark.report(model.fit(df, feature_cols="x", label_cols="y"), "report.html")
    """
    if not getattr(history, "history", None):
        raise ConfigError(
            f"report needs what fit returned after at least one epoch. Received: {history!r:.80}. "
            "Call fit first."
        )
    _write(Path(path), "\n".join(_page(history)))


def _write(path: Path, text: str) -> None:
    """Under a temporary name first, so that nobody sees half of it."""
    handle, name = tempfile.mkstemp(prefix=".zoo-keras-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _page(history: Any) -> Iterator[str]:
    model = history.model
    name = html.escape(str(getattr(model, "name", "model")))
    yield f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
    yield f"<style>{_STYLE}</style></head><body><h1>{name}</h1>"
    last = {key: values[-1] for key, values in history.history.items()}
    numbers = ", ".join(f"{html.escape(key)} {_text(value)}" for key, value in last.items())
    yield f"<p>{len(history.epoch)} epochs; after the last one {numbers}.</p>"
    yield "<h2>Curves</h2><div>"
    epochs = [epoch for key in history.history for epoch in history._epochs_of(key)]
    for key in history.history:
        if not key.startswith("val_"):
            yield _curve(history, key, (min(epochs), max(epochs)))
    yield "</div>"
    if getattr(history, "ranks", None):
        yield from _time(history.ranks)
        yield from _waits(history)
    yield from _summary(model)
    yield "</body></html>"


def _text(value: Any) -> str:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiub":
        return html.escape(str(value))
    return f"{float(array):.4g}"


# ---- curves ----------------------------------------------------------------------------------


def _curve(history: Any, name: str, epochs: tuple[int, int]) -> str:
    """One metric from the first epoch to the last: training drawn through, validation dashed."""
    lines = [
        (history._epochs_of(key), _numbers(history.history[key]), dash)
        for key, dash in ((name, ""), (f"val_{name}", "5 4"))
        if key in history.history
    ]
    finite = [v for _, numbers, _ in lines for v in numbers if np.isfinite(v)]
    ends = (min(finite), max(finite)) if finite else (0.0, 1.0)
    drawn = "".join(_line(at, numbers, epochs, ends, dash) for at, numbers, dash in lines)
    low, high = ends
    right, bottom = _WIDE - 10, _HIGH - _EDGE + 20
    return (
        f'<svg width="{_WIDE}" height="{_HIGH}" role="img"><text x="{_EDGE}" y="16">'
        f"{html.escape(name)}{' (dashed: validation)' if len(lines) > 1 else ''}</text>"
        f'<text x="2" y="34">{high:.4g}</text><text x="2" y="{bottom - 16}">{low:.4g}</text>'
        f'<text x="{_EDGE}" y="{bottom}">{epochs[0]}</text>'
        f'<text x="{right}" y="{bottom}" text-anchor="end">epoch {epochs[-1]}</text>{drawn}</svg>'
    )


def _numbers(values: Any) -> list[float]:
    return [float(np.mean(value)) for value in values]


def _line(at: Sequence[int], values: list[float], epochs: tuple[int, int],
          ends: tuple[float, float], dash: str) -> str:  # fmt: skip
    """Values at their epochs; the picture is as wide as `epochs` and as high as `ends`."""
    (first, last), (low, high) = epochs, ends
    across = (_WIDE - _EDGE - 10) / max(1, last - first)
    down = (_HIGH - _EDGE - 30) / ((high - low) or 1.0)
    points = [(_EDGE + (e - first) * across, 30 + (high - v) * down)
              for e, v in zip(at, values, strict=True) if np.isfinite(v)]  # fmt: skip
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="#4e79a7"/>' for x, y in points)
    return (
        f'<polyline points="{text}" fill="none" stroke="#4e79a7" stroke-width="1.5" '
        f'stroke-dasharray="{dash}"/>{dots}'
    )


# ---- time ------------------------------------------------------------------------------------


def _time(ranks: Sequence[dict[str, float]]) -> Iterator[str]:
    """A bar and a row of numbers for each rank."""
    yield "<h2>Where the time went</h2><p>"
    yield "".join(f'<i style="background:{_COLOURS[p]}"></i>{p} &nbsp; ' for p in PARTS) + "</p>"
    longest = max(sum(seconds.values()) for seconds in ranks) or 1.0
    high = 22 * len(ranks)
    yield f'<svg width="{2 * _WIDE}" height="{high}" role="img">'
    for number, seconds in enumerate(ranks):
        yield f'<text x="2" y="{22 * number + 14}">rank {number}</text>'
        x = float(_EDGE)
        for part in PARTS:
            width = seconds[part] / longest * (2 * _WIDE - _EDGE)
            place = f'x="{x:.1f}" y="{22 * number + 2}" width="{width:.1f}" height="17"'
            told = f"<title>{part} {seconds[part]:.2f} s</title>"
            yield f'<rect {place} fill="{_COLOURS[part]}">{told}</rect>'
            x += width
    yield "</svg><table><tr><th>seconds</th>"
    yield "".join(f"<th>{part}</th>" for part in PARTS) + "</tr>"
    for number, seconds in enumerate(ranks):
        cells = "".join(f"<td>{seconds[part]:.2f}</td>" for part in PARTS)
        yield f"<tr><th>rank {number}</th>{cells}</tr>"
    yield "</table>"


def _waits(history: Any) -> Iterator[str]:
    """Which rank waits for which, and who is waited for longest."""
    waits, hosts = getattr(history, "waits", []), getattr(history, "hosts", [])
    ranks = range(len(waits))
    if len(waits) < 2:
        return
    lost = [sum(row.get(rank, 0.0) for row in waits) for rank in ranks]
    slowest = max(ranks, key=lost.__getitem__)
    where = f" on {html.escape(hosts[slowest])}" if slowest < len(hosts) else ""
    yield "<h2>Who waits for whom</h2>"
    told = f"{lost[slowest]:.2f} s of it for rank {slowest}{where}"
    yield f"<p>In steps the ranks have waited {sum(lost):.2f} s for each other, {told}.</p>"
    yield "<table><tr><th>seconds</th>"
    yield "".join(f"<th>for rank {rank}</th>" for rank in ranks) + "</tr>"
    for number, row in enumerate(waits):
        cells = "".join(f"<td>{row.get(rank, 0.0):.2f}</td>" for rank in ranks)
        yield f"<tr><th>rank {number}</th>{cells}</tr>"
    yield "</table>"


def _summary(model: Any) -> Iterator[str]:
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    yield "<h2>Model</h2><pre>" + html.escape("\n".join(lines)) + "</pre>"
