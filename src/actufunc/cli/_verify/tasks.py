"""The tasks of ``actufunc verify``, their results, and the file that keeps these."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.resources
import importlib.util
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from actufunc import _catalogue as catalogue
from actufunc.accuracy import measure
from actufunc.accuracy.compare import REFERENCE_ULP
from actufunc.accuracy.findings import Findings
from actufunc.accuracy.target import Target
from actufunc.cli._errors import format_path, reason, stop
from actufunc.cli.system import processor, versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from actufunc import Activation

_FORMAT = 1
_ALL = "all"  # blocks
# In ulp. A few results of float64 below 2**-500 are rounded twice, as are values of gated units, which multiply by an
# activation.
_LARGEST, _LARGEST_GATED = {"float32": 1.0, "float64": 1.2}, 1.5


@dataclass(frozen=True)
class Task:
    """A measurement: a function with hyperparameters and options, its values or gradients, in one dtype.

    `size` is the stride of all inputs of float32, the number of points of a sample, or 1 for all inputs of half types.
    """

    name: str
    keywords: tuple[tuple[str, Any], ...]
    gradient: bool
    dtype: str
    size: int

    @property
    def title(self) -> str:
        """The function with its options, like a call."""
        options = ", ".join(f"{name}={value}" for name, value in self.keywords)
        return f"{self.name}({options})" if options else self.name

    @property
    def what(self) -> str:
        """The measured quantity."""
        return "gradient" if self.gradient else "value"

    @property
    def key(self) -> str:
        """Key in the file."""
        return f"{self.title} {self.what} {self.dtype}"

    @property
    def function(self) -> Activation:
        """The measured function."""
        return catalogue.ACTIVATIONS[self.name]

    @property
    def is_elementwise(self) -> bool:
        """True if each element is one input."""
        return self.function.definition.kind == "elementwise"

    @property
    def is_sample(self) -> bool:
        """True if a sample is measured against mpmath, not all inputs."""
        return self.dtype == "float64" or not self.is_elementwise

    @property
    def blocks(self) -> int:
        """Number of blocks that are measured separately."""
        return 1 if self.is_sample or self.dtype != "float32" else measure.blocks(self.size)

    @property
    def all(self) -> set[int]:
        """Numbers of the blocks."""
        return set(range(self.blocks))

    @property
    def digest(self) -> str:
        """Digest of everything that the result depends on."""
        return hashlib.blake2b(repr((_digest_of_code(), self)).encode(), digest_size=16).hexdigest()

    def written(self, x: float) -> str:
        """Return a number with the digits that identify it in this dtype."""
        return str(_types()[self.dtype].type(x))

    def measure(self, block: int) -> Findings:
        """Measure one block."""
        if not self.is_elementwise:
            return measure.rows(self.function, self.dtype, self.size, **dict(self.keywords))
        target = _target(self.name, self.keywords, gradient=self.gradient)
        if self.dtype == "float64":
            return measure.float64(target, self.size)
        if self.dtype == "float32":
            return measure.float32(target, block, self.size)
        return measure.half(target, _types()[self.dtype])


@functools.cache
def _target(name: str, keywords: tuple[tuple[str, Any], ...], *, gradient: bool) -> Target:
    return Target(catalogue.ACTIVATIONS[name], gradient, dict(keywords))


@functools.cache
def _types() -> dict[str, np.dtype[Any]]:
    known = {name: np.dtype(name) for name in ("float16", "float32", "float64")}
    if importlib.util.find_spec("ml_dtypes") is not None:
        import ml_dtypes  # noqa: PLC0415

        known["bfloat16"] = np.dtype(ml_dtypes.bfloat16)
    return known


@functools.cache
def _digest_of_code() -> str:
    """Return a digest of the package without the command line, the versions, and the processor."""
    digest = hashlib.blake2b(repr((processor(), versions())).encode(), digest_size=16)
    for file in _sources(importlib.resources.files("actufunc")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _sources(folder: Traversable) -> Iterator[Traversable]:
    """Yield the modules in a folder, which may be in an archive, except the command line."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".py"):
            yield entry
        elif entry.is_dir() and entry.name != "cli":
            yield from _sources(entry)


def tasks(functions: Sequence[Activation], dtypes: Sequence[str], stride: int, points: int) -> list[Task]:
    """Return a task for each function, in the given order, and each set of options, quantity and dtype in `FORMATS`.

    bfloat16 is omitted without ml_dtypes, the half types for functions over an axis. See `Task.size` for `stride` and
    `points`.
    """
    return [
        Task(function.__name__, tuple(keywords.items()), gradient, dtype, size)
        for function in functions
        for keywords in catalogue.variants(function)
        for gradient, dtype, size in _parts(function, dtypes, stride, points)
    ]


