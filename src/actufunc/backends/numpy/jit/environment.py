"""Digest of all that the machine code of a kernel depends on, besides the kernel's own text."""

from __future__ import annotations

import functools
import hashlib
import importlib
import marshal
import platform
import re
import sys
from importlib.util import find_spec, resolve_name
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

# Modules that generate, tune and compile kernels. Their imports, and those of these, are found in their sources.
_NUMPY = __package__.rpartition(".")[0]
_ROOTS = tuple(f"{_NUMPY}.{name}" for name in ("jit.kernels", "jit.intrinsics", "numba_extension.functions"))

_PACKAGE = __name__.partition(".")[0]
_FOR_TYPES = re.compile(rb"^if TYPE_CHECKING:\n(?:[ \t]+.*\n|\n)*", re.MULTILINE)
_IMPORT = re.compile(rb"^[ \t]*from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|.*)", re.MULTILINE)
_NAME = re.compile(rb"\w+")

# Settings of Numba that change what it compiles.
_SETTINGS = ("ENABLE_AVX", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT", "BOUNDSCHECK")


@functools.cache
def digest() -> bytes:
    """Return a digest of sources, versions, settings and the processor.

    Where machines share a directory (a home on a cluster), each processor has files of its own.
    """
    found = hashlib.blake2b(digest_size=16)
    for name, content in sorted(sources().items()):
        found.update(repr((name, len(content))).encode() + content)
    found.update(repr((_versions(), _processor())).encode())
    return found.digest()


def sources() -> dict[str, bytes]:
    """Return the source, by name, of every module of this package that machine code depends on.

    The loader gives it: modules need not be files. A frozen program has no sources; there the code counts.
    """
    found: dict[str, bytes] = {}
    waiting = list(_ROOTS)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        spec = find_spec(name)
        if spec is None:
            continue
        found[name] = content = _content(spec)
        package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
        for module, names in _IMPORT.findall(_FOR_TYPES.sub(b"", content)):
            base = resolve_name(module.decode(), package)
            if base.partition(".")[0] != _PACKAGE or base == _PACKAGE:
                continue
            waiting.append(base)
            if getattr(find_spec(base), "submodule_search_locations", None) is not None:
                waiting += [f"{base}.{each.decode()}" for each in _NAME.findall(names)]
    return found


def _content(spec: ModuleSpec) -> bytes:
    loader = spec.loader
    try:
        return loader.get_data(spec.origin)  # type: ignore[union-attr, no-any-return]
    except (AttributeError, OSError):
        return marshal.dumps(loader.get_code(spec.name))  # type: ignore[union-attr]


def _versions() -> list[str]:
    import llvmlite  # noqa: PLC0415
    import numba  # noqa: PLC0415

    package = importlib.import_module(_PACKAGE)
    return [*(module.__version__ for module in (package, numba, llvmlite, np)), sys.version, platform.machine()]


def _processor() -> list[object]:
    from llvmlite import binding  # noqa: PLC0415
    from numba import config  # noqa: PLC0415

    features = config.CPU_FEATURES
    if features is None:
        try:
            features = binding.get_host_cpu_features().flatten()
        except RuntimeError:  # LLVM cannot tell on every platform
            features = ""
    name = config.CPU_NAME or binding.get_host_cpu_name()
    settings = [getattr(config, setting, None) for setting in _SETTINGS]
    return [binding.get_process_triple(), name, features, *map(str, settings)]
