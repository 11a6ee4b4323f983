"""The tools: the words that stand in front of a command."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.system.net.servers import closed_port

VIEWOS = [sys.executable, "-m", "viewos", "run"]
WRAPPER = "/usr/lib/x86_64-linux-gnu/libsocket_wrapper.so"
Prefix = Callable[[Path, int], AbstractContextManager[list[str]]]


class Tool(NamedTuple):
    """One contender."""

    name: str
    prefix: Prefix
    """A context: a directory, and the port of a SOCKS5 proxy (0: no proxy) -> words."""
    needs: str
    """A program, or a file."""

    def missing(self) -> bool:
        """Is it not here?"""
        return not (shutil.which(self.needs) or os.path.exists(self.needs))


@contextmanager
def _viewos(directory: Path, proxy: int) -> Iterator[list[str]]:
    item = f"proxy@any=socks5h://127.0.0.1:{proxy}" if proxy else "ports=private"
    yield [*VIEWOS, "-q", "-m", f"net:{item}", "--"]


@contextmanager
def _proxychains(directory: Path, proxy: int) -> Iterator[list[str]]:
    file = directory / "proxychains.conf"
    file.write_text(f"strict_chain\nproxy_dns\n[ProxyList]\nsocks5 127.0.0.1 {proxy}\n")
    yield ["proxychains4", "-q", "-f", str(file)]


@contextmanager
def _torsocks(directory: Path, proxy: int) -> Iterator[list[str]]:
    yield ["torsocks", "-q", "-a", "127.0.0.1", "-P", str(proxy)]


GRAFTCP = os.environ.get("VIEWOS_PEER_GRAFTCP", "/nowhere")


@contextmanager
def _graftcp(directory: Path, proxy: int) -> Iterator[list[str]]:
    port = str(closed_port())
    words = [f"{GRAFTCP}/graftcp-local", "-listen", f"127.0.0.1:{port}"]
    words += ["-socks5", f"127.0.0.1:{proxy}", "-pipepath", str(directory / "fifo")]
    local = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
                break
            time.sleep(0.05)
        yield [
            f"{GRAFTCP}/graftcp", "-p", port, "-f", str(directory / "fifo"), "-n"
        ]  # fmt: skip
    finally:
        local.kill()
        local.wait()


@contextmanager
def _wrapper(directory: Path, proxy: int) -> Iterator[list[str]]:
    sockets = directory / "sockets"
    sockets.mkdir(exist_ok=True)
    yield ["env", f"LD_PRELOAD={WRAPPER}", f"SOCKET_WRAPPER_DIR={sockets}"]


VIEW = Tool("viewos", _viewos, sys.executable)
PROXYING = (
    VIEW,
    Tool("proxychains-ng", _proxychains, "proxychains4"),
    Tool("torsocks", _torsocks, "torsocks"),
    Tool("graftcp", _graftcp, f"{GRAFTCP}/graftcp-local"),
)
PRIVATE = (VIEW, Tool("socket_wrapper", _wrapper, WRAPPER))
