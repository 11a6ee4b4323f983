"""What the accelerator shows of owners, and changes of them, by what a module says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viewos.files import Changed, Known
    from viewos.module import VirtualModule
    from viewos.monitor.accelerator.native import Accelerator as Native

_MOST_IDS = 32
"""MAPPED of tables.h."""


class Changes:
    """Changes of owners that the accelerator makes for one view: see `Changing`."""

    def __init__(self, native: Native, view: int) -> None:
        self._native = native
        self._view = view

    def allow(self, device: int) -> None:
        """See `Changing`."""
        self._native.allow_changes(self._view, device)

    def make_plainly(self, is_plain: bool, *, unless_known: bool = False) -> None:
        """See `Changing`."""
        self._native.make_plainly(self._view, is_plain * (1 if unless_known else 2))

    def be_alone(self, is_alone: bool) -> None:
        """See `Changing`."""
        self._native.be_alone(self._view, is_alone)

    def taken(self) -> list[Changed]:
        """See `Changing`."""
        return self._native.take_changes(self._view, 0)

    def hold(self) -> list[Changed]:
        """See `Changing`."""
        return self._native.take_changes(self._view, 1)

    def release(self) -> None:
        """See `Changing`."""
        self._native.take_changes(self._view, -1)


class Owning:
    """A module whose `stat` the accelerator answers as well, where it is data; and which may let
    it change owners."""

    def __init__(self, module: VirtualModule, view: int) -> None:
        self._module = module
        self._view = view
        self._native: Native | None = None
        self._is_closed = False
        self._early: list[tuple[int, Known | None]] = []
        self.owners = module.show_owners(self._tell)

    @property
    def is_data(self) -> bool:
        """Does the module show owners as data that the C side has room for?"""
        owners = self.owners
        return owners is not None and max(len(owners.uids), len(owners.gids)) <= _MOST_IDS

    def teach(self, native: Native, *, changes: bool) -> None:
        """Give the C side what is known, and what is going to be. `changes`: it may change owners
        where the module lets it."""
        if self.owners is None:
            return
        owners = self.owners
        owner, group = (-1 if one is None else one for one in (owners.owner, owners.group))
        native.set_owners(
            self._view, dict(owners.uids), dict(owners.gids), owner, group, owners.while_equal
        )
        self._native = native
        for told in self._early:
            self._tell(*told)
        self._early = []
        if changes:
            self._module.change_owners(Changes(native, self._view))

    def close(self) -> None:
        """Nothing more is to be told."""
        self._is_closed = True

    def _tell(self, inode: int, known: Known | None) -> bool:
        if self._is_closed:
            return True
        native = self._native
        if native is None:
            self._early.append((inode, known))
        elif known is None or known.handle[:1] != b"h":
            native.may_remember(self._view, inode)
        else:
            kind, _, handle = known.handle[1:].partition(b" ")
            native.remember(
                self._view, known.device, inode, known.rdev, known.uid, known.gid, known.mode,
                known.has_more, int(kind), handle,
            )  # fmt: skip
        return False
