"""``actufunc apply`` from and to every file format."""

from __future__ import annotations

import importlib
import itertools
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cases import cases, representatives
from command import COMMAND, INTERRUPTED, PEAK, TERMINATED, Array, is_same, names, problem

import actufunc
from actufunc.cli import _files as files
from actufunc.cli import main
from actufunc.cli._apply import formats, npy, npz, text

if TYPE_CHECKING:
    from cases import Case

MODULES = (files, formats, npy, npz, text)  # which write
FORMATS = tuple(formats._OUTPUTS)
PAIRS = list(itertools.product(FORMATS, FORMATS))
NOT_ELEMENTWISE = representatives([case for case in cases() if case.function.definition.kind != "elementwise"])


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(kind: str, x: Array) -> str:
    """Write an array as its library does, and return the name of the file."""
    name = f"in{kind}"
    if kind == ".npy":
        np.save(name, x)
    elif kind == ".npz":
        np.savez(name, some=x)
    elif kind == ".zarr":
        importlib.import_module("zarr").save(name, x)
    else:
        np.savetxt(name, x, fmt="%s", delimiter={".csv": ",", ".tsv": "\t", ".txt": " "}[kind])
    return name


def read(name: str, dtype: Any) -> Array:
    """Read an array, text as numbers of a dtype."""
    kind = Path(name).suffix
    if kind == ".npz":
        (array,) = np.load(name).values()
        return np.asarray(array)
    if kind == ".zarr":
        return np.asarray(importlib.import_module("zarr").load(name))
    if kind == ".npy":
        return np.asarray(np.load(name))
    return np.loadtxt(name, dtype, delimiter={".csv": ",", ".tsv": "\t", ".txt": None}[kind])


# All pairs.


