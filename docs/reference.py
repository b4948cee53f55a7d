"""The reference of the site, as a hook of mkdocs: one page for each public module.

In: zoo_keras as it is imported, for many public names are made by tables and found when they are
asked for. Out: below build/reference a package of the same names that holds signatures and
docstrings only, which mkdocstrings reads; the pages, in memory; their place in the navigation.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

STUBS = Path(__file__).parent.parent / "build" / "reference"
# Public, though not reached from zoo_keras.__all__: these import Spark.
APART = ("spark.cluster", "spark.images", "spark.ml", "nnframes")
# Of Keras' modules those that only group names of ops.
GROUPS = ("ops.image", "ops.linalg", "ops.nn", "ops.numpy")
PAGES: dict[str, str] = {}  # the markdown of each public module


def public_modules(module: types.ModuleType) -> Iterator[types.ModuleType]:
    """The module and the modules of zoo_keras that its __all__ names, all the way down."""
    yield module
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if inspect.ismodule(value) and value.__name__.startswith(f"{module.__name__}."):
            yield from public_modules(value)


def modules() -> dict[str, types.ModuleType]:
    """Every public module by its name: short names first, Keras 2's `backend` last."""
    found = {m.__name__: m for m in public_modules(import_module("zoo_keras"))}
    found |= {f"zoo_keras.{name}": import_module(f"zoo_keras.{name}") for name in APART + GROUPS}
    return {name: found[name] for name in sorted(found, key=_place)}


def _place(name: str) -> tuple[bool, int, str]:
    return name == "zoo_keras.backend", name.count("."), name


def names(module: types.ModuleType) -> dict[str, Any]:
    """The functions and classes of its __all__; without one, those defined in it."""
    every = getattr(module, "__all__", None)
    if every is None:
        every = [
            name for name, value in vars(module).items()
            if name[0] != "_" and getattr(value, "__module__", None) == module.__name__
        ]  # fmt: skip
    found = {name: getattr(module, name) for name in every}
    return {name: value for name, value in found.items() if callable(value)}


class Reference:
    """Where each public object is described: at the shortest of its paths."""

    def __init__(self) -> None:
        self.homes: dict[int, str] = {}
        self.own: dict[str, dict[str, Any]] = {}
        self.others: dict[str, dict[str, str]] = {}
        for path, module in modules().items():
            self.own[path], self.others[path] = {}, {}
            for name, value in names(module).items():
                home = self.homes.setdefault(id(value), f"{path}.{name}")
                if home == f"{path}.{name}":
                    self.own[path][name] = value
                else:
                    self.others[path][name] = home

    def stub(self, path: str) -> str:
        """The module's docstring, and its own functions and classes without their code."""
        module = import_module(path)
        parts = [literal(inspect.getdoc(module) or "")]
        for name, value in self.own[path].items():
            parts.append(
                self.class_(name, value) if inspect.isclass(value) else function(name, value)
            )
        return "\n\n".join(parts) + "\n"

    def class_(self, name: str, value: type) -> str:
        public = self.public_bases(value)
        nearest = [b for b in public if not any(b in other.__mro__[1:] for other in public)]
        bases = [self.homes[id(base)] for base in nearest]
        head = f"class {name}({', '.join(bases)}):" if bases else f"class {name}:"
        parts = [head, "    " + literal(inspect.getdoc(value) or "")]
        parts.append(function("__init__", value, method=True))
        for method, found in self.methods(value).items():
            if found.__doc__:  # others do what the base says
                parts.append(function(method, found, method=True))
        return "\n".join(parts)

    def public_bases(self, value: type) -> list[type]:
        return [base for base in value.__mro__[1:] if id(base) in self.homes]

    def methods(self, value: type) -> dict[str, Any]:
        """Public methods and properties that no public base has: its own, and those of bases
        that are only here to be inherited."""
        elsewhere = {each for base in self.public_bases(value) for each in base.__mro__}
        found: dict[str, Any] = {}
        for base in value.__mro__:
            if base.__module__.startswith("zoo_keras") and base not in elsewhere:
                for name, member in vars(base).items():
                    if name[0] != "_" and is_code(member):
                        found.setdefault(name, member)
        return found

    def undocumented(self) -> Iterator[str]:
        """Modules, names, and methods (their bases' docstrings count) without a docstring."""
        for path, own in self.own.items():
            if not inspect.getdoc(import_module(path)):
                yield path
            for name, value in own.items():
                if not value.__doc__:
                    yield f"{path}.{name}"
                methods = self.methods(value) if inspect.isclass(value) else {}
                for method in methods:
                    if not inspect.getdoc(getattr(value, method)):
                        yield f"{path}.{name}.{method}"

    def page(self, path: str) -> str:
        """Markdown: the directive for mkdocstrings, and links for what has its home elsewhere."""
        text = f"# {path}\n\n::: {path}\n"
        if self.others[path]:
            links = [f"[`{name}`][{home}]" for name, home in self.others[path].items()]
            text += f"\n## Also here\n\n{', '.join(links)}\n"
        return text


