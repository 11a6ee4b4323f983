"""Instrumented libraries on disk: a libc's instructions are read once, and not at every start."""

from __future__ import annotations

import hashlib
import os
import struct
from contextlib import suppress
from pathlib import Path

from viewos.monitor.inproc import elf, image, shared, sites
from viewos.monitor.inproc.image import Image

_HEAD = struct.Struct("<32sQQ")


def key(library: bytes, blob: bytes) -> str:
    """What an image depends on."""
    mixed = hashlib.sha256()
    ours = [Path(str(module.__file__)).read_bytes() for module in (elf, image, shared, sites)]
    for part in (library, blob, *ours):
        mixed.update(hashlib.sha256(part).digest())
    return mixed.hexdigest()


def _file(name: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "viewos" / f"libc-{name[:32]}"


def get(name: str) -> Image | None:
    """The image of that key, if it is there and whole."""
    try:
        with open(_file(name), "rb") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None  # somebody else's word on what programs shall run
            text = file.read()
    except OSError:
        return None
    if len(text) < _HEAD.size:
        return None
    digest, shared, switch = _HEAD.unpack_from(text)
    if hashlib.sha256(text[32:]).digest() != digest:
        return None
    return Image(text[_HEAD.size :], shared, switch)


def put(name: str, image: Image) -> None:
    """Keep an image; where that cannot be, it is made again the next time."""
    body = _HEAD.pack(b"", image.shared, image.switch)[32:] + image.data
    file = _file(name)
    part = file.with_name(f"{file.name}.{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(hashlib.sha256(body).digest() + body)
        os.replace(part, file)
    with suppress(OSError):
        part.unlink()
