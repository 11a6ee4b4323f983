"""Attach a debugger to a running program, work it, detach, work it again. A program of its own,

debugged.py strace|gdb LOG COMMAND...: so that all of it can run in a view, or the command alone.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

GDB = (
    *("gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off"),
    *("-iex", "set confirm off", "-iex", "set style enabled off"),
)
STEP = (
    *("-ex", "break step", "-ex", "shell echo attached", "-ex", "continue"),
    *("-ex", "print counter", "-ex", "delete", "-ex", "detach"),
)


def debugger(tool: str, log: str, pid: int) -> list[str]:
    """The command that attaches to `pid` and says so with a line that ends in "attached"."""
    if tool == "gdb":
        return [*GDB, "-p", str(pid), *STEP]
    return ["strace", "-f", "-o", log, "-p", str(pid)]


def main(tool: str, log: str, *command: str) -> int:
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    commands, answers = worker.stdin, worker.stdout
    assert commands is not None
    assert answers is not None

    def work(count: int) -> None:
        commands.write(b"g" * count)
        commands.flush()
        for _ in range(count):
            print(answers.readline().decode().strip(), flush=True)

    hello = answers.readline().decode()
    pid = int(hello.removeprefix("pid "))
    work(1)
    tracer = subprocess.Popen(
        debugger(tool, log, pid), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert tracer.stdout is not None
    said = []
    for line in tracer.stdout:
        said.append(line.decode(errors="replace"))
        if line.rstrip().endswith(b"attached"):
            break
    work(2 if tool == "strace" else 1)
    if tool == "strace":
        os.kill(tracer.pid, signal.SIGINT)
    said.append(tracer.communicate()[0].decode(errors="replace"))
    text = "".join(said)
    print(
        "debugger saw the step:",
        bool(re.search(r"^\$1 = 1$|detached", text, re.MULTILINE)),
        flush=True,
    )
    print(text, file=sys.stderr)
    work(2)
    commands.close()
    print(answers.read().decode().strip())
    return worker.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