def is_code(member: Any) -> bool:
    """Whether a class member is a method or a property."""
    return inspect.isroutine(getattr(member, "__func__", member)) or isinstance(member, property)


def function(name: str, value: Any, method: bool = False) -> str:
    """`def name(...)` with its docstring."""
    space = "    " if method else ""
    lines = [f"{space}def {name}{signature(value, method)}:"]
    if isinstance(value, property):
        lines.insert(0, f"{space}@property")
    elif isinstance(value, (classmethod, staticmethod)):
        lines.insert(0, f"{space}@{type(value).__name__}")
    doc = "" if name == "__init__" else inspect.getdoc(value) or ""
    return "\n".join([*lines, f"{space}    {literal(doc)}" if doc else f"{space}    ..."])


def signature(value: Any, method: bool) -> str:
    """The parameters in brackets and what comes back, as far as Python can say and parse it."""
    if isinstance(value, property):
        return "(self)"
    try:
        found = inspect.signature(getattr(value, "__func__", value))
    except (TypeError, ValueError):
        return "(self, *args, **kwargs)" if method else "(*args, **kwargs)"
    parameters = [plain(p) for p in found.parameters.values()]
    if inspect.isclass(value):
        self_ = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        parameters = [self_.replace(kind=_first_kind(parameters)), *parameters]
    returns = annotation(found.return_annotation) if not inspect.isclass(value) else found.empty
    return str(found.replace(parameters=parameters, return_annotation=returns))


def _first_kind(parameters: list[inspect.Parameter]) -> Any:
    only = inspect.Parameter.POSITIONAL_ONLY
    first = parameters[0].kind if parameters else None
    return only if first is only else inspect.Parameter.POSITIONAL_OR_KEYWORD


class Written(str):
    """Text that shows itself as it is in a signature."""

    def __repr__(self) -> str:
        return str(self)


def plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter with a default and an annotation that are Python."""
    default = parameter.default
    if default is not parameter.empty:
        default = Written(repr(default) if parses(repr(default)) else "...")
    return parameter.replace(default=default, annotation=annotation(parameter.annotation))


def annotation(value: Any) -> Any:
    text = value if isinstance(value, str) else inspect.formatannotation(value)
    nothing = value is inspect.Parameter.empty or text == "Any" or not parses(text)
    return inspect.Parameter.empty if nothing else Written(text)


def parses(text: str) -> bool:
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    return True


def literal(text: str) -> str:
    """A string literal that is a docstring in markdown: an example is a block of code, and what is
    no code has no signs that markdown would read."""
    parts = []
    for block in text.split("\n\n"):
        before, found, example = block.partition(">>> ")
        if found and not before.strip():
            space = before.strip("\n")
            parts.append(f"{space}```pycon\n{space}>>> {example}\n{space}```")
        else:
            parts.append(re.sub(r"(`+[^`]*`+)|([*\[<])", _escaped, before + found + example))
    return repr("\n\n".join(parts))


def _escaped(found: re.Match[str]) -> str:
    return found[1] or f"\\{found[2]}"


# ---- hooks of mkdocs -----------------------------------------------------------------------------


def on_startup(command: str, dirty: bool) -> None:
    """Writes the package of signatures: it must be there when mkdocstrings looks for paths."""
    del command, dirty
    reference = Reference()
    shutil.rmtree(STUBS, ignore_errors=True)
    for path in reference.own:
        below = [each for each in reference.own if each.startswith(f"{path}.")]
        place = STUBS.joinpath(*path.split("."))
        file = place / "__init__.py" if below else place.with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(reference.stub(path))
    PAGES.update({path: reference.page(path) for path in sorted(reference.own)})


def on_config(config: Any) -> Any:
    """Appends the reference to the navigation."""
    config.nav.append({"API reference": [{path: f"reference/{path}.md"} for path in PAGES]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages of the reference."""
    from mkdocs.structure.files import File

    for path, text in PAGES.items():
        files.append(File.generated(config, f"reference/{path}.md", content=text))
    return files
