"""vfs: a file or directory tree at another path."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from viewos import Claim, RealPath, SpecError, VirtualModule, VirtualPath, absolute

if TYPE_CHECKING:
    from viewos import Items


class Vfs(VirtualModule):
    """Show the file or directory BACKING at PATH, as a bind mount would."""

    name = "vfs"
    grammar = "vfs:PATH=BACKING[,ro][,PATH=BACKING[,ro]]...[,msghdr=off]"
    example = "vfs:/mnt=/tmp/x,/etc/hosts=hosts,ro"

    def __init__(
        self,
        path: str | bytes,
        backing: str | bytes,
        *,
        ro: bool = False,
        msghdr: bool = True,
    ) -> None:
        """Arguments: `path` in the view, `backing` a path of the view below; `ro` refuses every
        change;
        `msghdr`: map AF_UNIX names in sendmsg(2), recvmsg(2) and their kin as well. BPF does not
        see them, so this traps every such call of every socket.
        """
        self._msghdr = msghdr
        self._mounts = [(os.fsencode(path), os.fsencode(backing), ro)]

    @classmethod
    def from_items(cls, items: Items) -> Self:
        """PATH=BACKING pairs, each with `ro` behind it if it is read-only."""
        mounts: list[tuple[bytes, bytes, bool]] = []
        msghdr = True
        for item in items:
            if item.key == "msghdr" and item.value == "off":
                msghdr = False
            elif item.key is None and item.value == "ro" and mounts and not mounts[-1][2]:
                mounts[-1] = (*mounts[-1][:2], True)
            elif item.key is None:
                raise items.error(item, "expected PATH=BACKING, ro behind one, or msghdr=off")
            elif not item.key.startswith("/"):
                raise items.error(item, "PATH must begin with a slash")
            elif not item.value:
                raise items.error(item, "BACKING is empty")
            else:
                mounts.append((os.fsencode(item.key), os.fsencode(item.value), False))
        if not mounts:
            raise items.error(None, "expected PATH=BACKING")
        module = cls(*mounts[0][:2], ro=mounts[0][2])
        module._mounts, module._msghdr = mounts, msghdr
        return module

    @classmethod
    def from_mount(cls, source: bytes, target: bytes, options: list[str]) -> Self:
        """As mount(8) with --bind: SOURCE is seen at TARGET too; the option is `ro` (or `rw`).

        AF_UNIX names in sendmsg(2) and its kin are not mapped: a view need not trap them."""
        for option in options:
            if option not in ("ro", "rw", "bind", "rbind"):
                raise SpecError(f"vfs: there is no option {option} (there are ro and rw)")
        read_only = [option for option in options if option in ("ro", "rw")][-1:] == ["ro"]
        return cls(target, source, ro=read_only, msghdr=False)

    def claims(self) -> Iterable[Claim]:
        """One rule a pair."""
        for path, backing, ro in self._mounts:
            yield Claim(
                VirtualPath(path),
                RealPath(absolute(backing)),
                read_only=ro,
                msghdr=self._msghdr,
            )
