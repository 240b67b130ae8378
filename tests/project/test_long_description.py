"""The README in the wheel reads without the repository beside it."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\((?!https?:)")


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build a wheel as pip does, and return its long description."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode and "No matching distribution found for hatch" in done.stderr:
        pytest.skip("no index to build a wheel from")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        message = email.message_from_bytes(archive.read(name))
    assert message["Description-Content-Type"] == "text/markdown"
    return str(message.get_payload(decode=True), "utf-8")


def test_no_link_needs_the_repository(description: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert LINK.search(readme)  # there is something to be mended
    assert not LINK.search(description)
    assert "![" not in description
    for path in re.findall(r"(?<!!)\[[^\]]+\]\((?!https?:|#)([^)]*)\)", readme):
        assert f"(`{path}`)" in description


def test_all_else_is_the_readme(description: str) -> None:
    def words(text: str) -> list[str]:
        """Leave pictures and targets of links away."""
        text = re.sub(r"(?m)^!\[[^\]]*\]\([^)]*\)$", "", text)
        text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
        return re.sub(r" \(`(?:benchmarks/results|\.github)/[^`]*`\)", "", text).split()

    assert words(description) == words((ROOT / "README.md").read_text(encoding="utf-8"))
