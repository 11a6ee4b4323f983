"""Programs of a view for async programs, on anyio: asyncio's loops and trio's alike.

The end of a program is learnt from a pidfd, so that no child watcher has a part in it.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Self

import anyio
from anyio import to_thread
from anyio.abc import ByteReceiveStream, ByteSendStream

if TYPE_CHECKING:
    from viewos.library.popen import Popen
    from viewos.library.view import View

_PIECE = 65536


class _Receiving(ByteReceiveStream):
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        os.set_blocking(file.fileno(), False)

    async def receive(self, max_bytes: int = _PIECE) -> bytes:
        while True:
            await anyio.wait_readable(self._file.fileno())
            try:
                data = os.read(self._file.fileno(), max_bytes)
            except BlockingIOError:
                continue
            if not data:
                raise anyio.EndOfStream
            return data

    async def aclose(self) -> None:
        self._file.close()


class _Sending(ByteSendStream):
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        os.set_blocking(file.fileno(), False)

    async def send(self, item: bytes) -> None:
        view = memoryview(item)
        while view:
            await anyio.wait_writable(self._file.fileno())
            try:
                view = view[os.write(self._file.fileno(), view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise anyio.BrokenResourceError from None

    async def aclose(self) -> None:
        self._file.close()


class Process:
    """A running program, with the interface of `anyio.abc.Process`."""

    def __init__(self, popen: Popen) -> None:
        self._popen = popen
        self.stdin = _Sending(popen.stdin) if popen.stdin else None
        self.stdout = _Receiving(popen.stdout) if popen.stdout else None
        self.stderr = _Receiving(popen.stderr) if popen.stderr else None

    @property
    def pid(self) -> int:
        """The process that `kill` and `wait` are about."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The status, negative for a signal; None while it runs."""
        return self._popen.poll()

    async def wait(self) -> int:
        """The status of the program, when it has ended."""
        while (status := self._popen.poll()) is None:
            try:
                pidfd = os.pidfd_open(self.pid)
            except ProcessLookupError:  # somebody else has just waited for it
                continue
            try:
                await anyio.wait_readable(pidfd)
            finally:
                os.close(pidfd)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def terminate(self) -> None:
        """SIGTERM."""
        self._popen.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._popen.kill()

    async def aclose(self) -> None:
        """Close the streams, and wait for the end of the program."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                await stream.aclose()
        await self.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is not None and issubclass(kind, anyio.get_cancelled_exc_class()):
            self.kill()  # asyncio's own cancellation comes once: what follows would wait
        try:
            await self.aclose()
        except BaseException:  # cancelled: as anyio does, the program does not outlive the block
            if self.returncode is None:
                self.kill()
            with anyio.CancelScope(shield=True):
                await self.wait()
            raise


async def open_process(view: View, command: Any, **options: Any) -> Process:
    """See `View.open_process`."""
    for name in ("stdin", "stdout", "stderr"):
        options.setdefault(name, subprocess.PIPE)
    options["shell"] = isinstance(command, str | bytes | os.PathLike)
    if isinstance(command, os.PathLike):
        command = os.fspath(command)
    start = _Start(partial(view.Popen, command, bufsize=0, **options))
    try:
        return Process(await to_thread.run_sync(start))
    except BaseException:  # asyncio's own cancellation does not wait for the thread
        start.give_up()
        raise


class _Start:
    """The start of a program, in a thread of which nobody may hear any more."""

    def __init__(self, start: Callable[[], Popen]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._popen: Popen | None = None
        self._is_wanted = True

    def __call__(self) -> Popen:
        popen = self._start()
        with self._lock:
            self._popen = popen
            if not self._is_wanted:
                self._end(popen)
        return popen

    def give_up(self) -> None:
        """The program, if it has begun or will, does not outlive this."""
        with self._lock:
            self._is_wanted = False
            if self._popen is not None:
                self._end(self._popen)

    @staticmethod
    def _end(popen: Popen) -> None:
        popen.kill()
        with popen:  # which closes its streams, and waits
            pass


async def run_process(
    view: View, command: Any, *, input: bytes | None, check: bool, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """See `View.run_process`."""
    if input is not None and options.get("stdin") is not None:
        raise ValueError("only one of stdin and input is allowed")
    options["stdin"] = subprocess.PIPE if input else options.get("stdin")
    async with await open_process(view, command, **options) as process:
        collected: dict[str, bytes] = {}
        async with anyio.create_task_group() as tasks:
            for name in ("stdout", "stderr"):
                stream = getattr(process, name)
                if stream is not None:
                    tasks.start_soon(_collect, stream, collected, name)
            if process.stdin is not None:
                if input:
                    await _feed(process.stdin, input)
                await process.stdin.aclose()
        status = await process.wait()
    result = subprocess.CompletedProcess(
        command, status, collected.get("stdout"), collected.get("stderr")
    )
    if check:
        result.check_returncode()
    return result


async def _collect(stream: AsyncIterator[bytes], into: dict[str, bytes], name: str) -> None:
    data = bytearray()
    async for piece in stream:
        data += piece
    into[name] = bytes(data)


async def _feed(stream: _Sending, data: bytes) -> None:
    with suppress(anyio.BrokenResourceError):  # as subprocess.run: it did not want all of it
        await stream.send(data)
