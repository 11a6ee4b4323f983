"""The wires between the processes of a launch."""

from __future__ import annotations

import os

from viewos.launcher.wire import pair


def test_in_order_and_an_end() -> None:
    near, far = pair()
    assert near.send(b"one") and near.send(b"two")
    near.close()
    assert [far.receive() for _ in range(3)] == [b"one", b"two", b""]
    assert not far.send(b"late")
    far.close()


def test_the_last_words_of_an_end_that_did_not_listen() -> None:
    """The kernel says ECONNRESET first, when a message to the end that closed was not read."""
    near, far = pair()
    assert far.send(b"unread") and near.send(b"last words")
    near.close()
    assert [far.receive() for _ in range(2)] == [b"last words", b""]
    far.close()


def test_a_descriptor() -> None:
    near, far = pair()
    assert far.send(b"unread")
    near.send_descriptor(2)
    near.send(b"no descriptor")
    near.close()
    received = far.receive_descriptor()
    assert received is not None
    fd, sender = received
    assert (os.fstat(fd).st_ino, sender) == (os.fstat(2).st_ino, os.getpid())
    os.close(fd)
    assert far.receive_descriptor() == (-1, 0)
    assert far.receive_descriptor() is None
    far.close()
