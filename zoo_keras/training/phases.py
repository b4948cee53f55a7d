"""A step that gives gradients to several optimizers, or has layers that share statistics, cut where
ranks meet.

In: a step traced for a rank's part of a batch. Out: a Program for each phase. Between two phases
ranks add up the gradients that the next call of an optimizer takes, after which each makes the
same update, or the statistics that a layer shares. What a phase computes and a later one reads is
carried from one to the other, unless a Variable holds it. Knows no ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.engine import spaces
from zoo_keras.engine.build import Builder
from zoo_keras.engine.program import Place, Program
from zoo_keras.errors import UnsupportedError
from zoo_keras.graph import (
    CONSTANT,
    INPUT,
    PARAMETER,
    Node,
    Tensor,
    Trace,
    input_tensor,
    topological,
)
from zoo_keras.passes.rewrite import with_inputs
from zoo_keras.primitives.op import as_tensors, registry
from zoo_keras.training.interface import TracedModel

Write = tuple[Any, Tensor]  # a Variable and its new value
_LEAVES = (CONSTANT, INPUT, PARAMETER)
_NEVER = 1 << 30


class Exchange(NamedTuple):
    """One call of an optimizer's `apply`, or (without an optimizer) of `Sharing.mean`.

    Attributes:
        grads: of this rank's rows, as they count in the sum. sums: what stands for those sums.
    """

    optimizer: Any
    variables: list[Any]
    grads: list[Tensor]
    sums: list[Tensor]

    @property
    def size(self) -> int:
        """How many numbers the ranks exchange."""
        return sum(t.size for t in self.grads)

    def places(self, space: str) -> list[Place]:
        """Where the gradient of each Variable lies in a space."""
        ends = np.cumsum([0, *[t.size for t in self.grads]])
        return [Place(space, 4 * int(end)) for end in ends[:-1]]


class Sharing:
    """Stands between a traced step and its optimizers (`Trace.exchange`): notes what each call of
    `apply` is given, hands it the sums of all ranks instead, and notes what is assigned between.

    Attributes:
        writes: for each phase the Variables assigned in it, and their values at its end.
        logs: numbers that the step returns, as they count in the mean over the global batch.
    """

    def __init__(self, model: TracedModel, trace: Trace) -> None:
        self.model, self.trace = model, trace
        self.share = input_tensor(spaces.SHARE, ())
        self.exchanges: list[Exchange] = []
        self.writes: list[list[Write]] = []
        self.logs: dict[str, Tensor] = {}
        self._seen: dict[int, Tensor] = {}

    def __call__(self, optimizer: Any, grads: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        self.end_phase()
        if wrong := [v.path for v in variables if v.dtype != "float32"]:
            raise UnsupportedError(
                f'Model "{self.model.name}": ranks share gradients of float32 weights. Received: '
                f"{wrong[:4]} of another dtype. Make them float32."
            )
        mine = [as_tensors([gradient * self.share])[0] for gradient in grads]
        sums = [input_tensor(spaces.SUMS, v.shape) for v in variables]
        self.exchanges.append(Exchange(optimizer, list(variables), mine, sums))
        return sums

    def mean(self, mine: Tensor) -> Tensor:
        """The mean over the rows of all ranks of what is a mean over this rank's rows. So are the
        gradients: that of `mine` is the mean of those that the ranks have by the result."""
        self.end_phase()
        result = input_tensor(spaces.SUMS, mine.shape)
        self.exchanges.append(Exchange(None, [], [mine * self.share], [result]))

        def back(gradients: Sequence[Tensor]) -> list[Tensor]:
            return [self.mean(gradients[0])]

        found: Tensor = registry["own_gradient"](result, mine, rule=back, count=1)
        return found

    def end_phase(self) -> None:
        """Note what has been assigned since the last phase."""
        updates = self.trace.updates
        self.writes.append([w for key, w in updates.items() if self._seen.get(key) is not w[1]])
        self._seen = {key: tensor for key, (_, tensor) in updates.items()}

    def optimizers(self) -> list[Any]:
        """Those that the step has called, each once."""
        found = [e.optimizer for e in self.exchanges if e.optimizer is not None]
        return list({id(optimizer): optimizer for optimizer in found}.values())

    def alike(self) -> set[int]:
        """Ids of the Variables that all ranks change alike: weights, and those of optimizers."""
        found = [v for o in self.optimizers() for v in (*o.variables, *o.rates())]
        return {id(v) for v in (*self.model.trainable_variables, *found)}

    def is_plain(self) -> bool:
        """Whether the step gives all gradients to the model's optimizer, once, and reads no weight
        after that: then ranks cut the update among them, as in any fit."""
        wanted = {id(v) for v in self.model.trainable_variables}
        given = [(e.optimizer, {id(v) for v in e.variables}) for e in self.exchanges]
        if given != [(self.model.optimizer, wanted)]:
            return False
        alike = self.alike()
        rest = topological(t.node for v, t in self.trace.updates.values() if id(v) not in alike)
        return not set(rest) & {t.node for t in self.exchanges[0].sums}

    def of_a_rank(self) -> set[Node]:
        """The nodes that depend on a rank's own rows other than by what the ranks have summed."""
        shared = {t.node for e in self.exchanges for t in e.sums}
        found: set[Node] = set()
        for node in topological(t.node for each in self.writes for _, t in each):
            own = node.op is INPUT and node not in shared
            if own or any(t.node in found for t in node.inputs):
                found.add(node)
        return found


