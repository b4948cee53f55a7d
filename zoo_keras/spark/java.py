"""Our Java classes in a running session: known to its executors and to the driver, and called.

In: a SparkContext. Out: what public static methods of zookeras.* return. Knows no bridge.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo_keras.errors import ConfigError

JAR = Path(__file__).with_name("zoo_bridge.jar")
_loaders: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # by gateway
_methods: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()  # the same
_found: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()  # by gateway
_installed: weakref.WeakSet[Any] = weakref.WeakSet()  # SparkContexts


def install(sc: Any) -> Any:
    """Makes the bridge's classes known to the executors of a running SparkContext and to this
    driver. Needs no `spark.jars` and no restart. Returns the driver's class loader.

    Raises:
        ConfigError: the jar is not in the installed package.
    """
    if not JAR.exists():
        raise ConfigError(
            f"The Java bridge is missing from this installation of zoo_keras. Received: no "
            f"file {JAR}. Install the wheel, or run `python csrc/build.py --inplace --jar-only`."
        )
    if sc not in _installed:
        sc._jsc.addJar(str(JAR))
        _installed.add(sc)
    gateway = sc._gateway
    if gateway not in _loaders:  # one for all sessions of a JVM: py4j caches methods by class name
        _loaders[gateway] = _class_loader(sc)
    return _loaders[gateway]


def _class_loader(sc: Any) -> Any:
    urls = sc._gateway.new_array(sc._jvm.java.net.URL, 1)
    urls[0] = sc._jvm.java.io.File(str(JAR)).toURI().toURL()
    return sc._jvm.java.net.URLClassLoader(urls, sc._jsc.sc().getClass().getClassLoader())


def call_java(sc: Any, name: str, method: str, *arguments: Any) -> Any:
    """Calls a public static method of a bridge class in the driver's JVM."""
    values = _array(sc, "Object", arguments)
    return _method(sc, name, method, arguments).invoke(None, values)


def new_java(sc: Any, name: str, *arguments: bool) -> Any:
    """A new object of a bridge class."""
    types = _array(sc, "Class", [sc._jvm.java.lang.Boolean.TYPE for _ in arguments])
    made = install(sc).loadClass(f"zookeras.{name}").getConstructor(types)
    return made.newInstance(_array(sc, "Object", arguments))


def _method(sc: Any, name: str, method: str, arguments: Sequence[Any]) -> Any:
    """The Method, found once: every question to the JVM costs a part of a millisecond."""
    java, found = install(sc), _found.setdefault(sc._gateway, {})
    if (name, method) not in found:
        types = _array(sc, "Class", [argument.getClass() for argument in arguments])
        found[name, method] = java.loadClass(f"zookeras.{name}").getMethod(method, types)
    return found[name, method]


def _array(sc: Any, kind: str, values: Sequence[Any]) -> Any:
    """An array of that class of java.lang."""
    found = _found.setdefault(sc._gateway, {})
    if kind not in found:
        found[kind] = getattr(sc._jvm.java.lang, kind)
    array = sc._gateway.new_array(found[kind], len(values))
    for i, value in enumerate(values):
        array[i] = value
    return array
