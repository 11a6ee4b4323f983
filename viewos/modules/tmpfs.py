"""tmpfs: an empty directory of the view's own, which is gone when the view is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from viewos import Claim, RealPath, SpecError, VirtualModule, VirtualPath

if TYPE_CHECKING:
    from viewos import Items

MODE = 0o1777
"""Of the directory, as of a tmpfs that the kernel mounts (tmpfs(5))."""


class Tmpfs(VirtualModule):
    """Show an empty directory at PATH, whose files are gone with the view."""

    name = "tmpfs"
    grammar = "tmpfs:PATH[,mode=OCTAL]"
    example = "tmpfs:/build,mode=0700"

    def __init__(self, path: str | bytes, *, mode: int = MODE, ro: bool = False) -> None:
        """Arguments: the `path` in the view, the permissions of the directory, and whether it is
        read-only, for a remount that changes that (`mount -o remount,bind,rw`).

        The files lie in the view's scratch directory (TMPDIR says where), and so on a disk if that
        does: there is no limit to their size but the disk's own.
        """
        self._path = os.fsencode(path)
        self._mode = mode
        self._read_only = ro
        self._root = b""

    @classmethod
    def from_items(cls, items: Items) -> Self:
        """PATH, and perhaps the mode."""
        path, mode = "", MODE
        for item in items:
            if item.key == "mode":
                mode = _octal(item.value)
                if mode < 0:
                    raise items.error(item, "a mode is an octal number up to 7777")
            elif item.key is None and item.value.startswith("/") and not path:
                path = item.value
            else:
                raise items.error(item, "expected one PATH that begins with a slash, or mode=OCTAL")
        if not path:
            raise items.error(None, "expected PATH")
        return cls(path, mode=mode)

    @classmethod
    def from_mount(cls, source: bytes, target: bytes, options: list[str]) -> Self:
        """As `mount -t tmpfs`: the source means nothing; the options are mode=OCTAL, ro, rw."""
        mode, read_only = MODE, False
        for option in options:
            key, _, value = option.partition("=")
            mode = _octal(value) if key == "mode" else mode
            if mode < 0 or (key != "mode" and option not in ("ro", "rw")):
                raise SpecError(f"tmpfs: the options are mode=OCTAL and ro, and not {option}")
            read_only = option == "ro" or (read_only and option != "rw")
        return cls(target, mode=mode, ro=read_only)

    def start(self, scratch: bytes) -> None:
        """Make the directory."""
        self._root = os.path.join(scratch, b"root")
        os.mkdir(self._root)
        os.chmod(self._root, self._mode)  # whatever the umask

    def claims(self) -> Iterable[Claim]:
        """That directory, at PATH."""
        prefix, root = VirtualPath(self._path), RealPath(self._root)
        yield Claim(prefix, root, scratch=True, read_only=self._read_only)


def _octal(text: str) -> int:
    mode = int(text, 8) if text and set(text) <= set("01234567") else -1
    return mode if mode <= 0o7777 else -1
