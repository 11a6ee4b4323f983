"""The engine answers each call that it has received, whatever happens meanwhile."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable

import pytest

from viewos.abi import seccomp as abi
from viewos.monitor.engine import Engine, Notification
from viewos.monitor.log import QUIET, Log

RECEIVED = abi.NOTIF.pack(7, *range(1, len(abi.NOTIF.unpack(bytes(abi.NOTIF.size)))))


@pytest.mark.parametrize(
    "handle",
    [
        lambda notification: notification.answer(2**63),
        lambda notification: notification.answer(error="text"),
        lambda notification: 1 / 0,
    ],
)
def test_a_call_whose_answering_fails_is_answered(
    handle: Callable[[Notification], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, ...]] = []

    def ioctl(fd: int, request: int, address: int) -> int:
        buffer = (ctypes.c_char * abi.RESP.size).from_address(address)
        sent.append(abi.RESP.unpack(buffer.raw))
        return 0

    monkeypatch.setattr("viewos.kernel.ioctl_errno", ioctl)
    Engine(-1, handle, Log(None, QUIET))._handle_one(1, RECEIVED)
    assert sent == [(7, 0, -errno.EIO, 0)]
