"""What every file module keeps to, as tests that a module's own tests inherit."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from viewos.claims import Claim, VirtualPath
from viewos.module import FileModule, VirtualModule


@contextmanager
def started(module: VirtualModule) -> Iterator[VirtualModule]:
    """A module between `start`, with a scratch directory of its own, and `stop`."""
    scratch = os.fsencode(tempfile.mkdtemp(prefix="viewos-testing-"))
    try:
        module.start(scratch)
        try:
            yield module
        finally:
            module.stop()
    finally:
        shutil.rmtree(scratch)


class FileModuleConformance:
    """What every `FileModule` keeps to; a test class for pytest.

    Subclass it and set `module` to a function that makes one:

        class TestNotes(FileModuleConformance):
            module = staticmethod(Notes)

    The tests walk the tree as the monitor would, up to `most` objects.
    """

    module: Callable[[], FileModule]
    most: int = 500

    @contextmanager
    def _tree(self) -> Iterator[tuple[FileModule, Claim, dict[bytes, os.stat_result]]]:
        """The started module, its claim, and virtual path below the claim -> lstat."""
        module = self.module()
        with started(module):
            (claim,) = module.claims()
            found: dict[bytes, os.stat_result] = {}
            todo = [b""]
            while todo and len(found) < self.most:
                path = todo.pop()
                real = module.locate(path, "look")
                found[path] = os.lstat(real)
                if stat.S_ISDIR(found[path].st_mode):
                    opened = module.locate(path, "read")
                    todo += [path + b"/" + name for name in sorted(os.listdir(opened))]
            yield module, claim, found

    def test_the_claim_is_absolute_and_located_by_the_module(self) -> None:
        with self._tree() as (module, claim, _):
            assert claim.prefix.startswith(b"/"), "mount_point must be absolute"
            assert claim.prefix == b"/" or not claim.prefix.endswith(b"/")
            assert claim.module is module, "the claim must name the module that locates"
            assert claim.backing == module.root
            assert module.root.startswith(b"/")
            below = claim.locate(VirtualPath(claim.prefix), "look")
            assert below == module.locate(b"", "look"), 'the root is asked for as b""'

    def test_locate_is_stable(self) -> None:
        """The same path leads to the same object, whatever the call wants of it."""
        with self._tree() as (module, _, found):
            for path, seen in found.items():
                for intent in ("look", "read", "look"):
                    now = os.lstat(module.locate(path, intent))
                    assert (now.st_dev, now.st_ino) == (seen.st_dev, seen.st_ino), path

    def test_locate_stays_below_the_root(self) -> None:
        with self._tree() as (module, _, found):
            for path in found:
                for rest in (b"", b"/missing", b"/missing/deep"):
                    real = module.locate(path + rest, "look")
                    assert _is_below(real, module.root), (path + rest, real)
            for path in (b"/..", b"/../x", b"/../../../../etc/passwd", b"/x/../../y", b"/./.."):
                with _refused_by(errno.ENOENT, errno.ENOTDIR):
                    real = module.locate(path, "look")
                    assert _is_below(real, module.root), f"{path!r} escapes to {real!r}"

    def test_links_lead_nowhere_by_themselves(self) -> None:
        """The monitor follows a link in the view: `locate` must not do it for it."""
        with self._tree() as (module, _, found):
            for path in _links(module, found):
                for intent in ("look", "read", "write"):
                    with _refused_by(errno.EROFS if intent == "write" else 0):
                        assert stat.S_ISLNK(os.lstat(module.locate(path, intent)).st_mode), path
                        module.locate(path + b"/below", intent)

    def test_prepare_is_idempotent(self) -> None:
        with self._tree() as (module, _, found):
            for path in found:
                module.prepare(path, "read")
                once = _content(module.locate(path, "read"))
                module.prepare(path, "read")
                module.prepare(path, "look")
                assert _content(module.locate(path, "read")) == once, path

    def test_a_look_tells_what_a_read_finds(self) -> None:
        """Type, permissions, size and time do not change when a file is opened."""
        with self._tree() as (module, _, found):
            for path, seen in found.items():
                now = os.lstat(module.locate(path, "read"))
                assert stat.S_IFMT(now.st_mode) == stat.S_IFMT(seen.st_mode), path
                assert stat.S_IMODE(now.st_mode) == stat.S_IMODE(seen.st_mode), path
                assert now.st_mtime_ns == seen.st_mtime_ns, path
                assert now.st_nlink == seen.st_nlink, path
                if stat.S_ISREG(now.st_mode):
                    assert now.st_size == seen.st_size, f"{path!r}: the size was wrong"
                    assert len(_content(module.locate(path, "read"))) == now.st_size, path

    def test_a_listing_shows_types(self) -> None:
        with self._tree() as (module, _, found):
            for path, seen in found.items():
                if not stat.S_ISDIR(seen.st_mode):
                    continue
                for entry in os.scandir(module.locate(path, "read")):
                    child = found.get(path + b"/" + entry.name)
                    if child is not None:
                        assert entry.inode() == child.st_ino, entry.path
                        assert entry.is_dir(follow_symlinks=False) == stat.S_ISDIR(child.st_mode)
                        assert entry.is_symlink() == stat.S_ISLNK(child.st_mode)

    def test_missing_names_do_not_exist(self) -> None:
        with self._tree() as (module, _, found):
            directories = [path for path, seen in found.items() if stat.S_ISDIR(seen.st_mode)]
            for path in directories:
                for intent in ("look", "read"):
                    with _refused_by(errno.ENOENT):
                        real = module.locate(path + b"/viewos-no-such-name", intent)
                        assert not os.path.lexists(real), path

    def test_bytes_and_long_names_are_no_surprise(self) -> None:
        with self._tree() as (module, _, _found):
            for name in (b"\xff\xfe", b"a" * 255, b"a" * 256, b"new\nline", b"...", b" "):
                with _refused_by(errno.ENOENT, errno.ENAMETOOLONG):
                    assert _is_below(module.locate(b"/" + name, "look"), module.root), name

    def test_read_only_is_said_in_the_claim(self) -> None:
        """The monitor refuses changes by the claim: it must agree with the module."""
        with self._tree() as (module, claim, _):
            assert claim.read_only is bool(module.read_only)

    def test_a_writable_tree_takes_changes(self) -> None:
        """A new file at the top stays where it was put; a read-only module has none to take."""
        with self._tree() as (module, claim, found):
            if claim.read_only or not stat.S_ISDIR(found[b""].st_mode):
                return
            path = b"/viewos-new-file"
            real = module.locate(path, "create")
            with open(real, "wb") as file:
                file.write(b"new")
            module.committed(path, "create")
            assert _content(module.locate(path, "read")) == b"new"
            os.unlink(module.locate(path, "remove"))
            module.committed(path, "remove")
            assert not os.path.lexists(module.locate(path, "look"))


def _is_below(real: bytes, root: bytes) -> bool:
    normal, root = os.path.normpath(real), os.path.normpath(root)
    return normal == root or normal.startswith(root.rstrip(b"/") + b"/")


def _links(module: FileModule, found: dict[bytes, os.stat_result]) -> list[bytes]:
    """The symbolic links, as the directories that hold them say."""
    directories = [path for path, seen in found.items() if stat.S_ISDIR(seen.st_mode)]
    return [
        path + b"/" + entry.name
        for path in directories
        for entry in os.scandir(module.locate(path, "read"))
        if entry.is_symlink()
    ]


def _content(real: bytes) -> bytes:
    mode = os.lstat(real).st_mode
    if stat.S_ISLNK(mode):
        return os.readlink(real)
    if stat.S_ISREG(mode):
        with open(real, "rb") as file:
            return file.read()
    return b"\0".join(sorted(os.listdir(real))) if stat.S_ISDIR(mode) else b""


@contextmanager
def _refused_by(*errnos: int) -> Iterator[None]:
    """What happens inside may also be an OSError with one of these errnos."""
    try:
        yield
    except OSError as error:
        if error.errno not in errnos:
            raise AssertionError(f"the wrong error: {error}") from error
