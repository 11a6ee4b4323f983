"""What a client and a monitor say to each other: JSON-RPC 2.0, a line each (docs/control.md)."""

from __future__ import annotations

import json
from typing import Any

from viewos.errors import ViewosError
from viewos.tuples import NamedTuple

PROTOCOL = 1
"""Both ends have to be of the same; it grows when something is not understood any more."""
LONGEST = 1 << 20
"""Bytes of a line."""
PARSE, REQUEST, METHOD, PARAMETERS, FAILED = -32700, -32600, -32601, -32602, 1
"""Codes of errors; those below zero are JSON-RPC's own."""


class Request(NamedTuple):
    """A call of a method."""

    method: str
    parameters: dict[str, Any]
    identity: int | str | None


class WrongMessage(ViewosError):
    """What came is no request."""

    def __init__(self, code: int, text: str, identity: int | str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.identity = identity


def request(method: str, parameters: dict[str, Any], identity: int = 1) -> bytes:
    """The line that calls a method."""
    return _line({"id": identity, "method": method, "params": {"protocol": PROTOCOL, **parameters}})


def result(identity: int | str | None, value: Any) -> bytes:
    """The line with what a method returned."""
    return _line({"id": identity, "result": value})


def failure(identity: int | str | None, code: int, text: str, status: int = 125) -> bytes:
    """The line that says what went wrong, and with what status a command ends."""
    error = {"code": code, "message": text, "data": {"status": status}}
    return _line({"id": identity, "error": error})


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


def read_request(line: bytes) -> Request:
    """A client's line. Raises WrongMessage."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise WrongMessage(PARSE, "this is no JSON") from None
    if not isinstance(message, dict):
        raise WrongMessage(REQUEST, "a request is an object")
    identity = message.get("id")
    if not isinstance(identity, int | str | None):
        raise WrongMessage(REQUEST, "id is no number, and no string")
    method, parameters = message.get("method"), message.get("params", {})
    if message.get("jsonrpc") != "2.0" or not isinstance(method, str):
        raise WrongMessage(REQUEST, 'a request has "jsonrpc": "2.0" and a method', identity)
    if not isinstance(parameters, dict):
        raise WrongMessage(PARAMETERS, "params are named, in an object", identity)
    if parameters.pop("protocol", PROTOCOL) != PROTOCOL:
        raise WrongMessage(
            PARAMETERS,
            "the view is served by another version of viewos: use the same one here",
            identity,
        )
    return Request(method, parameters, identity)


def read_reply(line: bytes) -> Any:
    """The value in a monitor's line. Raises ViewosError: what the monitor says went wrong."""
    try:
        message = json.loads(line)
        if "error" not in message:
            return message["result"]
        error = ViewosError(str(message["error"]["message"]))
        error.status = int(message["error"].get("data", {}).get("status", 125))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ViewosError("what the monitor answered is no reply") from None
    raise error
