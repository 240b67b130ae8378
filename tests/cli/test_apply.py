"""``actufunc apply`` on .npy files."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import ELEMENTWISE, Case, cases, representatives
from command import Array, is_same, names, problem

import actufunc
from actufunc import _catalogue as catalogue
from actufunc.cli import _files as files
from actufunc.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, empty but for ``in.npy``, 1000 numbers in float32."""
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", np.random.default_rng(0).standard_normal(1000).astype("float32"))
    return tmp_path


def applied(name: str, x: Array, *arguments: str) -> Array:
    """Apply a function by the command line, in the working directory."""
    np.save("x.npy", x)
    Path("y.npy").unlink(missing_ok=True)
    assert main(["apply", name, "x.npy", "-o", "y.npy", *arguments]) == 0
    assert not any(n.startswith(".") for n in names())
    return np.asarray(np.load("y.npy"))


# Results.


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("chunk", ["64", "0.003"])
@pytest.mark.parametrize("case", cases(), ids=repr)
def test_result_is_that_of_the_direct_call(case: Case, chunk: str) -> None:
    settings = [part for key, value in case.keywords for part in ("--set", f"{key}={value}")]
    x = np.random.default_rng(0).standard_normal((37, 42))
    assert is_same(applied(case.function.__name__, x, "--chunk-mb", chunk, *settings), case(x))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", representatives(ELEMENTWISE), ids=repr)
def test_derivatives(case: Case) -> None:
    settings = [part for key, value in case.keywords for part in ("--set", f"{key}={value}")]
    x = np.random.default_rng(0).standard_normal((37, 42))
    first = case.grad
    second = Case(first.function.grad, case.keywords)
    name = case.function.__name__
    assert is_same(applied(f"{name}.grad", x, *settings), first(x))
    assert is_same(applied(f"{name}.grad.grad", x, *settings), second(x))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("dtype", ["float16", "<f4", ">f4", "<f8", ">f8", "int8", "uint16", "int64", "bool"])
@pytest.mark.parametrize("name", ["relu", "silu", "softmax"])
def test_dtypes(name: str, dtype: str) -> None:
    x = (3 * np.random.default_rng(0).standard_normal((50, 20))).astype(np.int8).astype(dtype)
    y = applied(name, x, "--chunk-mb", "0.002")
    assert is_same(y, catalogue.find(name)(x))
    assert y.dtype.isnative


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("chunk", ["64", "0.1", "0.003", "0.00001"])
@pytest.mark.parametrize("name", ["softmax", "logsumexp", "glu"])
def test_axis_and_order(name: str, order: Any, axis: int, chunk: str) -> None:
    x = np.asarray(np.random.default_rng(0).standard_normal((6, 18, 22)), order=order)
    y = applied(name, x, "--axis", str(axis), "--chunk-mb", chunk)
    expected = catalogue.find(name)(x, axis=axis)
    assert y.shape == expected.shape
    np.testing.assert_array_max_ulp(y, expected, 4)
    assert np.load("y.npy", mmap_mode="r").flags.f_contiguous == (order == "F")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (0, 5), (1,), (1, 1, 1)])
@pytest.mark.parametrize("name", ["silu", "log_softmax", "logsumexp"])
def test_small_and_empty_arrays(name: str, shape: tuple[int, ...]) -> None:
    x = np.full(shape, 0.5)
    assert is_same(applied(name, x), catalogue.find(name)(x))


@pytest.mark.usefixtures("folder")
def test_hyperparameters() -> None:
    x = np.linspace(-3, 3, 100)
    assert is_same(applied("leaky_relu", x, "--set", "negative_slope=0.2"), actufunc.leaky_relu(x, 0.2))
    assert is_same(applied("swish", x, "--set", "beta=2"), actufunc.silu(x, beta=2))
    whole = np.arange(-4, 4)
    assert is_same(applied("prelu", whole, "--set", "alpha=2"), actufunc.prelu(whole, 2))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions_of_the_format(version: tuple[int, int]) -> None:
    x = np.linspace(-1, 1, 10)
    with Path("x.npy").open("wb") as file:
        np.lib.format.write_array(file, x, version=version)
    assert main(["apply", "silu", "x.npy", "-o", "y.npy"]) == 0
    assert is_same(np.load("y.npy"), actufunc.silu(x))


