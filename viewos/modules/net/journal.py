"""log=FILE: a line of JSON for each decision."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from viewos import InetAddress

if TYPE_CHECKING:
    from viewos import Call


class Journal:
    """Appends to a file; without one, does nothing."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._fd = -1

    def __bool__(self) -> bool:
        return self._path is not None

    def open(self) -> None:
        """Open the file. Raises OSError."""
        if self._path is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o600)

    def close(self) -> None:
        """Close it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def write(
        self,
        call: Call,
        protocol: str,
        address: InetAddress | None,
        *,
        rule: str | None = None,
        to: InetAddress | str | None = None,
        result: str = "ok",
    ) -> None:
        """One line: what the process asked for, which rule it met, and what came of it."""
        if self._fd < 0:
            return
        line = {
            "time": round(time.time(), 6),
            "pid": call.pid,
            "call": call.name,
            "protocol": protocol,
            "address": None if address is None else str(address),
            "rule": rule,
            "to": None if to is None else str(to),
            "result": result,
        }
        with suppress(OSError):  # a full disk is no reason to fail a call
            os.write(self._fd, json.dumps(line).encode() + b"\n")
