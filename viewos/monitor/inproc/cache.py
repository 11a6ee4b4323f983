"""Instrumented libraries on disk: a libc's instructions are read once, and not at every start."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from viewos.monitor.inproc.changes import Image, Patch

_HEAD = struct.Struct("<4QI")
"""struct Image: its end, shared and switch, how many patches there are; CRC-32 of all behind it."""
_PATCH = struct.Struct("<QB")
_MAKERS = ("changes", "elf", "image", "shared", "sites")
"""The files of this folder on which an image depends."""
_MOST = 32
"""Files that are kept, of some 40 KB each; a libc has two, by its file and by its bytes."""
_NAME = "libc-"
EVERYBODYS = "/var/tmp"


def key(library: os.stat_result, blob: bytes) -> str:
    """What an image depends on: a library that nobody has touched since, and what makes it."""
    place = library.st_dev, library.st_ino, library.st_size
    facts = (*place, library.st_mtime_ns, library.st_ctime_ns, _made_by(blob))
    return "-".join(f"{fact:x}" for fact in facts)


def key_of(library: bytes, blob: bytes) -> str:
    """The same of the library's bytes: a new tree has often those of another one."""
    import hashlib  # 3 ms, for what is rare

    return f"{hashlib.sha256(library).hexdigest()}-{_made_by(blob):x}"


def _made_by(blob: bytes) -> int:
    made_by = zlib.crc32(blob)
    for name in _MAKERS:  # which are not imported where an image is there
        with open(os.path.join(os.path.dirname(__file__), f"{name}.py"), "rb") as file:
            made_by = zlib.crc32(file.read(), made_by)
    return made_by


def get(name: str) -> Image | None:
    """The image of that key, if it is there and whole."""
    for directory in _directories():
        with suppress(OSError), open(os.path.join(directory, _NAME + name), "rb") as file:
            if _is_ours(os.fstat(file.fileno())) and _is_ours(os.lstat(directory)):
                return _unpacked(file.read())
    return None


def put(name: str, image: Image) -> None:
    """Keep an image; where that cannot be, it is made again the next time."""
    for directory in _directories():
        with suppress(OSError):
            os.makedirs(directory, mode=0o700, exist_ok=True)
            if _is_ours(os.lstat(directory)):
                _write(os.path.join(directory, _NAME + name), _packed(image))
                _tidy(directory)
                return


def _directories() -> Iterator[str]:
    """Where images are kept: in the user's cache, else where everybody may write."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    yield os.path.join(home, "viewos")
    yield os.path.join(EVERYBODYS, f"viewos-cache-{os.geteuid()}")


def _is_ours(found: os.stat_result) -> bool:
    """Nobody else may say what programs shall run."""
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _packed(image: Image) -> bytes:
    patches = (_PATCH.pack(p.offset, len(p.old)) + p.old + p.new for p in image.patches)
    body = b"".join(patches) + image.text
    places = image.end, image.shared, image.switch, len(image.patches)
    return _HEAD.pack(*places, zlib.crc32(body)) + body


def _unpacked(text: bytes) -> Image | None:
    if len(text) < _HEAD.size:
        return None
    end, shared, switch, count, checksum = _HEAD.unpack_from(text)
    if zlib.crc32(memoryview(text)[_HEAD.size :]) != checksum:
        return None
    at, patches = _HEAD.size, []
    for _ in range(count):
        offset, size = _PATCH.unpack_from(text, at)
        at += _PATCH.size + 2 * size
        patches.append(Patch(offset, text[at - 2 * size : at - size], text[at - size : at]))
    return Image(tuple(patches), end, text[at:], shared, switch)


def _write(path: str, text: bytes) -> None:
    part = f"{path}.{os.getpid()}"
    try:
        with open(part, "wb") as file:
            file.write(text)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise


def _tidy(directory: str) -> None:
    """Keep the newest: each libc, and each version of viewos, makes one."""
    with os.scandir(directory) as entries:
        files = [entry for entry in entries if entry.name.startswith(_NAME)]
    files.sort(key=lambda entry: entry.stat().st_mtime)
    for entry in files[:-_MOST]:
        os.unlink(entry.path)