def test_the_file_is_what_numpy_would_write(folder: Path) -> None:
    x = np.load("in.npy")
    assert main(["apply", "silu", "in.npy", "-o", "out.npy"]) == 0
    np.save("expected.npy", actufunc.silu(x))
    assert (folder / "out.npy").read_bytes() == (folder / "expected.npy").read_bytes()
    (folder / "any").touch()
    assert (folder / "out.npy").stat().st_mode == (folder / "any").stat().st_mode


@pytest.mark.usefixtures("folder")
def test_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "silu", "in.npy", "-o", "out.npy"]) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"silu: 1,000 elements in \S+ s, \S+ GB/s read and written, to out\.npy\n", out)
    assert err == ""


def test_force_replaces_and_follows_links(folder: Path) -> None:
    (folder / "real.npy").write_bytes(b"old")
    (folder / "link.npy").symlink_to("real.npy")
    assert main(["apply", "relu", "in.npy", "-o", "link.npy", "--force"]) == 0
    assert (folder / "link.npy").is_symlink()
    assert is_same(np.load("real.npy"), actufunc.relu(np.load("in.npy")))


@pytest.mark.usefixtures("folder")
def test_without_fallocate(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(-1, 1, 200_000)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    assert is_same(applied("silu", x), actufunc.silu(x))


# Problems.


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nix"], ["nix", "apply", "list"]),
        (["apply"], ["required"]),
        (["apply", "relu", "in.npy"], ["-o"]),
        (["apply", "softmaxx", "in.npy", "-o", "o.npy"], ["softmaxx", "did you mean 'softmax'"]),
        (["apply", "gelu.gard", "in.npy", "-o", "o.npy"], ["'gard'", "did you mean 'grad'"]),
        (["apply", "gelu.x", "in.npy", "-o", "o.npy"], ["'x'", "there is 'grad'"]),
        (["apply", "gleu.grad", "in.npy", "-o", "o.npy"], ["gleu", "did you mean"]),
        (["apply", "softmax.grad", "in.npy", "-o", "o.npy"], ["softmax", "a matrix"]),
        (["apply", "gelu.vjp", "in.npy", "-o", "o.npy"], ["a cotangent"]),
        (["apply", "glu", "odd.npy", "-o", "o.npy"], ["odd length 7"]),
        (["apply", "logsumexp", "in.npy", "-o", "o.npy", "--axis", "1"], ["axis=1"]),
        (["apply", "relu", "in.npy", "-o", "o"], ["o must end in .npy, .npz", ".zarr"]),
        (["apply", "relu", "in.npy", "-o", "o.dat"], ["o.dat must end in"]),
        (["apply", "relu", "in.npy", "-o", "-"], ["- must end in"]),
        (["apply", "relu", "in.npy", "-o", "o.npy", "--member", "x"], ["--member", "in.npy"]),
        (["apply", "relu", "none.npy", "-o", "o.npy"], ["none.npy", "no such file"]),
        (["apply", "relu", ".", "-o", "o.npy"], ["directory"]),
        (["apply", "relu", os.devnull, "-o", "o.npy"], ["not a regular file"]),
        (["apply", "relu", "in.npy", "-o", "in.npy"], ["is the input"]),
        (["apply", "relu", "in.npy", "-o", "in.npy", "--force"], ["is the input"]),
        (["apply", "relu", "in.npy", "-o", "no/o.npy"], ["no does not exist"]),
        (["apply", "relu", "in.npy", "-o", "in.npy/o.npy"], ["is not a directory"]),
        (["apply", "relu", "in.npy", "-o", "folder.npy", "--force"], ["directory"]),
        (["apply", "relu", "in.npy", "-o", "device.npy", "--force"], ["not a regular file"]),
        (["apply", "relu", "in.npy", "-o", "o" * 300 + ".npy"], ["name too long"]),
        (["apply", "relu", "in.npy", "-o", "o.npy", "--axis", "0"], ["not a function over an axis"]),
        (["apply", "softmax", "in.npy", "-o", "o.npy", "--axis", "1"], ["axis=1", "1 dimension"]),
        (["apply", "softmax", "in.npy", "-o", "o.npy", "--axis", "-2"], ["axis=-2"]),
        (["apply", "softmax", "in.npy", "-o", "o.npy", "--axis", "x"], ["'x'"]),
        (["apply", "relu", "in.npy", "-o", "o.npy", "--chunk-mb", "0"], ["positive"]),
        (["apply", "relu", "in.npy", "-o", "o.npy", "--chunk-mb", "-1"], ["positive"]),
        (["apply", "relu", "in.npy", "-o", "o.npy", "--chunk-mb", "nan"], ["positive"]),
        (["apply", "relu", "in.npy", "-o", "o.npy", "--chunk-mb", "many"], ["'many'"]),
        (["apply", "relu", "in.npy", "-o", "o.npy", "--chunk", "1"], ["--chunk"]),
        (["apply", "relu", "in.npy", "-o", "o.npy", "--set", "a=1"], ["'a'", "none"]),
        (["apply", "elu", "in.npy", "-o", "o.npy", "--set", "a=1"], ["'a'", "it has alpha"]),
        (["apply", "elu", "in.npy", "-o", "o.npy", "--set", "alpha"], ["NAME=VALUE"]),
        (["apply", "elu", "in.npy", "-o", "o.npy", "--set", "alpha="], ["NAME=VALUE"]),
        (["apply", "elu", "in.npy", "-o", "o.npy", "--set", "alpha=x"], ["a number", "'x'"]),
        (["apply", "gelu", "in.npy", "-o", "o.npy", "--set", "approximate=x"], ["'tanh'", "'x'"]),
        (["apply", "prelu", "in.npy", "-o", "o.npy"], ["--set alpha"]),
    ],
    ids=lambda value: " ".join(value)[:60],
)
def test_bad_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    np.save("odd.npy", np.zeros((2, 7)))
    Path("folder.npy").mkdir()
    Path("device.npy").symlink_to(os.devnull)
    message = problem(capsys, *arguments)
    assert message.startswith("actufunc")
    for word in words:
        assert word in message


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "x",
    [
        np.zeros(3, "complex64"),
        np.zeros(3, "longdouble"),
        np.zeros(3, "i4,f8"),
        np.zeros(3, "U5"),
        np.zeros(3, "datetime64[s]"),
        np.array([None, 1]),
    ],
    ids=lambda x: x.dtype.name,
)
@pytest.mark.parametrize("name", ["relu", "softmax"])
def test_bad_dtypes(capsys: pytest.CaptureFixture[str], name: str, x: Array) -> None:
    if x.dtype == np.float64:
        pytest.skip("this platform has no long double")
    np.save("x.npy", x, allow_pickle=True)
    assert "does not support" in problem(capsys, "apply", name, "x.npy", "-o", "o.npy")