def _parts(function: Activation, dtypes: Sequence[str], stride: int, points: int) -> Iterator[tuple[bool, str, int]]:
    elementwise = function.definition.kind == "elementwise"
    for gradient in (False, True) if elementwise else (False,):
        for dtype in dtypes:
            if dtype == "float64" or (dtype == "float32" and not elementwise):
                yield gradient, dtype, points
            elif dtype == "float32":
                yield gradient, dtype, stride
            elif elementwise and dtype in _types():
                yield gradient, dtype, 1


@dataclass
class Record:
    """The findings of a task, in all or some blocks."""

    done: list[int] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)


class Results:
    """The findings of tasks, in the file at `path`, which need not exist, or in memory only."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.records: dict[Task, Record] = {}
        self._others: dict[str, Any] = {}  # records in the file of other tasks

    def load(self, wanted: Sequence[Task]) -> int:
        """Read the file, and return the number of outdated records in it, which are dropped."""
        self._others = self._read()
        outdated = 0
        for task in wanted:
            self.records[task] = Record()
            known = self._others.pop(task.key, None)
            if known is None:
                continue
            if known["digest"] == task.digest:
                done = known["done"]
                done = list(range(task.blocks)) if done == _ALL else done
                self.records[task] = Record(done, Findings.from_json(known["findings"]))
            else:
                outdated += 1
        return outdated

    def _read(self) -> dict[str, Any]:
        if self.path is None or not self.path.exists():
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            stop(f"cannot read {format_path(self.path)}: {reason(error)}")
        except ValueError:
            content = None
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            stop(f"{format_path(self.path)} is no file of actufunc verify; give another, or remove it")
        results: dict[str, Any] = content["results"]
        return results

    def left(self) -> list[tuple[Task, int]]:
        """Return the remaining tasks and blocks; samples first, which take long and are not divided."""
        jobs = [(task, block) for task, record in self.records.items() for block in sorted(task.all - set(record.done))]
        return sorted(jobs, key=lambda job: not job[0].is_sample)

    def add(self, task: Task, block: int, findings: Findings) -> None:
        """Add the findings of a block."""
        record = self.records[task]
        record.done.append(block)
        record.findings.add(findings)

    def same_in_float64(self, task: Task) -> Record | None:
        """Return the record of the same task in float64, the reference, if it has been measured."""
        wanted = (task.title, task.what, "float64")
        same = (record for other, record in self.records.items() if (other.title, other.what, other.dtype) == wanted)
        return next((record for record in same if record.done), None)

    def save(self, header: dict[str, Any]) -> None:
        """Write the file, all of it or nothing."""
        if self.path is None:
            return
        own = {
            task.key: {
                **{name: value for name, value in dataclasses.asdict(task).items() if name != "keywords"},
                "keywords": dict(task.keywords),
                "digest": task.digest,
                "done": _ALL if len(record.done) == task.blocks else sorted(record.done),
                "problems": problems(task, self),
                "findings": record.findings.as_json(),
            }
            for task, record in self.records.items()
            if record.done
        }
        content = {"format": _FORMAT, **header, "results": {**self._others, **own}}
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            temporary.replace(self.path)
        except OSError as error:
            stop(f"cannot write {format_path(self.path)}: {reason(error)}")
        finally:
            temporary.unlink(missing_ok=True)


def problems(task: Task, results: Results) -> list[str]:
    """Return the failures of a task, each in a few words."""
    found = results.records[task].findings
    failures = []
    if task.dtype in _LARGEST:
        largest = _LARGEST_GATED if task.function.definition.kind == "gated" else _LARGEST[task.dtype]
        if not found.ulp < largest:
            failures.append(f"error of {found.ulp:.3g} ulp at {task.written(found.at)}")
    for what, (count, examples) in found.violations.items():
        places = ", ".join([*map(task.written, examples), *["..."] * (count > len(examples))])
        failures.append(f"{what} at {count:,} input{'s' * (count != 1)} ({places})")
    if not task.is_sample:
        reference = results.same_in_float64(task)
        if reference is not None and not reference.findings.ulp <= REFERENCE_ULP:
            failures.append(f"its reference in float64 is off by {reference.findings.ulp:.3g} ulp")
    return failures
