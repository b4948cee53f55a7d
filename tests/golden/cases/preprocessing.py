"""Layers over columns, with their arguments, what they are adapted to, and inputs, all as JSON.

Images are drawn by the case's name: `image` gives their shape and dtype.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    layer: str
    kwargs: dict[str, Any]
    inputs: Any = None
    dtype: str = "string"
    adapt: Any = None
    image: Any = None


WORDS = [["ant", "bee", ""], ["zebu", "[UNK]", "ant"], ["bee", "yak", "gnu"]]
VOCABULARY = ["ant", "bee", "cat"]
NUMBERS = [[12, 36, 7], [42, -3, 2**40], [0, 36, 12]]
SEEN = [12, 36, 42]
LONG = [["a" * n] for n in (0, 1, 3, 4, 7, 8, 9, 16, 17, 31, 32, 33, 64, 65, 127, 128, 129, 300)]
WIDE = ["\u00e9l\u00e8ve", "\u4f60\u597d", "na\u00efve caf\u00e9"]
TEXTS = ["The cat, the DOG!", "", "a  b\tc\nd", "\u00c9t\u00e9 d'or: 100% (sic)", "dog dog bird"]
# Inputs of the model in the archive: (values, dtype).
ARCHIVE: list[Any] = [
    ([["a"], ["b"], ["b"]], object),
    ([[1, 2], [2, 3], [3, 9]], "int64"),
    ([["x y"], ["y"], ["Z z z z"]], object),
    ([[1.0, 2.0], [3.0, 4.0], [0.5, 9.0]], "float32"),
]

MODES = ("int", "one_hot", "multi_hot", "count")


def _lookups() -> list[Case]:
    found = []
    for name, vocabulary, inputs, dtype, mask in (
        ("StringLookup", VOCABULARY, WORDS, "string", ""),
        ("IntegerLookup", SEEN, NUMBERS, "int64", 0),
    ):
        for mode in MODES:
            base = {"vocabulary": vocabulary, "output_mode": mode}
            found.append(Case(name, base, inputs, dtype))
            found.append(Case(name, base | {"mask_token": mask}, inputs, dtype))
            found.append(Case(name, base | {"num_oov_indices": 3}, inputs, dtype))
        found += [
            Case(name, {"vocabulary": vocabulary, "num_oov_indices": 0}, [vocabulary], dtype),
            Case(name, {"vocabulary": vocabulary, "output_mode": "count", "max_tokens": 7,
                        "pad_to_max_tokens": True}, inputs, dtype),
            Case(name, {"vocabulary": vocabulary, "output_mode": "tf_idf",
                        "idf_weights": [0.5, 0.25, 1.0]}, inputs, dtype),
            Case(name, {"vocabulary": vocabulary, "invert": True, "mask_token": mask},
                 [[0, 1, 2], [3, 4, 9]], "int64"),
            Case(name, {"vocabulary": vocabulary, "output_mode": "one_hot"},
                 [[row[0]] for row in inputs], dtype),
            Case(name, {}, inputs, dtype, adapt=[[v] for v in [*vocabulary, vocabulary[1]]]),
            Case(name, {"max_tokens": 3}, inputs, dtype, adapt=inputs),
            Case(name, {"mask_token": mask, "output_mode": "tf_idf"}, inputs, dtype, adapt=inputs),
            Case(name, {"max_tokens": 9, "pad_to_max_tokens": True, "output_mode": "tf_idf"},
                 inputs, dtype, adapt=inputs),
        ]  # fmt: skip
    found += [
        Case("StringLookup", {"vocabulary": VOCABULARY, "num_oov_indices": 5, "salt": [7, 9]},
             LONG),
        Case("IntegerLookup", {"vocabulary": SEEN, "num_oov_indices": 4,
                               "oov_method": "farmhash"}, NUMBERS, "int64"),
        Case("IntegerLookup", {"vocabulary": SEEN, "num_oov_indices": 4, "salt": 5,
                               "oov_method": "farmhash"}, NUMBERS, "int64"),
    ]  # fmt: skip
    return found


def _hashes() -> list[Case]:
    found = []
    for kwargs in ({}, {"salt": 133}, {"salt": [133, 137]}):
        base = {"num_bins": 1000, **kwargs}
        found += [Case("Hashing", base, LONG), Case("Hashing", base, [WIDE]),
                  Case("Hashing", base, NUMBERS, "int64"),
                  Case("Hashing", base, [[1.9, -2.5, 300.0]], "float32")]  # fmt: skip
    found += [
        Case("Hashing", {"num_bins": 7, "mask_value": ""}, WORDS),
        Case("Hashing", {"num_bins": 7, "mask_value": 12}, NUMBERS, "int64"),
    ]
    found += [Case("Hashing", {"num_bins": 5, "output_mode": mode}, WORDS) for mode in MODES]
    return found


def _crossings() -> list[Case]:
    texts, numbers = ["ant", "bee", "", "a" * 70], [12, -3, 2**40, 0]
    inputs = [texts, numbers]
    columns = [[[v] for v in column] for column in inputs]
    return [
        Case("HashedCrossing", {"num_bins": 1000}, inputs, "columns"),
        Case("HashedCrossing", {"num_bins": 1000}, [numbers, texts[::-1], texts], "columns"),
        Case("HashedCrossing", {"num_bins": 1000}, [numbers, numbers[::-1]], "columns"),
        Case("HashedCrossing", {"num_bins": 1000}, columns, "columns"),
        Case("HashedCrossing", {"num_bins": 5, "output_mode": "one_hot"}, columns, "columns"),
        Case("HashedCrossing", {"num_bins": 5, "output_mode": "one_hot"}, inputs, "columns"),
    ]


def _numbers() -> list[Case]:
    real = [[1.5, -2.0, 0.25], [3.0, 8.0, 100.0], [0.0, -1.0, 7.5]]
    deep = [[[1.0, 2.0], [3.0, 5.0]], [[0.0, 9.0], [4.0, -2.0]], [[7.0, 1.0], [2.0, 2.0]]]
    f = "float32"
    found = [
        Case("Normalization", {}, real, f, adapt=real),
        Case("Normalization", {"axis": None}, real, f, adapt=real),
        Case("Normalization", {"axis": [1, 2]}, deep, f, adapt=deep),
        Case("Normalization", {"axis": 1, "invert": True}, deep, f, adapt=deep),
        Case("Normalization", {"mean": 3.0, "variance": 2.0}, real, f),
        Case("Normalization", {"mean": [1.0, 2.0, 3.0], "variance": [1.0, 4.0, 0.0]}, real, f),
        Case("Discretization", {"num_bins": 3}, real, f, adapt=real),
        Case("Discretization", {"num_bins": 4, "epsilon": 0.3}, real, f, adapt=real),
        Case("Discretization", {"num_bins": 5, "epsilon": 0.01}, real, f,
             adapt=[[float(i * i % 977)] for i in range(500)]),
    ]  # fmt: skip
    for mode in MODES:
        found.append(Case("Discretization", {"bin_boundaries": [0.0, 1.5, 8.0],
                                             "output_mode": mode}, real, f))  # fmt: skip
    for mode in MODES[1:]:
        for ids in ([[0, 1, 1], [3, 2, 0]], [[1], [3]], [2, 0, 2]):
            found.append(Case("CategoryEncoding", {"num_tokens": 4, "output_mode": mode}, ids,
                              "int32"))  # fmt: skip
    return found


def _texts() -> list[Case]:
    base = {"vocabulary": ["the", "dog", "cat", "a", "b"]}
    found = [
        Case("TextVectorization", base | extra, TEXTS)
        for extra in (
            {}, {"output_sequence_length": 2}, {"output_sequence_length": 9},
            {"standardize": None}, {"standardize": "lower"}, {"standardize": "strip_punctuation"},
            {"output_mode": "multi_hot"}, {"output_mode": "count"},
            {"output_mode": "count", "max_tokens": 10, "pad_to_max_tokens": True},
            {"split": None}, {"split": "character", "output_sequence_length": 5},
            {"output_mode": "tf_idf", "idf_weights": [0.5, 1.0, 2.0, 0.25, 3.0]},
        )
    ]  # fmt: skip
    return found + [
        Case("TextVectorization", {}, TEXTS, adapt=TEXTS),
        Case("TextVectorization", {"max_tokens": 6}, TEXTS, adapt=TEXTS),
        Case("TextVectorization", {"ngrams": 2}, TEXTS, adapt=TEXTS),
        Case("TextVectorization", {"ngrams": [1, 3], "output_mode": "count"}, TEXTS, adapt=TEXTS),
        Case("TextVectorization", {"output_mode": "tf_idf"}, TEXTS, adapt=TEXTS),
        Case("TextVectorization", {"split": "character"}, [[t] for t in WIDE], adapt=WIDE),
    ]


def _images() -> list[Case]:
    found = []
    shapes = (([2, 9, 7, 3], "float32"), ([1, 5, 12, 1], "uint8"))
    for image in shapes:
        for interpolation in ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area"):
            for size in ((4, 13), (11, 5)):
                base = {"height": size[0], "width": size[1], "interpolation": interpolation}
                found.append(Case("Resizing", base, image=image))
                if interpolation not in ("nearest", "area"):
                    found.append(Case("Resizing", base | {"antialias": True}, image=image))
        base = {"height": 6, "width": 4}
        found += [
            Case("Resizing", base | {"crop_to_aspect_ratio": True}, image=image),
            Case("Resizing", base | {"pad_to_aspect_ratio": True, "fill_value": 3}, image=image),
            Case("CenterCrop", {"height": 4, "width": 5}, image=image),
            Case("CenterCrop", {"height": 10, "width": 3}, image=image),
        ]
    found.append(Case("Resizing", {"height": 3, "width": 3}, image=([6, 5, 3], "float32")))
    found.append(Case("CenterCrop", {"height": 3, "width": 2}, image=([6, 5, 3], "float32")))
    return found


CASES = [*_lookups(), *_hashes(), *_numbers(), *_texts(), *_images(), *_crossings()]
