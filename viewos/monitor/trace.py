"""`viewos trace`: a line for each call that reached the monitor, and what became of it.

4711 openat(AT_FDCWD, "/mnt/f", O_RDONLY|O_CLOEXEC) = 3 <emulated at /tmp/x/f>
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from viewos.abi.syscalls import OPERATIONS, TABLE
from viewos.abi.text import LONGEST_STRING, format_call
from viewos.claims import lies_in
from viewos.errors import SpecError, encoded, quoted, reason
from viewos.monitor.lines import Lines
from viewos.monitor.memory import Fault, Memory, TraceeGone, Unreadable
from viewos.monitor.outcome import ANSWERED, CONTINUE, Outcome
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router


class Traced(NamedTuple):
    """What is known of a call when it has been answered."""

    call: Call
    names: tuple[str, ...]
    """The modules that were asked."""
    paths: tuple[bytes, ...]
    """The canonical virtual paths."""
    failed: bool
    continued: bool


Test = Callable[[Traced], bool]


def parse(expressions: Sequence[str]) -> list[Test]:
    """The tests that -e EXPR stands for; a call is shown when all hold. Raises SpecError."""
    return [_negated(text) if text.startswith("!") else _test(text, text) for text in expressions]


def _negated(expression: str) -> Test:
    test = _test(expression[1:], expression)
    return lambda traced: not test(traced)


def _test(text: str, expression: str) -> Test:
    """What `text` says, which stands in that expression."""
    key, equals, value = text.partition("=")
    if text == "failed":
        return lambda traced: traced.failed
    if text == "continued":
        return lambda traced: traced.continued
    if equals and key == "path":
        prefix = os.fsencode(os.path.normpath(value))
        return lambda traced: any(lies_in(path, prefix) for path in traced.paths)
    if equals and key == "module":
        return lambda traced: value in traced.names
    wanted: set[str] = set()
    for name in text.split(","):
        if name not in TABLE and name not in OPERATIONS:
            raise SpecError(
                f"-e {expression or repr(expression)}: {quoted(name)} is no system call; expected"
                " their names with commas between them, failed, continued, path=PREFIX,"
                " module=NAME, or one of these behind a !"
            )
        wanted |= {name, *OPERATIONS.get(name, ())}
    return lambda traced: traced.call.name in wanted


class Trace:
    """Where the lines go, and which are wanted."""

    def __init__(
        self,
        lines: Lines,
        tests: Sequence[Test] = (),
        report: Callable[[str], object] | None = None,
    ) -> None:
        """`report` is told, once, that lines are lost."""
        self.lines = lines
        self._tests = tests
        self._report = report
        self.lost = ""
        """Why some of the lines are not there."""

    def begin(self, router: Router, call: Call) -> str:
        """The call as text, from the tracee's memory as it is now."""
        return format_call(
            call.row, call.raw, lambda address: _string(router.memory, call.tid, address)
        )

    def end(self, router: Router, call: Call, text: str, answer: int | Outcome) -> None:
        """Write the line."""
        if self.lines.closed:
            return
        trail = call.trail or []
        names = tuple(note.partition(":")[0] for note in trail if ":" in note)
        paths = tuple(place.virtual for place in call.places or () if place.virtual)
        result = answer if isinstance(answer, int) else call.result
        failed = result is not None and -4096 < result < 0
        traced = Traced(call, names, paths, failed, answer is CONTINUE)
        if not all(test(traced) for test in self._tests):
            return
        how = "; ".join(trail + _ways(call, answer))
        view = f"[{router.number}] " if router.number else ""
        line = f"{call.tid} {view}{text} = {_shown(result)} <{how}>\n"
        try:
            self.lines.write(encoded(line))
        except OSError as error:
            if error.errno != errno.EPIPE and not self.lost:  # somebody reads them still
                self.lost = f"lines of the trace are lost: {reason(error)}"
                if self._report is not None:
                    self._report(self.lost)


def _string(memory: Memory, tid: int, address: int) -> bytes:
    """A string as far as it is shown, with one byte more of a longer one. Raises OSError: the
    call's own fate is for the call itself to find out."""
    try:
        try:
            return memory.read_string(tid, address)
        except Fault:
            return memory.read_exact(tid, address, LONGEST_STRING + 1)
    except (Fault, TraceeGone, Unreadable):
        raise OSError(errno.EFAULT, "bad address") from None


def _ways(call: Call, answer: int | Outcome) -> list[str]:
    """What the monitor did, where no module answered."""
    if answer is CONTINUE:
        return ["continue"]
    if answer is ANSWERED or call.answered_by_module:
        return []
    places = [os.fsdecode(place.real) for place in call.places or () if place.real]
    return ["emulated" + (f" at {', '.join(places)}" if places else "")]


def _shown(result: int | None) -> str:
    if result is None:
        return "?"
    if -4096 < result < 0:
        name = errno.errorcode.get(-result, str(-result))
        return f"-1 {name} ({os.strerror(-result)})"
    return str(result)
