"""Each kernel is compiled once, in threads and processes; the cache on disk may be broken, read-only or full."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from llvmlite import binding
from programs import run

from actufunc import activation
from actufunc.backends.numpy.jit import compiler, kernels, store
from actufunc.backends.numpy.jit.machine_code import MachineCode, undefined
from actufunc.formula import exp, tanh

if TYPE_CHECKING:
    from pathlib import Path

X = np.linspace(-3, 3, 1000)

# Counts the kernels that are compiled and kept on disk, and those that are taken from there. Prints both.
COUNTED = """
    import atexit
    from actufunc.backends.numpy.jit import store
    counts = {"saved": 0, "loaded": 0}
    write, load = store._write, store.load
    def counted_write(*arguments):
        write(*arguments)
        counts["saved"] += 1
    def counted_load(*arguments):
        found = load(*arguments)
        counts["loaded"] += found is not None
        return found
    store._write, store.load = counted_write, counted_load
    atexit.register(lambda: print(counts["saved"], counts["loaded"]))
"""

USE = """
    import numpy, actufunc
    x = numpy.linspace(-5, 5, 1000)
    for function, reference in (
        (actufunc.sigmoid, lambda x: 1 / (1 + numpy.exp(-x))),
        (actufunc.tanh, numpy.tanh),
        (actufunc.softmax, lambda x: numpy.exp(x) / numpy.exp(x).sum()),
    ):
        numpy.testing.assert_allclose(function(x), reference(x), rtol=1e-13)
"""
KERNELS = "3"  # in the program above


def use(directory: Path, *before: str, **environment: str) -> list[str]:
    """Run a program with a cache directory; return how many kernels it saved there and how many it loaded."""
    return run(COUNTED, *before, USE, NUMBA_CACHE_DIR=str(directory), **environment).split()


def files(directory: Path) -> list[Path]:
    """Return the files of a cache directory."""
    return sorted(path for path in directory.rglob("*") if path.is_file())


def test_many_threads_compile_each_kernel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    really = compiler._load_or_build
    monkeypatch.setattr(
        compiler, "_load_or_build", lambda digest, *others: (compiled.append(digest), really(digest, *others))[1]
    )
    functions = [activation(lambda x, n=n: tanh(x * n) * exp(-x * x)) for n in (2.25, 3.25, 4.25, 5.25)]
    start = threading.Barrier(12)
    results: list[list[Any]] = []

    def work(first: int) -> None:
        start.wait()
        order = [*functions[first:], *functions[:first]]
        found = {id(f): (f(X), f.grad(X.astype(np.float32)), f.vjp(X, X)) for f in order}
        results.append([found[id(f)] for f in functions])

    threads = [threading.Thread(target=work, args=(n % 4,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(compiled) == len(set(compiled)) == 4 * 3
    assert len(results) == 12
    for result in results:
        for some, first in zip(result, results[0], strict=True):
            for value, expected in zip(some, first, strict=True):
                np.testing.assert_array_equal(value, expected)


def test_a_broken_cache_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert use(tmp_path) == [KERNELS, "0"]
    paths = files(tmp_path)
    whole = [path.read_bytes() for path in paths]
    monkeypatch.setattr(store, "folders", lambda: iter([tmp_path / "actufunc"]))
    for path, content, other in zip(paths, whole, [*whole[1:], whole[0]], strict=True):
        assert store.load(path.stem) is not None
        flipped = content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]  # one bit of the machine code
        for broken in (*(content[:size] for size in (0, 10, 60, 500)), flipped, other):
            path.write_bytes(broken)
            assert store.load(path.stem) is None
    for path, content in zip(paths, (b"", whole[1][:500], whole[0]), strict=True):
        path.write_bytes(content)
    assert use(tmp_path) == [KERNELS, "0"]
    assert use(tmp_path) == ["0", KERNELS]


def machine_code(calls: str) -> MachineCode:
    """Compile a function that calls another, which is not in the same object."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple().create_target_machine()
    text = f"declare void @{calls}() define void @entry() {{ call void @{calls}() ret void }}"
    content = target.emit_object(binding.parse_assembly(text))
    return MachineCode("entry", undefined(content) or (calls,), content)


