"""Views in a view: made inside the one monitor, because the kernel allows one listener.

`viewos run` in a view asks the monitor by a prctl(2) of our own for a descriptor (contact), sends
what modules it wants, and enters the view that was made by a second prctl. Nothing is started: the
caller becomes the program. Which view a process is in stands in its `ProcessState`, and the router
of that view answers its calls; a nested view's map of claims holds those of the outer one already.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from viewos.abi.nesting import VIEWOS_CONTACT, VIEWOS_ENTER
from viewos.abi.row import signed32
from viewos.errors import ViewosError, told
from viewos.monitor.plan import lacking, plan
from viewos.monitor.setup import set_up, tear_down
from viewos.spec import launch_directory
from viewos.view import View

if TYPE_CHECKING:
    from viewos.call import Call
    from viewos.monitor.router import Router

PROTOCOL = 1
MOST_VIEWS = 1000
"""Nested views of one monitor: each keeps its modules until the last program has ended."""
_LARGEST_REQUEST = 1 << 20
_PATIENCE = 30.0
"""Seconds that a caller may take to say what it wants."""


class Nesting:
    """The views of one monitor: the outermost one, and those that were nested in it."""

    def __init__(self, outermost: Router) -> None:
        self._routers = [outermost]
        self._makers: dict[int, int] = {}
        """View -> the process that asked for it, and may enter it."""
        self._lock = threading.Lock()

    def router_of(self, tid: int) -> Router:
        """The router of the view that a task is in."""
        routers = self._routers
        if len(routers) == 1:
            return routers[0]
        try:
            return routers[routers[0].view.states.read(tid).view]
        except OSError:  # it has ended
            return routers[0]

    def tear_down(self) -> None:
        """After the last program: stop the modules of nested views, the innermost first."""
        while len(self._routers) > 1:
            router = self._routers.pop()
            tear_down(router.view, router.log.warning)

    # ---- what a process asks ------------------------------------------------------------------

    def asked(self, router: Router, call: Call) -> int:
        """prctl(PR_VIEWOS). Raises OSError."""
        what, number = signed32(call.raw[1]), signed32(call.raw[2])
        task, _ = router.tasks.get(call.tid)
        if not task.like_us or call.process_state.confined:
            # The modules of a view run in the monitor, with its power.
            raise OSError(errno.EPERM, "only a program with the monitor's own credentials")
        if what == VIEWOS_CONTACT:
            return self._contact(router, call)
        if what == VIEWOS_ENTER:
            return self._enter(router, call, number)
        raise OSError(errno.EINVAL, "PR_VIEWOS")

    def _contact(self, router: Router, call: Call) -> int:
        ours, theirs = socket.socketpair()
        try:
            number = router.inject(call, theirs.detach(), cloexec=True)
        except OSError:
            ours.close()
            raise
        threading.Thread(
            target=self._converse, args=(router, ours, call.pid), name="viewos nesting", daemon=True
        ).start()
        return number

    def _enter(self, router: Router, call: Call, number: int) -> int:
        state = call.process_state
        if state.view == number and self._makers.get(number) == call.pid:
            return 0  # the call that set the state was made again
        is_theirs = self._makers.get(number) == call.pid
        if not is_theirs or self._routers[number].view.below is not router.view:
            raise OSError(errno.EPERM, "another process's view")
        router.set_process_state(call, state._replace(view=number))
        return 0

    def _converse(self, router: Router, connection: socket.socket, pid: int) -> None:
        with connection, suppress(OSError):
            connection.settimeout(_PATIENCE)
            try:
                answer = self._answer(router, _request(connection), pid)
            except ViewosError as error:
                answer = {"error": str(error), "status": error.status}
            except OSError:
                return  # it has gone, or says nothing
            except Exception as error:
                router.log.exception("nesting a view")
                answer = {"error": f"the monitor failed: {told(error)}", "status": 125}
            connection.sendall(json.dumps(answer).encode() + b"\n")

    def _answer(self, router: Router, request: dict[str, Any], pid: int) -> dict[str, Any]:
        from viewos.loader import load

        specs, directory = request["modules"], os.fsencode(request["directory"])
        token = launch_directory.set(directory)
        try:
            modules = [load(text, partial(_real_file, router, directory)) for text in specs]
            view = View(modules, below=router.view, no_continue=request.get("no_continue") is True)
            if request.get("nestable") and not self._routers[0].view.nestable:
                raise ViewosError("only the outermost view can be made nestable")
            return {"view": self._nest(router, view, pid)}
        finally:
            launch_directory.reset(token)

    def _nest(self, router: Router, view: View, pid: int) -> int:
        """Make a router for a view; its number. Raises ViewosError."""
        with self._lock:
            if len(self._routers) > MOST_VIEWS:
                raise ViewosError(f"there are {MOST_VIEWS} nested views already")
            set_up(view, router.mounts)
            try:
                self._check(view, router.cookie)
                number = len(self._routers)
                nested = router.nested(view, number)
                fast = self._routers[0].accelerator
                if fast is not None:
                    fast.add_view(number, view, nested.accelerated)
                self._routers.append(nested)
                self._makers[number] = pid
            except BaseException:
                tear_down(view)
                raise
        return number

    def _check(self, view: View, cookie: int) -> None:
        missing = lacking(plan(self._routers[0].view, cookie), plan(view, cookie))
        if missing:
            shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
            raise ViewosError(
                f"this needs system calls that the outermost view does not trap ({shown}): start"
                " that one with `viewos run --nestable`"
            )


def _request(connection: socket.socket) -> dict[str, Any]:
    """What the caller wants, checked. Raises ViewosError, OSError when it has gone."""
    data = b""
    while not data.endswith(b"\n"):
        more = connection.recv(1 << 16)
        if not more:
            raise ConnectionError
        data += more
        if len(data) > _LARGEST_REQUEST:
            raise ViewosError("the request for a nested view is too long")
    try:
        request = json.loads(data)
    except ValueError:
        request = None
    if not isinstance(request, dict) or request.get("viewos") != PROTOCOL:
        raise ViewosError(
            "the outer view is served by another version of viewos: use the same one inside"
        )
    modules, directory = request.get("modules"), request.get("directory")
    if not (
        isinstance(modules, list)
        and all(isinstance(text, str) for text in modules)
        and isinstance(directory, str)
        and directory.startswith("/")
    ):
        raise ViewosError("the request for a nested view is not one")
    return request


def _real_file(router: Router, directory: bytes, path: str) -> str:
    """A module's file is named by a path of the outer view; the monitor opens the real one."""
    virtual = os.path.join(directory, os.fsencode(path))
    return os.fsdecode(router.resolver.canonical(virtual)[1])
