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
UNCHANGED = -1
_LIMITS = ("size", "nr_blocks", "nr_inodes")
_IDS = ("uid", "gid")


class Tmpfs(VirtualModule):
    """Show an empty directory at PATH, whose files are gone with the view."""

    name = "tmpfs"
    grammar = "tmpfs:PATH[,mode=OCTAL]"
    example = "tmpfs:/build,mode=0700"

    def __init__(
        self,
        path: str | bytes,
        *,
        mode: int = MODE,
        ro: bool = False,
        uid: int = UNCHANGED,
        gid: int = UNCHANGED,
    ) -> None:
        """Arguments: the `path` in the view, the permissions of the directory, whether it is
        read-only, for a remount that changes that (`mount -o remount,bind,rw`), and its owner and
        group, which only the real root can give away.

        The files lie in the view's scratch directory (TMPDIR says where), and so on a disk if that
        does: there is no limit to their size but the disk's own.
        """
        self._path = os.fsencode(path)
        self._mode, self._owner = mode, (uid, gid)
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
        """As `mount -t tmpfs`: the source means nothing; the options are mode=OCTAL, ro, rw, uid=
        and gid= for the real root, and limits of 0, which are none."""
        mode, read_only = MODE, False
        owner = dict.fromkeys(_IDS, UNCHANGED)
        for option in options:
            key, _, value = option.partition("=")
            if option in ("ro", "rw"):
                read_only = option == "ro"
            elif key in _IDS:
                owner[key] = _id(option, value)
            elif key != "mode":
                _refuse_limit(option, key, value)
            elif (mode := _octal(value)) < 0:
                raise SpecError(f"tmpfs: {option}: a mode is an octal number up to 7777")
        return cls(target, mode=mode, ro=read_only, **owner)

    def start(self, scratch: bytes) -> None:
        """Make the directory."""
        self._root = os.path.join(scratch, b"root")
        os.mkdir(self._root)
        os.chown(self._root, *self._owner)
        os.chmod(self._root, self._mode)  # whatever the umask

    def claims(self) -> Iterable[Claim]:
        """That directory, at PATH."""
        prefix, root = VirtualPath(self._path), RealPath(self._root)
        yield Claim(prefix, root, scratch=True, read_only=self._read_only)


def _refuse_limit(option: str, key: str, value: str) -> None:
    """Raise SpecError, unless it is a limit that is none."""
    if key not in _LIMITS:
        raise SpecError(f"tmpfs: the options are mode=OCTAL, uid=, gid= and ro, and not {option}")
    if value != "0":
        raise SpecError(
            f"tmpfs: {option} cannot be kept, as the files lie in TMPDIR and have the room that is"
            f" there: mount it without {key}="
        )


def _id(option: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) < 0xFFFFFFFF):
        raise SpecError(f"tmpfs: {option}: expected a number")
    if os.geteuid() != 0:
        raise SpecError(
            f"tmpfs: {option}: only the real root can give it away: mount it without, and chown it"
        )
    return int(value)


def _octal(text: str) -> int:
    mode = int(text, 8) if text and set(text) <= set("01234567") else -1
    return mode if mode <= 0o7777 else -1
