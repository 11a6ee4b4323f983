"""Conversations of a monitor with processes of its views."""

from __future__ import annotations

import socket

from viewos.monitor.control.talk import has_gone


def test_who_says_nothing_has_not_gone() -> None:
    """`viewos trace` and `viewos wait` in a view ended when nothing had happened for 30 seconds."""
    ours, theirs = socket.socketpair()
    ours.settimeout(2)
    with ours:
        with theirs:
            assert not has_gone(ours)
            theirs.send(b"x")
            assert not has_gone(ours)
        ours.recv(1)
        assert has_gone(ours)
