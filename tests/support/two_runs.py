"""A plugin of pytest for two runs of the tests that together leave none out, as in `.ci/run`.

The first runs where optional libraries are missing, and skips what needs them: ``--write-passed=FILE`` keeps the names
of the tests that passed. The second, ``--all-but=FILE -m ""``, runs all others where everything is installed: what was
skipped, failed, deselected, or not even there. What would still be skipped because something is missing is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

MISSING = ("Skipped: could not import ", "Skipped: unable to import ", "Skipped: no C++ compiler")
"""How the reasons begin that pytest gives, for a test and for the doctests of a module, and what we add."""

_passed: dict[str, bool] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("two runs")
    group.addoption("--write-passed", type=Path, metavar="FILE", help="write the names of the tests that passed")
    group.addoption("--all-but", type=Path, metavar="FILE", help="run all others, where nothing may be missing")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.all_but is None:
        return
    passed = set(config.option.all_but.read_text().splitlines())
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
    items[:] = [item for item in items if item.nodeid not in passed]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _passed[report.nodeid] = report.passed and _passed.get(report.nodeid, True)  # in set-up, call and tear-down


def pytest_sessionfinish(session: pytest.Session) -> None:
    target, is_worker = session.config.option.write_passed, hasattr(session.config, "workerinput")
    if target is not None and not is_worker:
        target.write_text("".join(f"{name}\n" for name, passed in _passed.items() if passed))


def _no_longer_skipped(config: pytest.Config, report: Any) -> None:
    reason = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else ""
    if config.option.all_but is not None and reason.startswith(MISSING):
        report.outcome, report.longrepr = "failed", f"Nothing may be missing here. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    _no_longer_skipped(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    report = yield
    _no_longer_skipped(collector.config, report)
    return report
