"""What a case is: a script, who runs it, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NOBODY = 65534
USERS = (0, NOBODY)
DASH = ("dash", "-c")
VIEWS = ("identity", "mnt")
INPROC = "inproc"
"""As "mnt", with the in-process tier, which the others are without."""
BASH = ("bash", "--norc", "-c")
BUSYBOX = ("busybox", "sh", "-c")


@dataclass(frozen=True)
class Case:
    """A script that prints the same bytes whenever it is run.

    It starts in an empty directory that belongs to the user. Process ids, inode numbers and the
    time stay out of what it prints and writes; modification times that it does not set itself
    count as "now".
    """

    script: str
    given: str = ""
    """A script that is run before, natively, by the same user in the same directory."""
    shell: tuple[str, ...] = DASH
    users: tuple[int, ...] = USERS
    timeout: float = 120
    """Seconds for one run."""
    stdin: bytes | None = None
    views: tuple[str, ...] = VIEWS
    gaps: Mapping[str, str] = field(default_factory=dict, hash=False)
    """view -> what is known to be wrong there; the day it is right, the test says so."""
    leaves: bool = False
    """Processes of it leave the view, with a line in its log for each."""


Table = Mapping[str, Case | str]
"""name -> case; a string is the script of a case with nothing else to say."""

TREE = r"""
mkdir -p tree/a/b tree/empty
printf 'one\n' >tree/one
printf 'two\nlines\n' >tree/a/two
printf 'deep' >tree/a/b/deep
printf '#!/bin/sh\necho run $# "$@"\n' >tree/run
chmod 755 tree/run
chmod 600 tree/a/two
ln -s one tree/link
ln -s a/b tree/dirlink
ln -s nowhere tree/dangling
ln -s /mnt/tree/a/two tree/absolute
ln tree/one tree/a/hard
mkfifo tree/fifo
truncate -s 100K tree/sparse
printf 'end' >>tree/sparse
printf 'sp' >'tree/with space'
printf 'nl' >"$(printf 'tree/new\nline')"
printf 'hy' >tree/-dash
printf 'utf' >tree/größe
chmod 700 tree/empty
find tree -exec touch -h -d '2001-02-03 04:05:06.789 UTC' {} +
touch -d '1999-12-31 23:59:59 UTC' tree/one
"""
"""A tree with one of everything, with times of its own."""