def test_files_that_are_no_npy_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = (folder / "in.npy").read_bytes()
    np.savez(folder / "archive.npz", x=np.zeros(3))
    contents = {
        "empty": (b"", "not a .npy file"),
        "text": (b"hello, world", "not a .npy file"),
        "archive": ((folder / "archive.npz").read_bytes(), "not a .npy file"),
        "future": (good[:6] + b"\x09" + good[7:], "version 9.0"),
        "cut in the magic": (good[:4], "not a .npy file"),
        "cut in the header": (good[:60], "damaged"),
        "cut in the data": (good[:-1], "truncated"),
        "no header": (good[:10] + b"@" * 118 + good[128:], "damaged"),
        "dtype": (good.replace(b"<f4", b"<q4"), "damaged"),
        "negative": (good.replace(b"(1000,)", b"(-100,)"), "(-100,)"),
        "enormous": (good.replace(b"(1000,), }", b"(9**9,9)} "), "damaged"),
        "larger": (good.replace(b"(1000,)", b"(1001,)"), "truncated"),
    }
    for data, words in contents.values():
        (folder / "x.npy").write_bytes(data)
        assert words in problem(capsys, "apply", "relu", "x.npy", "-o", "o.npy")


def test_random_damage_never_ends_in_a_traceback(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = (folder / "in.npy").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(good)
        for place in random.integers(0, 128, 3):
            data[place] = random.integers(0, 256)
        (folder / "x.npy").write_bytes(data)
        if main(["apply", "relu", "x.npy", "-o", "o.npy", "--force"]):
            assert capsys.readouterr().err.count("\n") == 1


def test_existing_output_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "o.npy").write_bytes(b"precious")
    assert "--force" in problem(capsys, "apply", "relu", "in.npy", "-o", "o.npy")


