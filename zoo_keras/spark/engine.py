"""Which engine a process runs, and whether programs and results of two of them go together.

In: this process's C library. Out: an Engine, plain data that travels with every plan, and errors
that name the part which differs. Nothing is set here. Ranks of a fit and scoring workers both ask.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

from zoo_keras import __version__, gemm, native
from zoo_keras.errors import ClusterError
from zoo_keras.primitives.tile_choice import inference_dtype


class Engine(NamedTuple):
    """What decides whether a program means the same, and gives the same bits, elsewhere.

    Attributes:
        version: of zoo_keras.
        build: digest of the C sources and compiler flags.
        compiler: version of the compiler that built them.
        kernels: digest of the tables by which programs speak to C: kernel and tile names, places
            of attributes, codes.
        isa: instruction set; between avx512 and the others results differ by rounding. "amx" gives
            the bits of avx512, but for programs that say so: see `Program.wants_tiles`.
        gemm: who multiplies matrices in programs made now, "own" or "mkl".
        inference: dtype to which programs made now for prediction round the inputs of products.
    """

    version: str
    build: str
    compiler: str
    kernels: str
    isa: str
    gemm: str
    inference: str


# What must be equal wherever a program runs; the instruction set need not be.
_PROGRAM = ("version", "build", "compiler", "kernels")


def this_engine() -> Engine:
    """The engine of this process."""
    shared = [f"{name}={number}" for name, number in native.constants().items()]
    names = [sorted(table, key=table.__getitem__) for table in (native.KERNELS, native.TILES)]
    tables = ",".join([*names[0], *names[1], *shared])
    return Engine(
        version=__version__,
        build=native.build(),
        compiler=native.compiler(),
        kernels=f"{zlib.crc32(tables.encode()):08x}",
        isa=native.instruction_set(),
        gemm="mkl" if gemm.multiplier() == native.lib.ZK_MKL else "own",
        inference=inference_dtype(),
    )


def check_engine(driver: Engine) -> None:
    """ClusterError unless programs that the driver made run here as it made them."""
    here = this_engine()
    parts = [n for n in _PROGRAM if getattr(here, n) != getattr(driver, n)]
    if parts:
        values = [f"{n} {getattr(driver, n)} there, {getattr(here, n)} here" for n in parts]
        raise ClusterError(
            f"The driver and this executor have different engines of zoo_keras: they differ in "
            f"{', '.join(parts)}. Received: {'; '.join(values)}. Install the same wheel on all "
            "machines."
        )
    if driver.gemm == "mkl" and not gemm.load_mkl():
        raise ClusterError(
            "The driver chose MKL for matrix products (config.set_gemm('mkl')), which this "
            f"executor cannot load. Received: library {gemm.find_mkl()}. Install mkl-service on "
            "every machine, or call config.set_gemm('auto') on the driver."
        )


def check_inference(driver: Engine) -> None:
    """ClusterError when the driver predicts in bfloat16 with AMX, and this executor has none."""
    if driver.inference == "bfloat16" and driver.isa == "amx" and not native.has_tiles():
        raise ClusterError(
            "The driver predicts in bfloat16 (config.set_inference_dtype) in the tile registers of "
            "AMX, which this executor lacks, so that its results would differ. Received: "
            f"instruction set {native.instruction_set()}, AMX {native.amx_state()}. Score on "
            "machines with AMX only, or call config.set_inference_dtype('float32')."
        )


def check_ranks(isas: Sequence[str]) -> None:
    """ClusterError unless all ranks of a fit compute with one instruction set (isas: by rank).

    The driver's own does not count: it only makes programs.
    """
    isas = ["avx512" if isa == "amx" else isa for isa in isas]
    if len(set(isas)) > 1:
        found = {isa: [rank for rank, other in enumerate(isas) if other == isa] for isa in isas}
        ranks = "; ".join(f"{isa} on ranks {ranks}" for isa, ranks in found.items())
        narrowest = next(isa for isa in (*native.ISAS, isas[0]) if isa in found)
        raise ClusterError(
            "The executors of this fit have different instruction sets, so that a rank's results "
            f"would differ by rounding from another's. Received: {ranks}. Pin one that all of them "
            f"have in Spark's configuration: "
            f"spark.executorEnv.{native.ISA_VARIABLE}={narrowest}."
        )