@pytest.mark.parametrize("chunk", ["64", "0.002"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_every_pair_of_formats(one: str, other: str, dtype: str, chunk: str) -> None:
    """No bit is lost on the way: a number is written with the digits that its dtype needs."""
    x = np.random.default_rng(0).standard_normal((37, 10)).astype(dtype)
    source = write(one, x)
    assert main(["apply", "silu", source, "-o", f"out{other}", "--chunk-mb", chunk]) == 0
    expected = actufunc.silu(read(source, np.float64))
    assert is_same(read(f"out{other}", expected.dtype), expected)
    assert names() == sorted([f"in{one}", f"out{other}"])


@pytest.mark.parametrize("axis", ["0", "1"])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("case", NOT_ELEMENTWISE, ids=repr)
def test_axis_in_every_format(case: Case, kind: str, axis: str) -> None:
    x = np.random.default_rng(0).standard_normal((36, 10))
    arguments = ["apply", case.function.__name__, write(kind, x), "-o", f"out{kind}", "--axis", axis]
    assert main([*arguments, "--chunk-mb", "0.002"]) == 0
    expected = case(x, axis=int(axis))
    result = read(f"out{kind}", expected.dtype)
    assert result.shape == expected.shape
    np.testing.assert_array_max_ulp(result, expected, 4)


@pytest.mark.parametrize("kind", FORMATS)
def test_hostile_numbers(kind: str) -> None:
    tiny, huge = np.finfo("f4").smallest_subnormal, np.finfo("f4").max
    x = np.array([[0.0, -0.0, tiny, -tiny], [huge, -huge, np.inf, -np.inf], [np.nan, 0.1, 1 / 3, 1e-10]], "float32")
    np.save("x.npy", x)
    assert main(["apply", "identity", "x.npy", "-o", f"y{kind}"]) == 0
    assert main(["apply", "identity", f"y{kind}", "-o", "z.npy"]) == 0
    z = np.load("z.npy").astype("float32")
    assert is_same(z, x)
    assert np.array_equal(np.signbit(z), np.signbit(x))


# Text.


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float16"])
def test_other_dtypes_as_text(dtype: str) -> None:
    x = np.arange(6).reshape(2, 3).astype(dtype)
    np.save("x.npy", x)
    assert main(["apply", "relu" if dtype != "bool" else "identity", "x.npy", "-o", "y.csv"]) == 0
    assert np.array_equal(np.loadtxt("y.csv", delimiter=","), x)


@pytest.mark.parametrize(
    ("name", "content", "output", "expected"),
    [
        ("x.csv", "a,b\n-1,2\n", "y.csv", "a,b\n0.0,2.0\n"),
        ("x.csv", "a,b\n-1,2\n", "y.tsv", "a\tb\n0.0\t2.0\n"),
        ("x.csv", "a;b\n-1;2\n", "y.csv", "a;b\n0.0;2.0\n"),
        ("x.csv", "a;b\n-1;2\n", "y.txt", "a b\n0.0 2.0\n"),
        ("x.csv", '"a,b",c\n-1,2\n', "y.csv", '"a,b",c\n0.0,2.0\n'),
        ("x.csv", '"-1","2"\n', "y.csv", "0.0,2.0\n"),
        ("x.csv", "\ufeffa\r\n-1\r\n\r\n2\r\n", "y.csv", "a\n0.0\n2.0\n"),
        ("x.csv", "a,b\n", "y.csv", "a,b\n"),
        ("x.txt", "# a b\n# c\nd e\n\n -1  2 # f\n# g\n3 4", "y.txt", "# a b\n# c\nd e\n0.0 2.0\n3.0 4.0\n"),
        ("x.txt", "-1, 2\n", "y.txt", "0.0,2.0\n"),
        ("x.TXT", "nan inf -1e-3\n", "y.Csv", "nan,inf,0.0\n"),
        ("x.csv", "z\u00fcrich,b\n1,2\n", "y.csv", "z\u00fcrich,b\n1.0,2.0\n"),
    ],
)
def test_headings_and_separators(name: str, content: str, output: str, expected: str) -> None:
    Path(name).write_bytes(content.encode())
    assert main(["apply", "relu", name, "-o", output]) == 0
    assert Path(output).read_bytes().decode() == expected


def test_heading_goes_where_columns_do() -> None:
    Path("x.csv").write_text("a,b\n1,2\n3,4\n")
    heads = {}
    for name in ("softmax", "glu", "logsumexp"):
        assert main(["apply", name, "x.csv", "-o", f"{name}.csv"]) == 0
        heads[name] = Path(f"{name}.csv").read_text().startswith("a,b\n")
    assert heads == {"softmax": True, "glu": False, "logsumexp": False}


def test_one_column_is_one_axis() -> None:
    Path("x.csv").write_text("x\n1\n2\n")
    assert main(["apply", "softmax", "x.csv", "-o", "y.npy"]) == 0
    assert is_same(np.load("y.npy"), actufunc.softmax(np.array([1.0, 2.0])))
    assert main(["apply", "logsumexp", "x.csv", "-o", "y.txt"]) == 0
    assert float(Path("y.txt").read_text()) == actufunc.logsumexp(np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["x.csv holds no numbers"]),
        ("\n \n", ["x.csv holds no numbers"]),
        ("a,b\n1,2\n\n3,x\n", ["'x' in line 4 of x.csv is not a number"]),
        ("a,b\n1,2\n3\n", ["line 3 of x.csv has 1 column, the first row 2 columns"]),
        ("a,b\nc,d\n1,2\n", ["'c' in line 2 of x.csv"]),
        ("a,b\n1,2\n3,\n", ["line 3 of x.csv lacks a number; write nan"]),
        ("a;b\n1,5;2\n", ["'1,5' in line 2 of x.csv"]),
        ("1,2\n" * 2000 + "1,2,3\n", ["line 2001 of x.csv has 3 columns"]),
        ("1,2\n" * 2000 + "1,\udcff\x00\n", ["in line 2001 of x.csv is not a number"]),
    ],
    ids=range(9),
)
def test_text_that_is_no_table(capsys: pytest.CaptureFixture[str], content: str, words: list[str]) -> None:
    Path("x.csv").write_bytes(content.encode(errors="surrogateescape"))
    message = problem(capsys, "apply", "relu", "x.csv", "-o", "y.npy", "--chunk-mb", "0.1")
    for word in words:
        assert word in message


def test_random_bytes_never_end_in_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    np.savez_compressed("good.npz", a=np.arange(50.0), b=np.ones(3))
    good = bytearray(Path("good.npz").read_bytes())
    for _ in range(100):
        Path("x.csv").write_bytes(random.bytes(100).replace(b"\0", b"1"))
        damaged = good.copy()
        for place in random.integers(0, len(good), 3):
            damaged[place] = random.integers(0, 256)
        Path("x.npz").write_bytes(damaged)
        for name, output in (("x.csv", "y.npy"), ("x.npz", "y.npz")):
            if main(["apply", "relu", name, "-o", output, "--force"]):
                assert capsys.readouterr().err.count("\n") == 1
    assert not any(name.startswith(".") for name in names())


