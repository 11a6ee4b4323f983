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


class Broken(Log):
    """A log that fails as well."""

    def exception(self, what: str) -> None:
        raise UnicodeEncodeError("utf-8", what, 0, 1, "a bug in the log")


@pytest.mark.parametrize("log", [Log(None, QUIET), Broken(None, QUIET)], ids=["log", "no-log"])
@pytest.mark.parametrize(
    "handle",
    [
        lambda notification: notification.answer(2**63),
        lambda notification: notification.answer(error="text"),
        lambda notification: 1 / 0,
    ],
)
def test_a_call_whose_answering_fails_is_answered(
    handle: Callable[[Notification], None], log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, ...]] = []

    def ioctl(fd: int, request: int, address: int) -> int:
        buffer = (ctypes.c_char * abi.RESP.size).from_address(address)
        sent.append(abi.RESP.unpack(buffer.raw))
        return 0

    monkeypatch.setattr("viewos.kernel.ioctl_errno", ioctl)
    Engine(-1, handle, log)._handle_one(1, RECEIVED)
    assert sent == [(7, 0, -errno.EIO, 0)]
