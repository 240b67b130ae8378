"""How the operands of kernels over an axis lie in memory."""

from __future__ import annotations

import enum

COLUMNS = 128
"""Columns that are worked on at a time, so that the lanes of their sums stay in the cache."""


class Layout(enum.Enum):
    """The operands of a kernel, all C-contiguous."""

    ROWS = "rows"  # (rows, n): along the last axis
    ROWS_IN_PLACE = "rows_in_place"  # the first operand is the output
    COLUMNS = "columns"  # (blocks, n, columns): along the middle axis

    @property
    def in_place(self) -> bool:
        """True if the first operand is overwritten by the result."""
        return self is Layout.ROWS_IN_PLACE

    @property
    def columns(self) -> bool:
        """True if vectors run across the axis instead of along it."""
        return self is Layout.COLUMNS

    @property
    def ndim(self) -> int:
        """Dimensions of every operand."""
        return 3 if self.columns else 2

    def tasks(self, shape: tuple[int, ...]) -> int:
        """Return the number of independent tasks: rows, or in each block groups of columns."""
        return shape[0] * -(-shape[2] // COLUMNS) if self.columns else shape[0]
