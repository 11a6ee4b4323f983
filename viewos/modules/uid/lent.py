"""Modes that are lent: changed for as long as one call takes, and written down before.

Whoever is killed meanwhile, the next view of the user that has this module puts them back.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from viewos import File

_NAME = "lent-"


class Modes:
    """The modes that one module has lent; one call at a time."""

    def __init__(self) -> None:
        """Raises OSError: there is no place to write them down."""
        self._lock = threading.RLock()
        self._fd = -1
        self._name = b""
        self._is_lending = False
        failed: OSError | None = None
        for directory in directories():
            try:
                _make(directory)
                name = f"{_NAME}{os.getpid()}-{os.urandom(4).hex()}"
                self._name = os.path.join(directory, name.encode())
                flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._fd = os.open(self._name, flags, 0o600)
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                failed = error
        raise failed or FileNotFoundError("no directory")

    def close(self) -> None:
        """Nothing more is lent. Where the monitor was killed, another process does this for it."""
        with suppress(OSError), open(self._name, "rb") as journal:
            _undo_all(journal.readlines())
            os.unlink(self._name)
        os.close(self._fd)

    def leave(self) -> None:
        """In a forked child: it is the parent's."""
        os.close(self._fd)

    @contextmanager
    def using(self) -> Iterator[None]:
        """Held by one call; at its end all modes are what they were."""
        with self._lock:
            try:
                yield
            finally:
                if self._is_lending:
                    os.ftruncate(self._fd, 0)
                self._is_lending = False

    @contextmanager
    def lend(self, path: bytes, mode: int) -> Iterator[None]:
        """Let a file or directory have that mode."""
        import json

        file = File(path=path)
        before = stat.S_IMODE(os.stat(path).st_mode)
        identity = file.identity()
        entry = {
            "path": os.fsdecode(os.readlink(path)), "before": before, "lent": mode,
            "is": [identity.file_system, identity.inode, identity.handle.hex()],
        }  # fmt: skip
        self._is_lending = True
        os.write(self._fd, json.dumps(entry).encode() + b"\n")
        os.chmod(path, mode)
        try:
            yield
        finally:
            _put_back(path, before, mode)


def _put_back(path: bytes | str, before: int, lent: int) -> None:
    """Unless the call was one that changed it."""
    if stat.S_IMODE(os.stat(path).st_mode) == lent:
        os.chmod(path, before)


def directories() -> Iterator[bytes]:
    """Where modes are written down: with the user's state, else where everybody may write."""
    home = os.environb.get(b"XDG_STATE_HOME") or os.path.expanduser(b"~/.local/state")
    yield os.path.join(home, b"viewos")
    yield b"/var/tmp/viewos-state-%d" % os.geteuid()


def _make(directory: bytes) -> None:
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if not _is_ours(directory):
        raise PermissionError("somebody else's directory")


def _is_ours(directory: bytes) -> bool:
    found = os.lstat(directory)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o22


def put_all_back() -> list[str]:
    """Put back what monitors that have been killed had lent; the paths where that failed."""
    failed: list[str] = []
    for directory in directories():
        with suppress(OSError):
            if _is_ours(directory):
                for name in os.listdir(directory):
                    if name.startswith(_NAME.encode()):
                        failed += _put_back_of(os.path.join(directory, name))
    return failed


def _put_back_of(name: bytes) -> list[str]:
    with open(name, "r+b") as journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return []  # its monitor lives
        failed = _undo_all(journal.readlines())
        os.unlink(name)
    return failed


def _undo_all(lines: list[bytes]) -> list[str]:
    return [path for line in reversed(lines) if (path := _undo(line))]


def _undo(line: bytes) -> str | None:
    """Put one back; its path where it cannot be."""
    import json

    try:
        entry = json.loads(line)
        path, before, lent, identity = (entry[key] for key in ("path", "before", "lent", "is"))
    except (ValueError, KeyError):
        return None  # the writer died before anything was changed
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return str(path)
    file = File(fd)
    try:
        found = file.identity()
        if [found.file_system, found.inode, found.handle.hex()] != identity:
            return str(path)
        _put_back(file.path, before, lent)
    except OSError:
        return str(path)
    finally:
        file.close()
    return None
