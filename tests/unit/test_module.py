"""A wrong name or parameter fails when the class is defined, not at the thousandth call."""

from __future__ import annotations

import subprocess
import sys

import pytest

import viewos
from viewos import PASS, Call, FileModule, TreeModule, VirtualModule, hook


def _class(base: type = VirtualModule, **body: object) -> type[VirtualModule]:
    return type("Mine", (base,), body)  # type: ignore[return-value]


def test_handlers_and_hooks_are_found_by_name() -> None:
    class Mine(VirtualModule):
        def uname(self, call: Call) -> object:
            return PASS

        async def getuid(self, call: Call) -> int:
            return 0

        @hook("open", "openat2")
        def look(self, call: Call) -> object:
            return PASS

        def _helper(self, call: Call) -> None: ...

        def other(self, value: int) -> None: ...

    assert Mine.handlers == {"uname": "uname", "getuid": "getuid"}
    assert Mine.hooks == {"open": "look", "openat2": "look"}
    assert Mine.name == "mine"


def test_a_subclass_inherits_and_changes_nothing_above() -> None:
    class Mine(VirtualModule):
        def uname(self, call: Call) -> object:
            return PASS

    class More(Mine):
        def getuid(self, call: Call) -> int:
            return 0

    assert set(More.handlers) == {"uname", "getuid"}
    assert set(Mine.handlers) == {"uname"}
    assert VirtualModule.handlers == {}
    assert More.name == "more"


def test_several_bases_all_count() -> None:
    class Names(VirtualModule):
        def uname(self, call: Call) -> object:
            return PASS

    class Ids(VirtualModule):
        def getuid(self, call: Call) -> int:
            return 1

        @hook("open")
        def look(self, call: Call) -> object:
            return PASS

    class Both(Names, Ids):
        pass

    assert (set(Both.handlers), Both.hooks) == ({"uname", "getuid"}, {"open": "look"})


def test_a_misspelt_handler() -> None:
    with pytest.raises(TypeError, match=r"Mine\.unmae: there is no operation or system call"):
        _class(unmae=lambda self, call: PASS)


def test_a_misspelt_hook() -> None:
    with pytest.raises(TypeError, match="no operation or system call named 'opne'"):
        hook("open", "opne")


@pytest.mark.parametrize(
    "function", [lambda self: PASS, lambda self, request: PASS, lambda self, call, more: PASS]
)
def test_a_handler_with_other_parameters(function: object) -> None:
    with pytest.raises(TypeError, match=r"Mine\.uname: a handler takes \(self, call\)"):
        _class(uname=function)


@pytest.mark.parametrize("function", [lambda self: PASS, lambda self, call, more: PASS])
def test_a_hook_with_other_parameters(function: object) -> None:
    with pytest.raises(TypeError, match=r"Mine\.look: a hook takes \(self, call\)"):
        _class(look=hook("open")(function))  # type: ignore[type-var]


def test_executed_answers_no_call() -> None:
    assert _class(executed=lambda self, call, program: (None, {})).handlers == {}


def test_a_tree_may_read() -> None:
    tree = _class(TreeModule, read=lambda self, path: b"", entries=lambda self, path: ())
    assert tree.handlers == {}
    with pytest.raises(TypeError, match=r"Mine\.read: a handler takes"):
        _class(FileModule, read=lambda self, path: b"")


def test_a_tree_is_read_only() -> None:
    with pytest.raises(TypeError, match="a TreeModule is read-only"):
        _class(TreeModule, read_only=False)


def test_every_public_name_is_there() -> None:
    for name in viewos.__all__:
        assert getattr(viewos, name) is not None
        assert name in dir(viewos)
    with pytest.raises(AttributeError, match="no attribute 'Moduel'"):
        viewos.Moduel  # noqa: B018


@pytest.mark.timeout(30)
def test_importing_viewos_loads_nothing_else() -> None:
    program = (
        "import sys, viewos; print([m for m in sys.modules if m.startswith('viewos.')]);"
        "from viewos import VirtualModule, Claim;"
        "print([m for m in ('anyio', 'asyncio', 'subprocess', 'pwd') if m in sys.modules])"
    )
    path = viewos.__path__[0].rpartition("/")[0]
    result = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True, text=True, timeout=20, check=True, env={"PYTHONPATH": path},
    )  # fmt: skip
    assert result.stdout == "[]\n[]\n"