def test_more_than_two_dimensions_are_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", np.zeros((2, 3, 4)))
    assert "two dimensions" in problem(capsys, "apply", "relu", "x.npy", "-o", "y.csv")
    assert main(["apply", "logsumexp", "x.npy", "-o", "y.csv"]) == 0


# Archives.


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_all_members(save: Any) -> None:
    arrays = {
        "w": np.linspace(-1, 1, 12).reshape(3, 4),
        "b": np.ones(4, "f4", "F"),
        "layer/2": np.asfortranarray(np.ones((2, 2))),
    }
    save("x.npz", **arrays)
    assert main(["apply", "tanh", "x.npz", "-o", "y.npz"]) == 0
    with np.load("y.npz") as found:
        assert list(found) == list(arrays)
        for name, x in arrays.items():
            assert is_same(found[name], actufunc.tanh(x))
    kinds = [{info.compress_type for info in zipfile.ZipFile(name).infolist()} for name in ("x.npz", "y.npz")]
    assert kinds[0] == kinds[1]


def test_a_member() -> None:
    x = np.linspace(-1, 1, 12)
    np.savez("x.npz", w=x, names=np.array(["a"]))
    for output in ("y.npz", "y.npy", "y.csv"):
        assert main(["apply", "tanh", "x.npz", "--member", "w", "-o", output]) == 0
    assert is_same(np.load("y.npz")["w"], actufunc.tanh(x))
    assert is_same(np.load("y.npy"), actufunc.tanh(x))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.npz", "-o", "y.npy"], ["2 members (w, b)", "--member"]),
        (["x.npz", "-o", "y.npz", "--member", "c"], ["no member 'c'; it has w, b"]),
        (["x.npz", "-o", "y.npz", "--set", "a=1"], ["'a'"]),
        (["text.npz", "-o", "y.npz"], ["'t' in text.npz: relu does not support"]),
        (["broken.npz", "-o", "y.npz"], ["broken.npz is not a .npz file"]),
        (["empty.npz", "-o", "y.npz"], ["holds no arrays"]),
        (["none.npz", "-o", "y.npz"], ["no such file"]),
        (["x.npz", "-o", "x.npz", "--force"], ["is the input"]),
        (["other.npz", "-o", "y.npz"], ["'a.txt' in other.npz is not a .npy file"]),
    ],
)
def test_bad_archives(capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    np.savez("x.npz", w=np.ones(3), b=np.ones(3))
    np.savez("text.npz", n=np.ones(3), t=np.array(["a"]))
    np.savez("empty.npz")
    Path("broken.npz").write_bytes(Path("x.npz").read_bytes()[:-30])
    with zipfile.ZipFile("other.npz", "w") as archive:
        archive.writestr("a.txt", "hello")
    message = problem(capsys, "apply", "relu", *arguments)
    for word in words:
        assert word in message


# Zarr.


@pytest.mark.needs_library("zarr")
def test_zarr_keeps_chunks_and_takes_members(capsys: pytest.CaptureFixture[str]) -> None:
    import zarr

    x = np.random.default_rng(0).standard_normal((40, 30))
    group = zarr.open_group("x.zarr", mode="w")
    group.create_array("a", data=x, chunks=(16, 7))
    assert main(["apply", "silu", "x.zarr", "-o", "one.zarr", "--chunk-mb", "0.001"]) == 0
    group.create_array("b", data=x)
    capsys.readouterr()
    assert "--member takes a, b" in problem(capsys, "apply", "silu", "x.zarr", "-o", "y.zarr")
    assert "no member 'c'; --member takes a, b" in problem(
        capsys, "apply", "silu", "x.zarr", "--member", "c", "-o", "y.zarr"
    )
    assert main(["apply", "silu", "x.zarr", "--member", "a", "-o", "y.zarr", "--chunk-mb", "0.003"]) == 0
    for name in ("one.zarr", "y.zarr"):
        y = zarr.open_array(name, mode="r")
        assert y.chunks == (16, 7)
        assert is_same(y[:], actufunc.silu(x))


@pytest.mark.needs_library("zarr")
def test_zarr_replaces_nothing_but_zarr(capsys: pytest.CaptureFixture[str]) -> None:
    import zarr

    x = np.arange(-3.0, 3)
    zarr.save("x.zarr", x)
    zarr.save("y.zarr", x)
    Path("z.zarr").mkdir()
    Path("z.zarr/precious").touch()
    assert "--force" in problem(capsys, "apply", "relu", "x.zarr", "-o", "y.zarr")
    assert "not a Zarr store" in problem(capsys, "apply", "relu", "x.zarr", "-o", "z.zarr", "--force")
    assert "not a Zarr store" in problem(capsys, "apply", "relu", "z.zarr", "-o", "u.zarr")
    assert "no such file" in problem(capsys, "apply", "relu", "none.zarr", "-o", "u.zarr")
    assert "is the input" in problem(capsys, "apply", "relu", "x.zarr", "-o", "x.zarr", "--force")
    assert main(["apply", "relu", "x.zarr", "-o", "y.zarr", "--force"]) == 0
    assert is_same(read("y.zarr", None), actufunc.relu(x))
    assert names() == ["x.zarr", "y.zarr", "z.zarr"]


@pytest.mark.parametrize("arguments", [["in.zarr", "-o", "out.npy"], ["in.npy", "-o", "out.zarr"]], ids=" ".join)
def test_without_zarr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    np.save("in.npy", np.zeros(3))
    Path("in.zarr").mkdir()
    assert problem(capsys, "apply", "relu", *arguments) == "actufunc: this needs zarr: pip install zarr\n"


# Interruption, a full disk, and memory.


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_interrupted_everywhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, one: str, other: str
) -> None:
    """Ctrl-C at each system call that takes or writes bytes, one after the other."""
    source = write(one, np.ones((30, 10)))
    real = {name: getattr(files, name) for name in ("write_all", "reserve")}
    for stop in itertools.count(1):
        calls = 0

        def counted(name: str) -> Any:
            def call(*arguments: Any) -> None:
                nonlocal calls
                calls += 1
                if calls == stop:  # noqa: B023
                    raise KeyboardInterrupt
                real[name](*arguments)

            return call

        for module, name in itertools.product(MODULES, real):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, counted(name))
        status = main(["apply", "relu", source, "-o", f"out{other}"])
        if status == 0:
            break
        assert status == INTERRUPTED
        assert capsys.readouterr().err == "actufunc: interrupted\n"
        assert names() == [source]
    assert stop > 1 or (one in {".npy", ".zarr"} and other == ".zarr")  # all written by zarr
    assert names() == sorted([source, f"out{other}"])


