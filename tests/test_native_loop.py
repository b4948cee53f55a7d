"""Loops in C: memory and numbers of a damaged one are refused, bits do not depend on threads."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from kernel_check import SETS, instruction_set
from traced import value_and_grad

from zoo_keras import native, ops
from zoo_keras.engine.program import Place, compile_graph, join
from zoo_keras.engine.runner import Runner, run_graph
from zoo_keras.errors import DataError, ProgramError
from zoo_keras.graph import Graph, constant, input_tensor, tracing
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.scan import scan_steps


def loops_program():
    h, x = input_tensor("h", (2, 3)), input_tensor("x", (4, 2, 3))
    with tracing():
        states, rows = scan_steps(
            lambda s, xs: ([ops.tanh(s[0] + xs[0])], [s[0]]), [h], [x], 4)  # fmt: skip
    graph = optimise(Graph([h, x], [*states, *rows]))
    places = {t: Place(t.node.attrs["name"]) for t in (h, x)}
    return compile_graph(graph, places, [Place("out0"), Place("out1")], lambda v: Place("w"))


def loop_damages():
    names = ("BODY", "STATES", "SEQUENCES", "LENGTH", "REVERSE", "ARENA", "SPACES")
    at = {n: getattr(native.lib, f"ZK_LOOP_{n}") for n in names}
    return [
        (at["BODY"], 1, "no body"), (at["BODY"], -1, "no body"), (at["BODY"], np.nan, "no body"),
        (at["STATES"], 9, "too few arguments"), (at["STATES"], 0.5, "bad number"),
        (at["SEQUENCES"], 1e9, "too few arguments"), (at["LENGTH"], -4, "bad number"),
        (at["LENGTH"], 5, "too small"), (at["LENGTH"], 1e300, "bad number"),
        (at["ARENA"], -1, "bad number|scratch"), (at["SPACES"], 99, "no argument"),
        (at["SPACES"], np.inf, "no argument"), (at["REVERSE"], np.nan, "bad number"),
    ]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "message"), loop_damages(), ids=str)
def test_a_damaged_loop_is_refused(place, value, message):
    program = loops_program()
    (row,) = program.instrs[program.instrs["kernel"] == native.lib.ZK_LOOP]
    attrs = program.attrs.copy()
    attrs[row["attr0"] + place] = value
    with pytest.raises(ProgramError, match=f"refused the program: instruction .*({message})"):
        Runner(dataclasses.replace(program, attrs=attrs))


def test_a_loop_refuses_a_body_that_needs_more_memory_or_the_host():
    program = loops_program()
    (body,) = program.bodies
    larger = tuple(n + 64 for n in body.space_bytes)
    instrs = body.instrs.copy()
    instrs["kernel"] = native.lib.ZK_HOST
    hosted = dataclasses.replace(body, instrs=instrs)
    for other, message in ((dataclasses.replace(body, space_bytes=larger), "too small"),
                           (hosted, "needs the host")):  # fmt: skip
        with pytest.raises(ProgramError, match=message):
            Runner(dataclasses.replace(program, bodies=(other,)))


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_states_arrive_after_any_number_of_steps(length):
    def fn(h, x):
        step = lambda s, xs: ([s[1], s[0] + xs[0]], [s[0] * xs[0]])  # noqa: E731
        states, _ = scan_steps(step, [h, h * 2], [x], length)
        return ops.sum(states[0] + states[1] * 10)

    rng = np.random.default_rng(3)
    h, x = (rng.uniform(-1, 1, shape).astype("f4") for shape in ((3, 4), (5, 3, 4)))
    a, b = h, h * 2
    for row in x[:length]:
        a, b = b, a + row
    got, _, _ = value_and_grad(fn, [h, x[:length]], [])
    np.testing.assert_allclose(got, np.sum(a + b * 10), 1e-4)


def test_programs_with_loops_are_joined():
    first, second = loops_program(), loops_program()
    names = {"h": "h2", "x": "out1", "out0": "out2", "out1": "out3"}
    both = Runner(join(first, second, names))
    rng = np.random.default_rng(0)
    spaces = {n: rng.uniform(-1, 1, s).astype("f4") for n, s in
              (("h", (2, 3)), ("h2", (2, 3)), ("x", (4, 2, 3)))}  # fmt: skip
    outs = {"out0": (2, 3), "out1": (4, 2, 3), "out2": (2, 3), "out3": (4, 2, 3)}
    spaces |= {n: np.zeros(s, "f4") for n, s in outs.items()}
    for name, array in spaces.items():
        both.set(name, array)
    both.run()
    want = []
    for h, x in ((spaces["h"], spaces["x"]), (spaces["h2"], spaces["out1"])):
        made = [np.zeros((2, 3), "f4"), np.zeros((4, 2, 3), "f4")]
        run_graph(first, {"h": h, "x": x}, made)
        want += made
    for name, array in zip(outs, want, strict=True):
        np.testing.assert_array_equal(spaces[name], array)


def test_an_error_in_a_step_names_the_loop():
    ids, table = input_tensor("h", (2,), "int32"), constant(np.eye(3, dtype="f4"))
    with tracing():
        _, (rows,) = scan_steps(
            lambda s, xs: ([s[0] + 1], [ops.take(table, s[0], axis=0)]), [ids], [], 4)  # fmt: skip
    graph = optimise(Graph([ids], [rows]))
    program = compile_graph(graph, {ids: Place("h")}, [Place("out0")], lambda v: Place("w"))
    with pytest.raises(DataError, match="scan: "):
        run_graph(program, {"h": np.zeros(2, "int32")}, [np.zeros((4, 2, 3), "f4")])


@pytest.mark.parametrize(("planned", "used"), [(a, b) for a in SETS for b in SETS])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_loop_gives_the_same_bits_with_any_threads_wherever_it_was_compiled(
    planned, used, threads
):
    h, x, w = (input_tensor(n, s) for n, s in
               (("h", (40, 33)), ("x", (3, 40, 33)), ("w", (33, 33))))  # fmt: skip
    rng = np.random.default_rng(1)
    feeds = {t.node.attrs["name"]: rng.uniform(-1, 1, t.shape).astype("f4") for t in (h, x, w)}

    def result(count, isa):
        with tracing():
            (last,), _ = scan_steps(
                lambda s, xs: ([ops.tanh(ops.matmul(s[0], w) + xs[0])], []), [h], [x], 3
            )
        places = {t: Place(t.node.attrs["name"]) for t in (h, x, w)}
        with instruction_set(isa), native.using_threads(count):
            program = compile_graph(
                optimise(Graph([h, x, w], [last])), places, [Place("out0")], lambda v: Place("w")
            )
        out = np.zeros(last.shape, "f4")
        with instruction_set(used):
            run_graph(pickle.loads(pickle.dumps(program)), feeds, [out])
        return out

    assert result(threads, planned).tobytes() == result(1, used).tobytes()
