"""ProcessState and its tokens."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewos import View, ViewosError, VirtualModule, kernel
from viewos.kernel import prlimit
from viewos.view import RLIM_INFINITY, RLIMIT_LOCKS, ProcessState, States, limit_of_proc

states_of = st.builds(
    ProcessState,
    modules=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=3, unique_by=lambda m: m[0]
    ).map(lambda modules: tuple(sorted(modules))),
    cwd=st.sampled_from([None, b"", b"/mnt"]),
    executable=st.sampled_from([None, b"/bin/sh"]),
    confined=st.booleans(),
    locks=st.none() | st.tuples(st.integers(0, 2), st.integers(0, 2)),
)


@given(st.lists(states_of))
def test_a_state_has_one_token(known: list[ProcessState]) -> None:
    initial = ProcessState(cwd=b"/start")
    states = States(initial)
    tokens = {state: states.token(state) for state in known}
    assert len(set(tokens.values())) == len(tokens)
    for state, token in tokens.items():
        assert states.token(state) == token
        assert states.of_limit(token) == state
    assert states.several is bool(tokens)
    assert states.initial is states.of_limit(RLIM_INFINITY) is initial


@given(st.integers(0, RLIM_INFINITY))
def test_a_limit_that_is_no_token_is_the_initial_state(soft: int) -> None:
    states = States(ProcessState())
    token = states.token(ProcessState(confined=True))
    assert states.of_limit(soft) is states.initial or soft == token


def test_the_initial_state_keeps_its_token() -> None:
    initial = ProcessState(cwd=b"")
    states = States(initial)
    other = states.token(ProcessState(cwd=b"/mnt"))
    assert states.token(initial) != other
    assert states.of_limit(states.token(initial)) is initial


def test_many_threads_ask_for_tokens() -> None:
    states = States(ProcessState())
    wanted = [ProcessState().with_module(0, number) for number in range(300)]
    found: list[list[int]] = []
    gate = threading.Barrier(8)

    def ask() -> None:
        gate.wait()
        found.append([states.token(state) for state in wanted])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(tokens == found[0] for tokens in found)
    assert [states.of_limit(token) for token in found[0]] == wanted


@contextmanager
def process() -> Iterator[int]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        yield child.pid


def test_a_process_carries_its_state() -> None:
    states = States(ProcessState())
    with process() as pid, process() as other:
        state = ProcessState(cwd=b"/mnt").with_module(1, "value")
        _, hard = prlimit(pid, RLIMIT_LOCKS)
        states.write(pid, state)
        assert states.read(pid) is state or states.read(pid) == state
        assert prlimit(pid, RLIMIT_LOCKS) == (states.token(state), hard)
        assert limit_of_proc(pid) == (states.token(state), hard)
        assert states.read(other) is states.initial
        assert limit_of_proc(other) == (RLIM_INFINITY, RLIM_INFINITY)
        states.write(pid, states.initial)
        assert states.read(pid) is states.initial
    with pytest.raises(OSError, match="process"):
        states.read(pid)


@pytest.mark.parametrize("hard", [1 << 17, 1_000_000, 1 << 60, RLIM_INFINITY])
def test_tokens_are_below_a_hard_limit(hard: int) -> None:
    states = States(ProcessState(locks=(7, hard)))
    tokens = [states.limit(ProcessState(cwd=b"/%d" % number), hard) for number in range(300)]
    assert {limit for _, limit in tokens} == {hard}
    assert all(0 < token < hard for token, _ in tokens)


def test_one_who_may_raises_a_hard_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int] | None] = []

    def raised(pid: int, resource: int, new: tuple[int, int] | None = None) -> tuple[int, int]:
        made.append(new)
        return 5, 7

    monkeypatch.setattr(kernel, "prlimit", raised)
    states = States(ProcessState(locks=(5, 7)))
    assert made == [(5, RLIM_INFINITY), (5, 7)]
    states.mark(1)
    assert made[-1] == (states.base, RLIM_INFINITY)


def test_one_who_may_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object) -> tuple[int, int]:
        raise PermissionError(errno.EPERM, "prlimit")

    monkeypatch.setattr(kernel, "prlimit", refused)
    with pytest.raises(ViewosError, match=r"the hard limit of file locks .* is 7: "):
        States(ProcessState(locks=(5, 7)))


def test_what_modules_keep() -> None:
    state = ProcessState().with_module(2, "two").with_module(0, "zero")
    assert state.modules == ((0, "zero"), (2, "two"))
    assert state == ProcessState().with_module(0, "zero").with_module(2, "two")
    assert (state.of(0), state.of(1, "none"), state.of(2)) == ("zero", "none", "two")
    assert state.with_module(2, "new").of(2) == "new"
    assert state.of(2) == "two"


def test_a_view_names_its_layers() -> None:
    class One(VirtualModule):
        """The lower one."""

    class Two(VirtualModule):
        """The upper one."""

    one, two = One(), Two()
    view = View([one, two])
    assert dict(view.layers) == {0: one, 1: two}
    assert repr(view) == "<View one two>"
    assert repr(View()) == "<View empty>"


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("modules", "told"),
    [
        (["vfs:/mnt=tree"], "modules[0] is 'vfs:/mnt=tree', and no VirtualModule (Vfs(\"/mnt\", "),
        ([VirtualModule(), VirtualModule], "modules[1] is the class VirtualModule: make a module "),
        ([None], "modules[0] is None, and no VirtualModule"),
        ("vfs", "modules is 'vfs': expected a list of modules"),
        (VirtualModule(), "modules is <viewos.module.VirtualModule object"),
        (None, "modules is None: expected a list of modules"),
    ],
)
def test_what_is_no_module_is_refused_at_once(modules: object, told: str) -> None:
    with pytest.raises(TypeError) as caught:
        View(modules)  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"View: {told}") and "\n" not in str(caught.value)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("layout", ["x", "", None, 3])
def test_a_layout_that_there_is_not(layout: object) -> None:
    with pytest.raises(ValueError, match="expected auto, direct or ancestor") as caught:
        View([], layout=layout)  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"View: layout {layout!r}: ")


@pytest.mark.timeout(10)
def test_layouts_and_any_iterable_of_modules() -> None:
    for layout in ("auto", "direct", "ancestor"):
        assert View(layout=layout).layout == layout
    module = VirtualModule()
    assert View(each for each in [module]).modules == (module,)  # type: ignore[arg-type]


class CannotStop(VirtualModule):
    """Fails at the end."""

    def stop(self) -> None:
        raise RuntimeError("100% boom")


@pytest.mark.timeout(20)
def test_a_module_that_cannot_stop_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """By the logger, and the others are stopped."""
    with View([CannotStop(), CannotStop()]):
        pass
    told = [(each.name, each.levelname, each.getMessage()) for each in caplog.records]
    line = CannotStop.stop.__code__.co_firstlineno + 1
    text = f"module cannotstop: stop(): line {line}: RuntimeError: 100% boom"
    assert told == [("viewos", "WARNING", text)] * 2


@pytest.mark.timeout(20)
def test_nor_is_one_silent_when_another_refuses(caplog: pytest.LogCaptureFixture) -> None:
    class Refuses(VirtualModule):
        def start(self, scratch: bytes) -> None:
            raise ViewosError("refused")

    with pytest.raises(ViewosError, match="refused"):
        View([CannotStop(), Refuses()]).open()
    assert [each.getMessage()[:27] for each in caplog.records] == ["module cannotstop: stop(): "]


@pytest.mark.timeout(20)
def test_a_view_that_nobody_closes_is_stopped_at_exit() -> None:
    program = (
        "from viewos import View, VirtualModule\n"
        "class Late(VirtualModule):\n    def stop(self): raise ValueError('late')\n"
        "View([Late()]).open()\n"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=15, check=True)
    assert done.stderr == "module late: stop(): ValueError: late\n"