class Phases:
    """The phases of a step: phase i ends where the gradients of exchange i are computed.

    Args:
        rows: whether there are rows; else only what all ranks change alike is computed, and no
            gradient.
    """

    def __init__(self, sharing: Sharing, rows: bool = True) -> None:
        self._exchanges = sharing.exchanges
        self._sums = {t: i + 1 for i, e in enumerate(self._exchanges) for t in e.sums}
        self._writes = sharing.writes if rows else _alike(sharing)
        self._grads = [e.grads[::-1] if rows else [] for e in self._exchanges] + [[]]
        self._logs = list(sharing.logs.values()) if rows else []
        self._count = len(self._writes)
        results = (t for phase in range(self._count) for t in self._results(phase))
        self._nodes = topological(tensor.node for tensor in results)
        self._homes = self._lifetimes()
        self._when = self._schedule()
        self._carried: dict[Tensor, int] = {}
        for tensor, phase in self._reads():
            if not self._is_free(tensor) and self._home(tensor, phase) is None:
                self._carried.setdefault(tensor, len(self._carried))

    def _results(self, phase: int) -> list[Tensor]:
        found = [*[tensor for _, tensor in self._writes[phase]], *self._grads[phase]]
        return [*found, *self._logs] if phase == self._count - 1 else found

    # ---- when to compute what ------------------------------------------------------------------

    def _lifetimes(self) -> dict[Tensor, tuple[int, int, Any]]:
        """(first phase, last phase, Variable) of each tensor that a Variable holds: in these phases
        it can be read there."""
        found: dict[Tensor, tuple[int, int, Any]] = {}
        ends: dict[int, int] = {}
        for phase in reversed(range(self._count)):
            for variable, tensor in self._writes[phase]:
                found[tensor] = phase + 1, ends.get(id(variable), _NEVER), variable
            ends.update({id(variable): phase for variable, _ in self._writes[phase]})
        for node in self._nodes:
            if node.op is PARAMETER:
                variable = node.attrs["variable"]
                found[node.outputs[0]] = 0, ends.get(id(variable), _NEVER), variable
        return found

    def _schedule(self) -> dict[Node, int]:
        """The phase of each node."""
        first: dict[Node, int] = {}  # when the sums that it needs are there
        for node in self._nodes:
            own = [self._sums.get(t, 0) for t in node.outputs]
            first[node] = max(own + [first[t.node] for t in node.inputs])
        when = self._latest(first)
        for node in self._nodes:  # but with the nodes that it reads: then these need not be carried
            made = [when[t.node] for t in node.inputs if t.node.op not in _LEAVES]
            if made:
                when[node] = min(when[node], max(first[node], *made))
            for tensor in node.inputs:
                if tensor.node.op in _LEAVES:
                    when[tensor.node] = min(when[tensor.node], when[node])
        return when

    def _latest(self, first: dict[Node, int]) -> dict[Node, int]:
        """As late as its readers allow, but while the Variables that it reads still hold what they
        did."""
        when = dict.fromkeys(self._nodes, _NEVER)
        for phase in range(self._count):
            for tensor in self._results(phase):
                when[tensor.node] = min(when[tensor.node], phase)
        for node in reversed(self._nodes):
            read = node.outputs if node.op is PARAMETER else node.inputs
            last = min((self._homes[t][1] for t in read if t in self._homes), default=_NEVER)
            when[node] = max(first[node], min(when[node], last))
            for tensor in node.inputs:
                when[tensor.node] = min(when[tensor.node], when[node])
        return when

    def _reads(self) -> list[tuple[Tensor, int]]:
        """The tensors that a phase reads and an earlier one computes, with the phase."""
        found = [(t, self._when[node]) for node in self._nodes for t in node.inputs]
        for phase in range(self._count):
            found += [(t, phase) for t in self._results(phase)]
        return [(t, phase) for t, phase in found if self._when[t.node] < phase]

    def _is_free(self, tensor: Tensor) -> bool:
        """Whether every phase has it: a constant, or part of the batch."""
        return tensor.node.op is CONSTANT or (tensor.node.op is INPUT and tensor not in self._sums)

    def _home(self, tensor: Tensor, phase: int) -> Any:
        """The Variable that holds an earlier tensor when a phase begins, or None."""
        first, last, variable = self._homes.get(tensor, (0, -1, None))
        return variable if first <= phase <= last else None

    # ---- programs ------------------------------------------------------------------------------

    def programs(
        self, place: Callable[[Any], Place], feeds: dict[Tensor, str]
    ) -> list[Program | None]:
        """One for each phase; None where there is nothing to do.

        Args:
            place: of a Variable. feeds: the spaces of the batch.
        """
        return [self._program(phase, place, feeds) for phase in range(self._count)]

    def _program(
        self, phase: int, place: Callable[[Any], Place], feeds: dict[Tensor, str]
    ) -> Program | None:
        build = Builder(place)
        read = self._reader(phase, build)
        for tensor, number in self._carried.items():
            if self._when[tensor.node] == phase:
                build.write([read(tensor)], [spaces.CARRY(number)])
        if grads := self._grads[phase]:
            spots = self._exchanges[phase].places(spaces.GRADS)[::-1]
            build.write([read(t) for t in grads], spots)
        build.assign((v, read(t)) for v, t in self._writes[phase])
        if phase == self._count - 1:
            build.write([read(t) for t in self._logs], log_places(self._logs))
        if not build.outputs:
            return None
        for tensor, space in feeds.items():
            build.take(tensor, space)
        if phase:
            shared = self._exchanges[phase - 1]
            for tensor, spot in zip(shared.sums, shared.places(spaces.SUMS), strict=True):
                build.take(tensor, spot)
        return build.program()

    def _reader(self, phase: int, build: Builder) -> Callable[[Tensor], Tensor]:
        """What stands in this phase for a tensor of the whole step."""
        known: dict[Tensor, Tensor] = {}

        def read(tensor: Tensor) -> Tensor:
            if tensor not in known:
                known[tensor] = self._fed(tensor, phase, build)
            return known[tensor]

        for node in self._nodes:
            if self._when[node] == phase:
                new = with_inputs(node, tuple([read(t) for t in node.inputs]))
                known.update(zip(node.outputs, new.outputs, strict=True))
        return read

    def _fed(self, tensor: Tensor, phase: int, build: Builder) -> Tensor:
        """A tensor of an earlier phase, read where it is."""
        home = self._home(tensor, phase)
        if self._is_free(tensor) or (home is not None and tensor.node.op is PARAMETER):
            return tensor
        if home is None:
            place = Place(spaces.CARRY(self._carried[tensor]))
        else:
            place = build.variable(home)
        return build.feed(place, tensor.shape, tensor.dtype)


def log_places(logs: Sequence[Tensor]) -> list[Place]:
    """Where a step leaves its logs."""
    return [Place(spaces.LOGS, 4 * i) for i in range(len(logs))]


def _alike(sharing: Sharing) -> list[list[Write]]:
    """What a rank without rows writes in each phase."""
    alike, own = sharing.alike(), sharing.of_a_rank()
    return [[(v, t) for v, t in each if id(v) in alike and t.node not in own]
            for each in sharing.writes]  # fmt: skip
