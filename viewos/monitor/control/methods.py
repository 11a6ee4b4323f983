"""What can be asked of a monitor: methods, their parameters, and who may call them.

docs/control.md is the description for those who write clients.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from viewos import __version__
from viewos.control import NAME, is_name
from viewos.control.message import METHOD, PARAMETERS, PROTOCOL, Request, WrongMessage
from viewos.errors import ViewosError
from viewos.monitor import change, members, mounting
from viewos.monitor.control import about, entering
from viewos.monitor.lines import Lines
from viewos.monitor.trace import Trace, parse
from viewos.monitor.why import explain
from viewos.tuples import NamedTuple

if TYPE_CHECKING:
    from viewos.monitor.nesting import Level, Nesting
    from viewos.monitor.serving import Serving


class Caller(NamedTuple):
    """Who asks."""

    pid: int
    uid: int
    view: int | None
    """The view in which the caller is, where it asks through that; None: over the socket."""


class Asked(NamedTuple):
    """A call of a method, checked."""

    caller: Caller
    parameters: dict[str, Any]
    descriptors: list[int]
    gone: Callable[[], bool]
    """Has the client hung up?"""


_KINDS: dict[str, tuple[type, ...]] = {
    "number": (int,), "flag": (bool,), "text": (str,), "seconds": (int, float), "texts": (list,),
}  # fmt: skip


class Methods:
    """The methods, of one monitor."""

    def __init__(self, nesting: Nesting, serving: Serving | None, pid: int) -> None:
        self._nesting = nesting
        self._serving = serving
        self._pid = pid
        self._table: dict[str, tuple[Callable[[Asked], Any], dict[str, str]]] = {
            "hello": (self._hello, {}),
            "own": (self._own, {}),
            "views": (self._views, {}),
            "info": (self._info, {"view": "number"}),
            "name": (self._name, {"view": "number", "name": "text"}),
            "stop": (self._stop, {"view": "number", "signal": "number", "patience": "seconds"}),
            "wait": (self._wait, {"view": "number"}),
            "nest": (
                self._nest,
                {
                    "view": "number", "modules": "texts", "directory": "text",
                    "no_continue": "flag", "nestable": "flag", "command": "texts", "name": "text",
                },
            ),
            "enter": (self._enter, {"view": "number", "directory": "text"}),
            "attach": (self._attach, {"view": "number", "pid": "number"}),
            "modules": (self._modules, {"view": "number"}),
            "add": (self._add, {"view": "number", "modules": "texts", "directory": "text"}),
            "remove": (self._remove, {"view": "number", "layer": "number", "lazy": "flag"}),
            "move": (self._move, {"view": "number", "layer": "number", "place": "number"}),
            "mount": (
                self._mount,
                {
                    "view": "number", "type": "text", "source": "text", "target": "text",
                    "options": "texts", "directory": "text",
                },
            ),
            "umount": (
                self._umount,
                {"view": "number", "target": "text", "lazy": "flag", "directory": "text"},
            ),
            "hostname": (self._hostname, {"view": "number", "name": "text"}),
            "why": (self._why, {"view": "number", "path": "text", "directory": "text"}),
            "trace": (self._trace, {"view": "number", "expressions": "texts"}),
            "stats": (self._stats, {}),
        }  # fmt: skip

    def call(
        self, caller: Caller, request: Request, descriptors: list[int], gone: Callable[[], bool]
    ) -> Any:
        """What a method returns. Raises WrongMessage, ViewosError."""
        entry = self._table.get(request.method)
        if entry is None:
            known = ", ".join(self._table)
            raise WrongMessage(METHOD, f"there is no method {request.method}; there are {known}")
        method, kinds = entry
        for name, value in request.parameters.items():
            if name not in kinds:
                raise WrongMessage(PARAMETERS, f"{request.method}: there is no parameter {name}")
            if not _is_of_kind(value, kinds[name]):
                raise WrongMessage(PARAMETERS, f"{request.method}: {name} is no {kinds[name]}")
        return method(Asked(caller, request.parameters, descriptors, gone))

    # ---- what is needed by several ------------------------------------------------------------

    def _number(self, asked: Asked) -> int:
        number = asked.parameters.get("view", asked.caller.view)
        if number is None or not 0 <= number < len(self._nesting.levels):
            raise ViewosError(f"there is no view {number} in this monitor")
        return int(number)

    def _level(self, asked: Asked) -> Level:
        return self._nesting.levels[self._number(asked)]

    def _check_credentials(self, asked: Asked) -> None:
        entering.check_credentials(self._level(asked).router, asked.caller.pid)

    # ---- looking ------------------------------------------------------------------------------

    def _hello(self, asked: Asked) -> Any:
        return {"protocol": PROTOCOL, "version": __version__, "pid": os.getpid()}

    def _own(self, asked: Asked) -> Any:
        if asked.caller.view is None:
            raise ViewosError("this process is in no view of this monitor")
        return {"number": asked.caller.view}

    def _views(self, asked: Asked) -> Any:
        return about.views(self._nesting, self._pid)

    def _info(self, asked: Asked) -> Any:
        return about.info(self._nesting, self._pid, self._number(asked))

    def _why(self, asked: Asked) -> Any:
        router = self._level(asked).router
        path = os.path.join(_directory(asked), os.fsencode(_needed(asked, "path")))
        return explain(router.view, router.mounts, path)

    def _trace(self, asked: Asked) -> Any:
        self._check_credentials(asked)
        if len(asked.descriptors) != 1:
            raise ViewosError("trace takes one descriptor, to which it writes")
        tests = parse(asked.parameters.get("expressions", []))
        views = self._nesting.within(self._number(asked))
        trace = Trace(Lines(asked.descriptors[0]), tests)
        with self._nesting.traced(trace, views), closing(trace.lines):
            states = self._level(asked).router.view.states
            members.wait(
                states, views, lambda: trace.lines.closed or bool(trace.lost) or asked.gone()
            )
        if trace.lost:
            raise ViewosError(trace.lost)

    def _modules(self, asked: Asked) -> Any:
        return about.modules(self._nesting, self._number(asked))

    def _stats(self, asked: Asked) -> Any:
        return about.stats(self._nesting, self._pid)

    # ---- life ---------------------------------------------------------------------------------

    def _name(self, asked: Asked) -> Any:
        self._level(asked).name = _checked(_needed(asked, "name"))

    def _stop(self, asked: Asked) -> Any:
        number = asked.parameters.get("signal", signal.SIGTERM)
        if number not in signal.valid_signals():
            raise ViewosError(f"there is no signal {number}")
        views = self._nesting.within(self._number(asked))
        patience = float(asked.parameters.get("patience", 10.0))
        states = self._level(asked).router.view.states
        return {"stopped": members.stop(states, views, number, patience, asked.gone)}

    def _wait(self, asked: Asked) -> Any:
        views = self._nesting.within(self._number(asked))
        members.wait(self._level(asked).router.view.states, views, asked.gone)

    # ---- making and entering views --------------------------------------------------------------

    def _nest(self, asked: Asked) -> Any:
        self._check_credentials(asked)
        given = asked.parameters
        number = self._nesting.nest(
            self._number(asked),
            _needed(asked, "modules"),
            _directory(asked),
            no_continue=given.get("no_continue", False),
            nestable=given.get("nestable", False),
            command=tuple(given.get("command", ())),
            name=_checked(given.get("name", "")),
            gone=asked.gone,
        )
        self._nesting.let_in(asked.caller.pid, number)
        return {"view": number}

    def _enter(self, asked: Asked) -> Any:
        return entering.enter(
            self._nesting, self._number(asked), asked.caller.pid, _directory(asked),
            from_within=asked.caller.view is not None,
        )  # fmt: skip

    def _attach(self, asked: Asked) -> Any:
        pid = int(asked.parameters.get("pid", asked.caller.pid))
        entering.attach(self._nesting, self._serving, self._number(asked), pid, asked.descriptors)

    # ---- modules --------------------------------------------------------------------------------

    def _add(self, asked: Asked) -> Any:
        self._check_credentials(asked)
        layers = change.add(
            self._nesting, self._number(asked), _needed(asked, "modules"), _directory(asked),
            asked.gone,
        )  # fmt: skip
        return {"layers": layers}

    def _remove(self, asked: Asked) -> Any:
        lazy = asked.parameters.get("lazy", False)
        change.remove(self._nesting, self._number(asked), _needed(asked, "layer"), lazy=lazy)

    def _move(self, asked: Asked) -> Any:
        layer, place = _needed(asked, "layer"), _needed(asked, "place")
        change.move(self._nesting, self._number(asked), layer, place)

    def _hostname(self, asked: Asked) -> Any:
        self._check_credentials(asked)
        name = _needed(asked, "name")
        for module in reversed(self._level(asked).router.view.modules):
            setter = getattr(module, "set_hostname", None)
            if setter is not None:
                try:
                    setter(os.fsencode(name))
                except ValueError as error:
                    raise ViewosError(f"hostname: {error}") from error
                return
        spec = "hostname:" + re.sub(r"([\\:,=])", r"\\\1", name)
        change.add(self._nesting, self._number(asked), [spec], b"/", asked.gone)

    def _mount(self, asked: Asked) -> Any:
        self._check_credentials(asked)
        layer = mounting.mount(
            self._nesting, self._number(asked), asked.parameters.get("type", mounting.BIND),
            os.fsencode(_needed(asked, "source")), os.fsencode(_needed(asked, "target")),
            asked.parameters.get("options", []), directory=_directory(asked), gone=asked.gone,
        )  # fmt: skip
        return {"layer": layer}

    def _umount(self, asked: Asked) -> Any:
        mounting.unmount(
            self._nesting, self._number(asked), os.fsencode(_needed(asked, "target")),
            directory=_directory(asked), lazy=asked.parameters.get("lazy", False),
        )  # fmt: skip


def _is_of_kind(value: Any, kind: str) -> bool:
    if not isinstance(value, _KINDS[kind]) or isinstance(value, bool) is not (kind == "flag"):
        return False
    texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    return all(isinstance(text, str) and _is_text(text) for text in texts)


def _is_text(text: str) -> bool:
    """Can it be a name or a word of a command? JSON has more."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _checked(name: str) -> str:
    if not is_name(name):
        raise ViewosError(NAME)
    return name


def _needed(asked: Asked, name: str) -> Any:
    if name not in asked.parameters:
        raise WrongMessage(PARAMETERS, f"the parameter {name} is needed")
    return asked.parameters[name]


def _directory(asked: Asked) -> bytes:
    directory = os.fsencode(asked.parameters.get("directory", "/"))
    if not directory.startswith(b"/") or b"\0" in directory:
        raise WrongMessage(PARAMETERS, "directory is no absolute path")
    return directory