def test_output_that_appears_meanwhile_stays(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.os, "fsync", lambda _: (folder / "o.npy").write_bytes(b"precious"))
    assert main(["apply", "relu", "in.npy", "-o", "o.npy"]) == 2
    assert "meanwhile" in capsys.readouterr().err
    assert names() == ["in.npy", "o.npy"]
    assert (folder / "o.npy").read_bytes() == b"precious"


def test_input_under_another_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "link.npy").symlink_to("in.npy")
    os.link("in.npy", "hard.npy")
    for other in ("link.npy", "hard.npy", "./in.npy"):
        assert "is the input" in problem(capsys, "apply", "relu", "in.npy", "-o", other, "--force")


@pytest.mark.usefixtures("folder")
def test_no_space(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("usage", (), {"free": 3999})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)
    assert "no space" in problem(capsys, "apply", "relu", "in.npy", "-o", "o.npy")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("call", ["posix_fallocate", "fsync"])
@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "no space"), (errno.EIO, "cannot write")])
def test_disk_that_fails_while_writing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, call: str, number: int, words: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, call, fail)
    assert words in problem(capsys, "apply", "relu", "in.npy", "-o", "o.npy")


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of the file size")
@pytest.mark.parametrize("change", ["", "vars(os).pop('posix_fallocate', None); "], ids=["reserved", "written"])
def test_limit_of_the_file_size(folder: Path, change: str) -> None:
    np.save("in.npy", np.zeros(10**6))
    code = f"import os; {change}import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)); "
    code += "from actufunc.cli import main; sys.exit(main(['apply', 'relu', 'in.npy', '-o', 'o.npy']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 2, done.stderr
    assert "no space" in done.stderr
    assert done.stderr.count("\n") == 1
    assert names(folder) == ["in.npy"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_directory_that_is_not_writable(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "closed").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    assert "permission denied" in problem(capsys, "apply", "relu", "in.npy", "-o", "closed/o.npy")


@pytest.mark.usefixtures("folder")
def test_denied_by_the_system(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(files.os, "open", denied)
    assert "permission denied" in problem(capsys, "apply", "relu", "in.npy", "-o", "o.npy")


@pytest.mark.usefixtures("folder")
def test_names_with_line_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    problem(capsys, "apply", "relu", "a\nb.npy", "-o", "o.npy")
    problem(capsys, "apply", "re\nlu", "in.npy", "-o", "o.npy")
    problem(capsys, "apply", "relu", "in.npy", "-o", "a\nb/o\udcff.npy")
    problem(capsys, "apply", "elu", "in.npy", "-o", "o.npy", "--set", "al\npha=1")
