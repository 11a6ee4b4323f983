"""What the net module costs: connections a second, and bytes.

    python -m benchmarks.net [--connections N] [--megabytes N] [--rounds N]

The client measures itself, so the start of the view is not in it. The contenders take turns.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from benchmarks.contenders import VIEWOS

CLIENT = """
import socket, sys, time
host, port, count, size = sys.argv[1], *map(int, sys.argv[2:])
def connect():
    s = socket.socket(); s.connect((host, port)); return s
for s in [connect() for _ in range(20)]: s.close()
begin = time.perf_counter()
for _ in range(count): connect().close()
took = time.perf_counter() - begin
s, data = connect(), bytes(1 << 20)
begin = time.perf_counter()
for _ in range(size): s.sendall(data)
s.shutdown(1); s.recv(1)
print(took / count * 1e6, size / (time.perf_counter() - begin))
"""


@contextmanager
def sink() -> Iterator[int]:
    """A server that reads to the end of each connection; its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)

    def drain(connection: socket.socket) -> None:
        buffer = bytearray(1 << 20)
        with connection, suppress(OSError):
            while connection.recv_into(buffer):
                pass

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=drain, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    with closing(listener):
        yield listener.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.net", description=__doc__)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with sink() as port:
        views = {
            "native": (None, "127.0.0.1"),
            "vfs:/mnt=/usr": ("vfs:/mnt=/usr", "127.0.0.1"),
            "net:allow": ("net:allow=127.0.0.0/8,deny=any", "127.0.0.1"),
            "net:map": (f"net:map=10.0.0.0/8=127.0.0.1:{port}", "10.0.0.1"),
            "net with a rule of UDP": ("net:allow=127.0.0.0/8/udp,deny=10.0.0.0/8", "127.0.0.1"),
            "net:ports=private": (f"net:allow=127.0.0.1:{port},ports=private", "127.0.0.1"),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in views}
        for _ in range(options.rounds):
            for name, (module, host) in views.items():
                words = [] if module is None else [*VIEWOS, "-m", module, "--"]
                numbers = [str(n) for n in (port, options.connections, options.megabytes)]
                words += ["python3", "-c", CLIENT, host, *numbers]
                done = subprocess.run(words, check=True, capture_output=True, timeout=300)
                connect, speed = map(float, done.stdout.split())
                found[name].append((connect, speed))
    print(f"{'':<26}{'us a connect':>14}{'MB/s':>10}")
    for name, results in found.items():
        connects, speeds = zip(*results, strict=True)
        print(f"{name:<26}{statistics.median(connects):14.1f}{statistics.median(speeds):10.0f}")


if __name__ == "__main__":
    main()
