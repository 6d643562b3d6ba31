# SPDX-License-Identifier: MIT
"""The table that a suite ends with: each test adds the lines it has earned."""


class Figures:
    """A table by its head; shown only when a test added to it."""

    def __init__(self, *head):
        self._rows = [head]

    def add(self, *row):
        if len(row) != len(self._rows[0]):
            raise ValueError(f"a line has {', '.join(self._rows[0])}")
        self._rows.append(tuple(str(cell) for cell in row))

    def show(self, reporter):
        """At the end of a run, in pytest's terminal summary."""
        if len(self._rows) == 1:
            return
        widths = [max(len(row[i]) for row in self._rows) for i in range(len(self._rows[0]))]
        reporter.write_line("")
        for row in self._rows:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths))
            reporter.write_line(line.rstrip())
