"""Paths in the options of an overlay."""

from __future__ import annotations

import pytest

from viewos.monitor.overlay import in_options, in_value


def real(path: bytes, writes: bool) -> bytes:
    if path.startswith(b"/mnt"):
        return b"/data" + path.removeprefix(b"/mnt")
    return path


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (b"lowerdir=/mnt/a:/b:/mnt/c", b"lowerdir=/data/a:/b:/data/c"),
        (b"lowerdir=/mnt/a::/mnt/data", b"lowerdir=/data/a::/data/data"),
        (b"upperdir=/mnt/a:b,workdir=/mnt", rb"upperdir=/data/a\:b,workdir=/data"),
        (rb"lowerdir=/mnt/a\:b\,c\\d:/e\:f", rb"lowerdir=/data/a\:b\,c\\d:/e\:f"),
        (b"index=off,xino=/mnt,lowerdir", b"index=off,xino=/mnt,lowerdir"),
        (b"lowerdir=relative,upperdir=,", b"lowerdir=relative,upperdir=,"),
        (b"lowerdir=/x\\", b"lowerdir=/x\\"),
        (b"", b""),
    ],
)
def test_options_of_mount(given: bytes, wanted: bytes) -> None:
    assert in_options(given, real) == wanted


def test_a_value_of_fsconfig() -> None:
    assert in_value(b"lowerdir+", rb"/mnt/a\:b", real) == rb"/data/a\:b"
    assert in_value(b"lowerdir", rb"/mnt/a\:b", real) == rb"/data/a\:b"
    assert in_value(b"source", b"/mnt/a", real) == b"/mnt/a"
    # A backing with such letters in it is written so that the kernel reads it as it is.
    assert in_value(b"upperdir", b"/mnt", lambda path, writes: b"/a:b,c") == rb"/a\:b\,c"
    # Only where the overlay writes.
    assert in_value(b"workdir", b"/mnt", lambda path, writes: b"%d" % writes) == b"1"
    assert in_value(b"lowerdir", b"/mnt", lambda path, writes: b"%d" % writes) == b"0"
