"""The report of the comparison with CPU libraries: tables, a verdict, and the reason of each loss."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

from cpu_results import BASELINE, CLEAR, COPY, OURS, CpuResults, CpuRow, against, figure, mean, names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

COMMAND = "python benchmarks/report.py --cpu"
UNEXPLAINED = "not explained"
_OF_COPY = 1.1  # both times within this factor of a copy's are bound by memory
_EXACTER = 0.25  # ulp: the difference in exactness that explains a loss
_PRICE = {
    "float32": "it is computed in float64, with half as many elements to a vector",
    "float64": "it is computed in two words where one would round what the result depends on",
}
_EXACT_PEERS = (1, 4)  # largest errors in ulp
_OUTPUT = {"fresh": "fresh", "out": "preallocated"}


class Standing(NamedTuple):
    """Numbers of cases that are won.

    Attributes
    ----------
    cases : int
        Number of cases with a peer.
    ahead : int
        Number of cases in which no peer is faster.
    level : int
        Number of cases in which no peer is faster by more than the tolerance.
    mean : float
        Geometric mean of the fastest peer's time over ours.
    """

    cases: int
    ahead: int
    level: int
    mean: float

    @classmethod
    def of(cls, rows: Iterable[CpuRow]) -> Standing:
        """Count the cases."""
        ratios = [row.ratio for row in rows if row.fastest is not None]
        ahead, level = sum(ratio >= 1 for ratio in ratios), sum(ratio >= 1 / CLEAR for ratio in ratios)
        return cls(len(ratios), ahead, level, mean(ratios))


def explanation(row: CpuRow, results: CpuResults) -> str:
    """Return the reason of a loss.

    Parameters
    ----------
    row : CpuRow
        The case.
    results : CpuResults
        All cases, including those of one element, and errors.
    """
    peer = str(row.fastest)
    copy, theirs = row.times.get(COPY, math.nan), row.times[peer]
    if row.ours <= _OF_COPY * copy <= _OF_COPY**2 * theirs:
        return f"memory: a copy takes {figure(copy)} ns"
    cases = {(one.function, one.dtype, one.size, one.output, one.threads): one for one in results.rows}
    given = cases.get((row.function, row.dtype, row.size, "out", row.threads))
    if row.output == "fresh" and given and given.ours <= CLEAR * theirs:
        return f"new memory from the system: with preallocated output ours takes {figure(given.ours)} ns"
    one = cases.get((row.function, row.dtype, 1, row.output, 1))
    if peer in {"NumPy", "SciPy"} and one and BASELINE in one.times:
        extra, lost = one.ours - one.times[BASELINE], (row.ours - theirs) * row.size
        if lost <= extra:
            return f"a call costs {figure(extra)} ns more than one of {BASELINE}; {figure(lost)} ns are lost here"
    alone = cases.get((row.function, row.dtype, row.size, row.output, 1))
    if row.threads > 1 and alone and alone.ratio >= 1 / CLEAR:
        return f"threads: one takes {figure(alone.ours)} ns, and the fastest peer {figure(alone.ours * alone.ratio)} ns"
    errors = results.errors.get(row.function, {}).get(row.dtype, {})
    if {OURS, peer} <= errors.keys() and errors[peer] >= errors[OURS] + _EXACTER:
        return f"exactness: {_error(errors[OURS])} ulp instead of {_error(errors[peer])}; {_PRICE[row.dtype]}"
    return UNEXPLAINED


def verdict(results: CpuResults) -> str:
    """Return the comparison in one sentence."""
    all_, losses = Standing.of(results.rows), results.losses
    unexplained = sum(explanation(row, results) == UNEXPLAINED for row in losses)
    return (
        f"At or ahead of the fastest peer in {all_.level} of {all_.cases} cases ({_share(all_.level, all_.cases)}), up"
        f" to {CLEAR - 1:.0%} behind, which a repetition may turn, included; without them in {all_.ahead}"
        f" ({_share(all_.ahead, all_.cases)}). Geometric mean over all cases: {figure(all_.mean)} times as fast as the"
        f" fastest peer. {len(losses)} losses, {unexplained} of them not explained."
    )


def as_markdown(results: CpuResults) -> str:
    """Return the whole report."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: CpuResults) -> Iterator[str]:
    peers = names(row.times for row in results.compared)[1:]
    yield "# Speed beside other libraries on a CPU"
    yield ""
    yield f"Written by `{COMMAND}`; with `--from benchmarks/results/cpu.json` it is told again without measuring."
    yield ""
    yield f"**{verdict(results)}**"
    yield ""
    yield "![Times as fast as the fastest peer, by function](cpu.png)"
    yield ""
    yield from _method(peers)
    yield from ("", "## Machine", "")
    yield from (f"- {name}: {fact}" for name, fact in results.machine.items())
    yield from ("", "## Geometric means", "")
    yield from _means(results)
    yield from ("", "## Beside each peer", "")
    yield from _by_peer(results, peers)
    yield from ("", "## Losses", "")
    yield from _losses(results)
    yield from ("", "## A call on one element, in nanoseconds", "")
    yield from _overhead(results)
    yield from ("", "## Largest errors, in ulp", "")
    yield from _errors(results)
    yield from ("", "## Threads at work", "")
    yield from _at_work(results)
    yield from ("", "## All cases", "")
    yield from _cases(results)


