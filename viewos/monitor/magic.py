"""Magic links of procfs: they lead to an object, whatever their text says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from viewos.monitor.marks import held_by
from viewos.monitor.namespaces import is_view

if TYPE_CHECKING:
    from viewos.monitor.mounts import MountTable
    from viewos.monitor.router import Router

NAMES = rb"/(\d+)(?:/task/\d+)?/(cwd|root|exe|fd/\d+|map_files/[^/]+)\Z"
"""Those whose text is a name, below a procfs."""
_OF_VIEW = rb"/(\d+)(?:/task/\d+)?/(root|exe)\Z"


class MagicLinks:
    """As the kernel has them: with no view."""

    def __init__(self, mounts: MountTable) -> None:
        self._mounts = mounts

    def stands_for(self, link: bytes, text: bytes) -> bytes | None:
        """The virtual path to which `link`, with that text, leads where that is another one than
        the kernel's."""
        return None

    def kept_for(self, link: bytes, text: bytes) -> bytes | None:
        """The path of ours to an object without a name to which such a link leads."""
        return None

    def hint_for(self, link: bytes) -> bytes | None:
        """The claim by which the directory behind such a link was entered."""
        return None

    def leads_to(self, link: bytes, text: bytes) -> bool:
        """Is the directory behind such a link the one that its text names in the view?"""
        return self._mounts.leads_to(link, text)


class ViewLinks(MagicLinks):
    """As the programs of a view have them."""

    def __init__(self, router: Router) -> None:
        super().__init__(router.mounts)
        self._router = router

    def stands_for(self, link: bytes, text: bytes) -> bytes | None:
        """Of /proc/PID/root and exe the kernel's leads out of the view, or to the loader of the
        program."""
        view = self._router.view
        match = self._mounts.match_proc(_OF_VIEW, link)
        state = None if match is None else view.states.found_in(int(match[1]))
        if match is None or state is None:
            return None
        if match[2] == b"root":
            is_shown = state.view == self._router.number and text == b"/"
            return (state.root or b"/") if is_shown and self.leads_to(link, text) else None
        executed, standins = text.removesuffix(b" (deleted)"), view.standins
        if executed in standins.sources:
            return None
        program, is_copy = standins.program_of(state, text), executed in standins.originals
        if program is None or (is_copy and standins.is_gone(program, text)):
            return None  # of a program without a name the copy is what is left
        return self._router.resolver.claims.reverse(program)

    def kept_for(self, link: bytes, text: bytes) -> bytes | None:
        """The program from whose copy a process runs, where /proc/PID/exe would lead to the copy:
        of a program without a name, or that we may not reach by it."""
        source = self._router.view.standins.sources.get(text.removesuffix(b" (deleted)"))
        if source is None or not link.endswith(b"/exe"):
            return None
        return b"/proc/%d/fd/%d" % (os.getpid(), source)

    def hint_for(self, link: bytes) -> bytes | None:
        """Of /proc/PID/cwd and fd."""
        match = self._mounts.match_proc(NAMES, link)
        if match is not None and match[2][:3] == b"fd/":
            return held_by(self._router, int(match[1]), int(match[2][3:]))
        if match is None or match[2] != b"cwd" or self._router.keeps_nothing:
            return None
        state = self._router.view.states.found_in(int(match[1]))
        return None if state is None else state.cwd

    def leads_to(self, link: bytes, text: bytes) -> bool:
        """Another mount name space has other directories by the same names, unless the view goes
        on there."""
        match = self._mounts.match_proc(NAMES, link)
        if match is not None and self._router.view.states.found_in(int(match[1])) is not None:
            try:
                task, _ = self._router.tasks.get(int(match[1]))
                if not task.same_mounts and is_view(task):
                    return True
            except OSError:
                return False
        return super().leads_to(link, text)