@pytest.mark.skipif(sys.platform == "win32", reason="no signals between processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_killed_while_text_is_read(number: int) -> None:
    line = ",".join(["0.123456789"] * 100)
    Path("in.csv").write_text(f"{line}\n" * 50_000)
    command = [*COMMAND, "apply", "relu", "in.csv", "-o", "o.csv", "--chunk-mb", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        end = time.monotonic() + 50
        while not [name for name in names() if name.startswith(".actufunc-")]:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == (INTERRUPTED if number == signal.SIGINT else TERMINATED)
    assert err == "actufunc: interrupted\n"
    assert names() == ["in.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of the file size")
@pytest.mark.parametrize(("one", "other"), [(".npz", ".npy"), (".csv", ".npz"), (".npy", ".csv")])
def test_limit_of_the_file_size(one: str, other: str) -> None:
    source = write(one, np.random.default_rng(0).standard_normal((2000, 10)))
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, 10**5)); "
    code += f"from actufunc.cli import main; sys.exit(main(['apply', 'relu', '{source}', '-o', 'o{other}']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 2, done.stderr
    assert "no space" in done.stderr
    assert done.stderr.count("\n") == 1
    assert names() == [source]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts resident memory as Linux does")
@pytest.mark.parametrize(("kind", "name"), [(".npz", "silu"), (".csv", "silu"), (".csv", "softmax"), (".zarr", "silu")])
def test_memory_is_bounded_by_the_chunk(kind: str, name: str) -> None:
    def peak(rows: int) -> float:
        x = np.random.default_rng(0).standard_normal((rows, 100)).round(3)
        shutil.rmtree("in.zarr", ignore_errors=True)
        command = ["apply", name, write(kind, x), "-o", f"y{kind}", "--force", "--chunk-mb", "4", "--axis", "0"]
        command = command[: -2 if name == "silu" else None]
        out = subprocess.run([sys.executable, "-c", PEAK, *command], check=True, capture_output=True, text=True)  # noqa: S603
        return int(out.stdout.split()[-1]) * 1024 / 1e6

    peak(10_000)  # fills the cache of compiled kernels
    assert peak(35_000) - peak(10_000) < 8  # of 28 and 8 MB, each of input and result
