"""`get` takes every word that real Keras 3 takes; `serialize` writes of it what Keras writes."""

from __future__ import annotations

import pytest
from golden.compare import differences
from golden.store import Golden

import zoo_keras as zk

GOLDEN = Golden("identifiers")
WORDS = [(m, word) for m, case in GOLDEN.cases.items() for word in case["words"]]
KNOWN = [(m, word) for m, word in WORDS if GOLDEN.cases[m]["words"][word] is not None]


@pytest.mark.parametrize(("module", "word"), KNOWN)
def test_a_word_gives_the_object_that_keras_gives(module, word):
    zk.utils.clear_session()  # the first of its class has its name without a number
    public, want = getattr(zk, module), GOLDEN.cases[module]["words"][word]
    assert not differences(public.serialize(public.get(word or None)), want)
    assert not differences(public.serialize(public.get(want)), want)
    assert not differences(public.serialize(public.deserialize(want)), want)


@pytest.mark.parametrize("want", GOLDEN.cases[""]["bases"], ids=lambda row: row["class_name"])
def test_a_base_class_is_written_and_read_by_its_name_in_keras(want):
    made = zk.saving.deserialize_keras_object(want)
    assert type(made) is getattr(zk, want["class_name"])
    assert not differences(zk.saving.serialize_keras_object(made), want)
