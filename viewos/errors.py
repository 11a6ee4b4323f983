"""What goes wrong before a program runs: one line for the user, and the status to end with."""

from __future__ import annotations


class ViewosError(Exception):
    """Something that the user can read and act on. The text is one line."""

    status = 125
    """viewos itself fails: the convention of env(1) and timeout(1)."""


class SpecError(ViewosError):
    """A module, or the words given to it, that are not right."""

    status = 2