def _method(peers: list[str]) -> Iterator[str]:
    yield (
        f"Peers: {', '.join(peers)}. A case is a function, a dtype, a number of elements, an output that is"
        " preallocated or fresh, and a number of threads, which is that of every library: each number has a process of"
        " its own. The libraries of a case take turns on the same array, and the shortest time of each counts; who"
        " takes more than three times as long as the fastest is timed less often. All results are compared with ours."
        " *Ratio* is the time of the fastest peer over ours: above 1 we are ahead."
    )
    yield ""
    yield (
        "Each library is called in its fastest way: torch in inference mode and with `out=`, ONNX Runtime with bound"
        " output, JAX compiled (it takes no output, so it has no preallocated cases), numexpr compiled once, NumPy's"
        " formulas with `out=` for every step. NumPy and SciPy have one thread."
    )


def _means(results: CpuResults) -> Iterator[str]:
    yield from _head("", "cases", "ahead", "ahead or level", "geometric mean")
    yield _row("**all**", *_standing(Standing.of(results.rows)))
    for ulp in _EXACT_PEERS:
        standing = Standing.of(results.beside(ulp))
        if standing.cases:
            yield _row(f"of peers only those within {ulp:g} ulp", *_standing(standing))
    groups: dict[str, Callable[[CpuRow], Any]] = {
        "{}": lambda row: row.function,
        "{} ": lambda row: row.dtype,
        "{:,} elements": lambda row: row.size,
        "output {}": lambda row: _OUTPUT[row.output],
        "{} thread(s)": lambda row: row.threads,
    }
    for title, key in groups.items():
        for value in dict.fromkeys(map(key, results.compared)):
            of = [row for row in results.compared if key(row) == value]
            yield _row(title.format(value).strip(), *_standing(Standing.of(of)))


def _standing(standing: Standing) -> tuple[str, ...]:
    return (
        str(standing.cases),
        str(standing.ahead),
        f"{standing.level} ({_share(standing.level, standing.cases)})",
        figure(standing.mean),
    )


def _by_peer(results: CpuResults, peers: list[str]) -> Iterator[str]:
    yield from _head("peer", "cases", "faster than ours in", "its time over ours, geometric mean")
    for peer in peers:
        ratios = against(peer, results.compared)
        yield _row(peer, str(len(ratios)), str(sum(ratio < 1 for ratio in ratios)), figure(mean(ratios)))


def _losses(results: CpuResults) -> Iterator[str]:
    if not results.losses:
        yield "None."
        return
    yield "The worst first."
    yield ""
    yield from _head(*_CASE, "ours, ns", "fastest", "its ns", "ratio", "its error, ulp", "what holds it")
    for row in results.losses:
        yield _row(*_case(row), *_result(row, results), explanation(row, results))


def _overhead(results: CpuResults) -> Iterator[str]:
    yield from _head("function", "dtype", "output", OURS, f"`{BASELINE}`", "ratio")
    for row in results.rows:
        if BASELINE in row.times:
            base = row.times[BASELINE]
            yield _row(row.function, row.dtype, _OUTPUT[row.output], *map(figure, (row.ours, base, row.ours / base)))


def _errors(results: CpuResults) -> Iterator[str]:
    libraries = names(errors for of in results.errors.values() for errors in of.values())
    yield "On numbers between -20 and 20, where nothing overflows; 0.5 is correct rounding."
    yield ""
    yield from _head("function", "dtype", *libraries)
    for function, of in results.errors.items():
        for dtype, errors in of.items():
            yield _row(function, dtype, *(_error(errors.get(name)) for name in libraries))


def _at_work(results: CpuResults) -> Iterator[str]:
    largest = max((row.size for row in results.compared), default=0)
    of_size = [row for row in results.compared if row.size == largest]
    libraries = names(row.at_work for row in of_size)
    yield (
        f"Time of all threads over that of the clock, with {largest:,} elements: the median of all functions. It shows"
        " that the number of threads is in effect; threads that wait in a loop count as well."
    )
    yield ""
    yield from _head("threads", *libraries)
    for threads in sorted({row.threads for row in of_size}):
        found = [row.at_work for row in of_size if row.threads == threads]
        times = ([of[name] for of in found if name in of] for name in libraries)
        yield _row(str(threads), *(figure(statistics.median(of) if of else None) for of in times))


def _cases(results: CpuResults) -> Iterator[str]:
    yield "Nanoseconds per element."
    yield ""
    yield from _head(*_CASE, "ours", "fastest", "its ns", "ratio", "its error, ulp")
    for row in results.compared:
        yield _row(*_case(row), *_result(row, results))


_WORDS = {"", "function", "dtype", "output", "peer", "fastest", "what holds it"}
_CASE = ("function", "dtype", "elements", "output", "threads")


def _case(row: CpuRow) -> tuple[str, ...]:
    return row.function, row.dtype, f"{row.size:,}", _OUTPUT[row.output], str(row.threads)


def _result(row: CpuRow, results: CpuResults) -> tuple[str, ...]:
    peer = str(row.fastest)
    error = results.errors.get(row.function, {}).get(row.dtype, {}).get(peer)
    ratio = figure(row.ratio)
    return figure(row.ours), peer, figure(row.times[peer]), ratio if row.ratio >= 1 else f"**{ratio}**", _error(error)


def _error(ulp: float | None) -> str:
    if ulp is None:
        return ""
    return figure(ulp) if ulp < 1000 else f"{ulp:.0e}".replace("e+0", "e").replace("e+", "e")  # noqa: PLR2004


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _head(*headings: str) -> Iterator[str]:
    """Yield the head of a table with numbers aligned to the right."""
    yield _row(*headings)
    yield _row(*("---" if heading in _WORDS else "--:" for heading in headings))


def _row(*texts: str) -> str:
    return f"| {' | '.join(texts)} |"
