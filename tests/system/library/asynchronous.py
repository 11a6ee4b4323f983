"""Views of async programs, on asyncio and on trio."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio

import viewos
from viewos.modules.vfs import Vfs

BACKENDS = ("asyncio", "trio")
PYTHON = "/usr/bin/python3"


async def outcome(call: Callable[[], Awaitable[subprocess.CompletedProcess[bytes]]]) -> Any:
    try:
        result = await call()
    except (OSError, subprocess.CalledProcessError) as error:
        return type(error), str(error), error.args
    return result.args, result.returncode, result.stdout, result.stderr


def check_run_process() -> None:
    """As anyio.run_process: arguments, results, exceptions."""
    calls: list[tuple[Any, dict[str, Any]]] = [
        (["sh", "-c", "cat; echo err >&2; exit 3"], {"input": b"in", "check": False}),
        (["sh", "-c", "cat; echo err >&2; exit 3"], {"input": b"in"}),
        ("echo $0; echo b", {}),
        (b"echo bytes", {}),
        (["cat"], {"input": b"x" * 300_000}),
        (["cat"], {}),
        (["sh", "-c", "echo a; echo b >&2"], {"stderr": subprocess.STDOUT}),
        (["sh", "-c", "echo a"], {"stdout": subprocess.DEVNULL}),
        (["pwd"], {"cwd": "/usr"}),
        (["/usr/bin/env"], {"env": {"A": "b"}}),
        (["sh", "-c", "kill -9 $$"], {"check": False}),
        (["no-such-command"], {}),
        (["true"], {"cwd": "/no/such/directory"}),
    ]

    async def main() -> None:
        async with viewos.View([Vfs("/", "/")]) as view:
            for command, options in calls:
                native = await outcome(lambda c=command, o=options: anyio.run_process(c, **o))
                here = await outcome(lambda c=command, o=options: view.run_process(c, **o))
                assert here == native, f"{here}\nnatively\n{native}"

    for backend in BACKENDS:
        anyio.run(main, backend=backend)


def check_open_process() -> None:
    async def main() -> None:
        async with viewos.View([Vfs("/", "/")]) as view:
            async with await view.open_process(["cat"]) as process:
                assert process.returncode is None
                for word in (b"one", b"two"):
                    await process.stdin.send(word)
                    assert await process.stdout.receive() == word
                await process.stdin.aclose()
                assert await process.wait() == 0
            for send, number in (("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)):
                async with await view.open_process(["sleep", "60"]) as process:
                    os.kill(process.pid, 0)
                    getattr(process, send)()
                    assert await process.wait() == -number == process.returncode
            async with await view.open_process(["sleep", "60"]) as process:
                process.send_signal(signal.SIGUSR1)
                async with anyio.create_task_group() as tasks:
                    for _ in range(3):
                        tasks.start_soon(process.wait)
                assert process.returncode == -signal.SIGUSR1

    for backend in BACKENDS:
        anyio.run(main, backend=backend)


def check_a_cancelled_block_ends_its_program() -> None:
    pids: list[int] = []

    async def main() -> None:
        async with viewos.View([Vfs("/", "/")]) as view:
            with anyio.CancelScope() as scope:
                async with await view.open_process(["sleep", "600"]) as process:
                    pids.append(process.pid)
                    scope.cancel()
                    await anyio.sleep_forever()
            assert scope.cancelled_caught
            with anyio.move_on_after(0.2) as scope:
                await view.run_process(["sh", "-c", "echo $$; exec sleep 600"])
            assert scope.cancelled_caught

    for backend in BACKENDS:
        anyio.run(main, backend=backend)
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}")


def check_a_cancellation_of_asyncio_itself_during_the_start() -> None:
    """The program does not outlive it, whenever in its start that comes."""

    async def main() -> None:
        async with viewos.View([]) as view:
            for number in range(12):
                command = ["sh", "-c", f"sleep 2; echo > mark{number}"]
                task = asyncio.create_task(view.run_process(command))
                await asyncio.sleep(number * 0.004)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    asyncio.run(main())
    time.sleep(2.2)
    assert not list(Path().glob("mark*"))


def check_a_cancellation_of_asyncio_itself() -> None:
    """It comes once, and nothing behind it is cancelled."""

    async def main() -> None:
        async with viewos.View([]) as view:
            start = time.monotonic()
            try:
                await asyncio.wait_for(view.run_process(["sleep", "20"]), 0.5)
            except TimeoutError:
                assert time.monotonic() - start < 10
            else:
                raise AssertionError("it was not cancelled")

    asyncio.run(main())


def check_many_at_once() -> None:
    async def main() -> None:
        async with viewos.View([Vfs("/mnt", ".")]) as view:
            Path("file").write_text("text")
            results: list[bytes] = []

            async def one() -> None:
                results.append((await view.run_process(["cat", "/mnt/file"])).stdout)

            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(one)
            assert results == [b"text"] * 20

    for backend in BACKENDS:
        anyio.run(main, backend=backend)


# ---- no stop is stolen --------------------------------------------------------------------------

FIX_UPS = (
    "import os, sys\n"
    "for i in range(100):\n"
    "    os.chdir('/mnt'); assert os.getcwd() == '/mnt'; os.chdir('/')\n"
    "sys.exit(9)"
)


async def _subprocesses_and_fix_ups(view: viewos.View) -> None:
    statuses: dict[int, int] = {}
    gate = asyncio.Semaphore(8)

    async def native(number: int) -> None:
        async with gate:
            process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {number % 200}")
            statuses[number] = await process.wait()

    async def in_view() -> int:
        return (await view.run_process([PYTHON, "-I", "-S", "-c", FIX_UPS], check=False)).returncode

    results = await asyncio.gather(
        *[in_view() for _ in range(3)], *[native(number) for number in range(300)]
    )
    assert results[:3] == [9, 9, 9]
    assert statuses == {number: number % 200 for number in range(300)}


def check_child_watchers_and_fix_ups() -> None:
    """asyncio's own children and the stops of fix-ups: each gets what is its."""

    async def main() -> None:
        async with viewos.View([Vfs("/mnt", ".")]) as view:
            await _subprocesses_and_fix_ups(view)

    asyncio.run(main())
    for name in ("SafeChildWatcher", "PidfdChildWatcher"):
        if not hasattr(asyncio, name):  # Python 3.14 has one way only
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            watcher = getattr(asyncio, name)()
            with asyncio.Runner() as runner:
                watcher.attach_loop(runner.get_loop())
                asyncio.set_child_watcher(watcher)
                runner.run(main())
                watcher.close()
            asyncio.set_child_watcher(None)


def check_waiting_for_any_child() -> None:
    """A caller that waits for whatever child it has sees ends, and never a stop of a fix-up."""
    with viewos.View([Vfs("/mnt", ".")]) as view:
        program = view.Popen([PYTHON, "-I", "-S", "-c", FIX_UPS])
        pid, status = os.waitpid(-1, os.WUNTRACED | os.WCONTINUED)
        assert (pid, os.waitstatus_to_exitcode(status)) == (program.pid, 9)
        program.returncode = 9


def check_input_and_output_by_file() -> None:
    async def main() -> None:
        async with viewos.View([Vfs("/mnt", ".")]) as view:
            with open("out", "wb") as out:
                await view.run_process(["echo", "text"], stdout=out)
            with open("out", "rb") as file:
                result = await view.run_process(["cat"], stdin=file)
        assert result.stdout == b"text\n"

    anyio.run(main)