def test_what_calls_something_that_is_not_there_is_never_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLVM ends a process that loads such an object, or the process calls the address 0."""
    missing = machine_code("_ZN5other")
    assert missing.needs == ("_ZN5other",)
    assert missing.address() is None
    assert machine_code("Py_Initialize").address() is not None
    assert use(tmp_path) == [KERNELS, "0"]
    monkeypatch.setattr(store, "folders", lambda: iter([tmp_path / "actufunc"]))
    for path in files(tmp_path):
        assert store.load(path.stem) is not None
        store.save(path.stem, missing)
        assert store.load(path.stem) == missing
    assert use(tmp_path) == [KERNELS, KERNELS]  # loaded, and then compiled anew
    assert use(tmp_path) == ["0", KERNELS]


def test_numbas_cache_is_not_looked_at(tmp_path: Path) -> None:
    """Which has kernels of earlier versions, in files that may not fit each other; and nothing is unpickled."""
    forbid = """
        import numba.core.caching, pickle
        def look(*_, **__):
            raise SystemExit("looked into Numba's cache")
        numba.core.caching.IndexDataCacheFile.load = numba.core.caching.IndexDataCacheFile.save = look
    """
    assert use(tmp_path, forbid) == [KERNELS, "0"]
    assert use(tmp_path, forbid, "numba.core.caching.pickle = None") == ["0", KERNELS]


def test_nothing_is_compiled_where_all_is_kept(tmp_path: Path) -> None:
    use(tmp_path)
    forbid = """
        import numba.core.compiler
        def compile_(*_, **__):
            raise SystemExit("compiled")
        numba.core.compiler.compile_extra = numba.np.ufunc.ufuncbuilder.build_ufunc_wrapper = compile_
    """
    assert use(tmp_path, forbid) == ["0", KERNELS]


def test_a_scalar_function_is_compiled_once() -> None:
    """Although two loops are built around it."""
    scale = float(np.random.default_rng().uniform(6, 7))  # one that no earlier run has left a kernel of

    @activation
    def of_this_test_alone(x: Any) -> Any:
        return tanh(x * scale)

    function = of_this_test_alone
    function(X)
    kernel = next(each for key, each in kernels._elementwise.items() if key[0] == function.__name__)
    (key,) = [key for key in kernels._scalar if key[0] == kernel._text]
    compiled = kernels._scalar[key]
    assert kernel.parallel(X).tobytes() == kernel.serial(X).tobytes()
    assert kernels._scalar[key] is compiled


def test_a_full_disk(tmp_path: Path) -> None:
    """Files may not grow: what is compiled stays in memory, and nothing is left behind."""
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"
    pytest.importorskip("resource")
    assert use(tmp_path, full) == ["0", "0"]
    assert not files(tmp_path)
    assert use(tmp_path) == [KERNELS, "0"]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="users are those of a POSIX system")
def test_a_directory_that_must_not_be_written(tmp_path: Path) -> None:
    code = """
        import os, numpy, actufunc
        x = numpy.zeros(2)
        cache = os.environ["NUMBA_CACHE_DIR"]
        # Compile, which imports what the user below may not be able to read.
        actufunc.tanh.grad(x)
        actufunc.softmax.vjp(x, x)
        before = list(os.walk(cache))
        for folder, _, _ in before:
            os.chmod(folder, 0o555)
        if os.geteuid() == 0:
            os.seteuid(65534)
        try:
            assert actufunc.elu(x + 1)[0] == 1
            assert abs(actufunc.log_softmax(x)[0] + numpy.log(2)) < 1e-15
        finally:
            os.seteuid(os.getuid())
            for folder, _, _ in before:
                os.chmod(folder, 0o755)
        assert list(os.walk(cache)) == before
    """
    assert run(COUNTED, code, NUMBA_CACHE_DIR=str(tmp_path)).split() == ["2", "0"]


def test_no_directory_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    saved, loaded = map(int, use(tmp_path / "file" / "below"))  # in the directories that Numba tries next
    assert saved + loaded == int(KERNELS)


@pytest.mark.slow
def test_kernels_of_another_processor_are_not_used(tmp_path: Path) -> None:
    assert use(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == [KERNELS, "0"]
    assert use(tmp_path) == [KERNELS, "0"]
    assert use(tmp_path) == ["0", KERNELS]
    assert use(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == ["0", KERNELS]
    assert len(files(tmp_path)) == 2 * int(KERNELS)  # all in files of their own


def test_numba_without_jit(tmp_path: Path) -> None:
    """``NUMBA_DISABLE_JIT`` is for debugging one's own functions."""
    assert use(tmp_path, NUMBA_DISABLE_JIT="1") == [KERNELS, "0"]
    assert use(tmp_path, NUMBA_DISABLE_JIT="1") == ["0", KERNELS]


def test_a_fork_while_threads_compile() -> None:
    """A lock that another thread held would stay locked in the child."""
    code = """
        import os, signal, threading, numpy, actufunc
        from actufunc import activation
        from actufunc.formula import tanh
        x = numpy.linspace(-3, 3, 100)
        def new(n):
            function = activation(eval(f"lambda x: tanh(x * {n}) * {n + 0.5}", {"tanh": tanh}))
            numpy.testing.assert_allclose(function(x), numpy.tanh(x * n) * (n + 0.5), rtol=1e-14)
        new(0)
        stop = threading.Event()
        def work(first):
            n = first
            while not stop.is_set():
                new(n)
                n += 3
        threads = [threading.Thread(target=work, args=(n,)) for n in (1000, 1001, 1002)]
        [thread.start() for thread in threads]
        for n in range(1, 4):
            child = os.fork()
            if child == 0:
                signal.alarm(30)
                status = 1
                try:
                    new(n)
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        stop.set()
        [thread.join() for thread in threads]
        new(n)
    """
    if sys.platform == "win32":
        pytest.skip("forks")
    run(code, options=("-X", "dev"))


def test_a_long_name() -> None:
    """File systems have limits."""
    for letter in "fä":
        long = activation(type(lambda: 0)((lambda x: x * 3).__code__, {}, letter * 300))
        np.testing.assert_array_equal(long(X), X * 3)
