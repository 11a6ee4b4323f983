"""The view's scratch directory: module's files, and names that lead elsewhere."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viewos.view import View


def scratch_directory(view: View) -> bytes:
    """The view's scratch directory, made when first wanted; its name is short on purpose."""
    if not view.scratch:
        view.scratch = _new_directory()
        os.chmod(view.scratch, 0o711)  # programs of the view may run as other users
    return view.scratch


def _new_directory() -> bytes:
    """What tempfile.mkdtemp makes, whose imports take 5 ms of a start. Raises OSError."""
    wanted = [os.environb.get(name) for name in (b"TMPDIR", b"TEMP", b"TMP")]
    for top in (*wanted, b"/tmp", b"/var/tmp", b"/usr/tmp", b"."):
        if not top:
            continue
        made = os.path.join(os.path.abspath(top), b"vos-" + os.urandom(5).hex().encode())
        try:
            os.mkdir(made, 0o700)
            return made
        except OSError as error:  # the next may do
            failed = error
    raise failed


def short_name(view: View, real: bytes) -> bytes:
    """A short path by which the kernel reaches `real`: through a link in the view's scratch
    directory to its parent, because a call may mean the name itself and not where it leads."""
    parent, name = os.path.split(real.rstrip(b"/"))
    name += real[len(real.rstrip(b"/")) :]
    return os.path.join(short_link(view, parent), name)


def short_link(view: View, real: bytes) -> bytes:
    """A link to `real` in the view's scratch directory."""
    link = view.links.get(real)
    if link is None:
        link = b"%s/%x" % (scratch_directory(view), len(view.links))
        while True:
            try:
                os.symlink(real, link)
                break
            except FileExistsError:  # another thread's
                link += b"_"
        view.links[real] = link
    return link


def endless_path(view: View) -> bytes:
    """A path for which the kernel says ELOOP, whatever the call does with its last component."""
    loop = scratch_directory(view) + b"/loop"
    with suppress(FileExistsError):
        os.symlink(b"loop", loop)
    return loop + b"/x"
