"""Numbers that the processes below one parent share: a row for each process, in memory that is mapped before they are forked.

Each process writes its own row, so that none waits for another; a reader adds the rows up. A row stays when its process dies,
and the next process in it counts on: a sum never goes back. See docs/decisions/0007.
"""

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Literal

CELL_BYTES = 8
Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """The series of one metric name. Each combination of `values`, one for each of `labels`, has `width` cells in a row."""

    name: str
    help: str
    kind: Kind
    labels: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds, for a histogram."""
    first: int = 0
    """The cell of the first combination; `SharedCounters` sets it."""

    @property
    def width(self) -> int:
        """The cells of one series. A histogram has one for each bucket, one for what is above them, and one for the sum."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1

    def series(self) -> Iterator[tuple[tuple[str, ...], int]]:
        """Yield the label values and the first cell of each combination."""
        for number, values in enumerate(product(*self.values)):
            yield values, self.first + number * self.width

    @property
    def series_count(self) -> int:
        return prod(map(len, self.values))

    @property
    def size(self) -> int:
        """The cells of all series."""
        return self.width * self.series_count


class SharedCounters:
    """Rows of numbers, all zero at first."""

    def __init__(self, families: Iterable[MetricFamily], rows: int) -> None:
        self.families: dict[str, MetricFamily] = {}
        self._width = 0
        for family in families:
            placed = MetricFamily(
                family.name, family.help, family.kind, family.labels, family.values, family.buckets, first=self._width
            )
            self.families[family.name] = placed
            self._width += placed.size
        self.rows = rows
        self._all = memoryview(mmap.mmap(-1, self._width * rows * CELL_BYTES)).cast("d")

    def row(self, number: int) -> "memoryview[float]":
        return self._all[number * self._width : (number + 1) * self._width]

    def totals(self) -> list[float]:
        """Return the sum of each cell over all rows."""
        return [sum(column) for column in zip(*(self.row(number) for number in range(self.rows)), strict=True)]

    def total_in(self, number: int, name: str) -> float:
        """Return the sum of all series of one family in one row."""
        family = self.families[name]
        return sum(self.row(number)[family.first : family.first + family.size])

    def clear_gauges(self, number: int) -> None:
        """Set the gauges of a row to zero, because its process has ended. Its counters stay."""
        row = self.row(number)
        for family in self.families.values():
            if family.kind == "gauge":
                for _, cell in family.series():
                    row[cell] = 0.0
