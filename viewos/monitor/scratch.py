"""The view's scratch directory: module's files, and names that lead elsewhere."""

from __future__ import annotations

import itertools
import os
import stat
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


_PATH_ONLY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: bytes) -> None:
    """Remove a scratch directory, as far as that goes, and nothing to which a link leads."""
    import shutil

    with suppress(RecursionError):
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        top = os.open(path, _READ)
        try:
            _remove_closed(top)
        finally:
            os.close(top)
        os.rmdir(path)


def _remove_closed(top: int) -> None:
    """Remove what a directory holds where programs have left directories without permissions, or
    deeper than there are descriptors. Each is moved to the top before it is looked into."""
    todo = [b"."]
    numbers = itertools.count()
    while todo:
        name = todo.pop()
        with suppress(OSError):
            here = os.open(name, _READ, dir_fd=top)
            try:
                for entry in os.listdir(here):
                    moved = b"-%d" % next(numbers)
                    if _moved_or_removed(here, os.fsencode(entry), top, moved):
                        todo.append(moved)
            finally:
                os.close(here)
            if name != b".":
                os.rmdir(name, dir_fd=top)


def _moved_or_removed(directory: int, name: bytes, top: int, moved: bytes) -> bool:
    """Remove a file; move a directory to the top, opened up (True)."""
    with suppress(OSError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=directory)
            return False
        found = os.open(name, _PATH_ONLY, dir_fd=directory)
        try:
            os.chmod(f"/proc/self/fd/{found}", 0o700)
        finally:
            os.close(found)
        os.rename(name, moved, src_dir_fd=directory, dst_dir_fd=top)
        return True
    return False
