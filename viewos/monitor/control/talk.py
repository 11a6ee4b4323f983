"""Conversations with clients: over the socket, on anyio; with a process of a view, in a thread."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from viewos.control import message
from viewos.errors import ViewosError
from viewos.monitor.control.methods import Caller, Methods

if TYPE_CHECKING:
    from anyio import CapacityLimiter
    from anyio.abc import UNIXSocketStream

    from viewos.monitor.nesting import Nesting
    from viewos.monitor.serving import Serving

_MOST_AT_ONCE = 256
"""Calls of methods that are being answered."""
_MOST_DESCRIPTORS = 4
_CREDENTIALS = struct.Struct("3i")
_PATIENCE = 30.0
"""Seconds that a process of a view may take to say what it wants."""


class Talk:
    """Conversations about the views of one monitor."""

    def __init__(self, nesting: Nesting, serving: Serving | None, pid: int) -> None:
        self._methods = Methods(nesting, serving, pid)
        self._log = nesting.levels[0].router.log

    def with_process(self, connection: socket.socket, view: int, pid: int) -> None:
        """Answer what a process asks over a connection of its own, until it hangs up."""
        caller = Caller(pid, os.geteuid(), view)
        rest, descriptors = b"", list[int]()
        with connection, suppress(OSError):
            connection.settimeout(_PATIENCE)
            while True:
                while b"\n" not in rest:
                    more, sent, _, _ = socket.recv_fds(connection, 1 << 16, _MOST_DESCRIPTORS)
                    descriptors += sent
                    if not more or len(rest) > message.LONGEST:
                        break
                    rest += more
                line, newline, rest = rest.partition(b"\n")
                given, descriptors = descriptors, []
                if not newline:
                    _close(given)
                    return
                reply = self._reply(caller, line, given, partial(has_gone, connection))
                connection.sendall(reply)

    # ---- over the socket -------------------------------------------------------------------------

    def over_socket(self, listening: socket.socket) -> None:
        """Answer all who connect to a socket, for ever."""
        import anyio

        try:
            anyio.run(self._accept, listening)
        except Exception:
            self._log.exception("the control socket is served no more")

    async def _accept(self, listening: socket.socket) -> None:
        import anyio

        limit = anyio.CapacityLimiter(_MOST_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            while True:
                await anyio.wait_readable(listening)
                try:
                    connection, _ = listening.accept()
                except BlockingIOError:
                    continue
                except OSError as error:  # EMFILE: they may try again
                    self._log.detail(f"a control client was not let in: {error.strerror}")
                    await anyio.sleep(0.1)
                    continue
                tasks.start_soon(self._guarded, connection, limit)

    async def _guarded(self, connection: socket.socket, limit: CapacityLimiter) -> None:
        import anyio
        from anyio.abc import UNIXSocketStream

        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(peer)
        if uid not in (0, os.geteuid()):
            connection.close()
            return
        stream = await UNIXSocketStream.from_socket(connection)
        try:
            async with stream:
                await self._talk(stream, Caller(pid, uid, None), limit)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            pass  # it has gone
        except Exception:
            self._log.exception("a control client")

    async def _talk(self, stream: UNIXSocketStream, caller: Caller, limit: CapacityLimiter) -> None:
        from anyio import to_thread
        from anyio.abc import SocketAttribute

        raw = stream.extra(SocketAttribute.raw_socket)
        rest, descriptors = b"", list[int]()
        try:
            while True:
                more, sent = await stream.receive_fds(1 << 16, _MOST_DESCRIPTORS)
                descriptors += sent
                rest += more
                while b"\n" in rest:
                    line, _, rest = rest.partition(b"\n")
                    given, descriptors = descriptors, []
                    ask = partial(self._reply, caller, line, given, partial(has_gone, raw))
                    await stream.send(await to_thread.run_sync(ask, limiter=limit))
                if len(rest) > message.LONGEST or len(descriptors) > _MOST_DESCRIPTORS:
                    await stream.send(message.failure(None, message.REQUEST, "it is too long"))
                    return
        finally:
            _close(descriptors)

    # ---- both ----------------------------------------------------------------------------------

    def _reply(
        self, caller: Caller, line: bytes, descriptors: list[int], gone: Callable[[], bool]
    ) -> bytes:
        identity: int | str | None = None
        try:
            request = message.read_request(line)
            identity = request.identity
            given = self._methods.call(caller, request, descriptors, gone)
            return message.result(identity, given)
        except message.WrongMessage as error:
            return message.failure(identity or error.identity, error.code, str(error))
        except ViewosError as error:
            return message.failure(identity, message.FAILED, str(error), error.status)
        except Exception as error:
            self._log.exception("a control client's request")
            return message.failure(identity, message.FAILED, f"the monitor failed: {error}")
        finally:
            _close(descriptors)


def _close(descriptors: list[int]) -> None:
    for fd in descriptors:
        os.close(fd)


def has_gone(connection: socket.socket) -> bool:
    """Has the other end closed it? One that has said all that it wants waits for the answer."""
    quiet = select.poll()
    quiet.register(connection, 0)
    return bool(quiet.poll(0))  # POLLHUP, POLLERR
