"""The command line: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.interop.peers.programs import CLIENTS, NAME, SERVERS, Program, build
from tests.interop.peers.tools import PRIVATE, PROXYING, Tool
from tests.system.net.proxies import asking, dns_packets
from tests.system.net.servers import BODY, closed_port, serving
from tests.system.users import REPOSITORY

DOCS = REPOSITORY / "docs/net.md"
PATIENCE = 40
Table = dict[str, dict[str, str]]
"""Program -> tool -> what came of it."""
_LABELS = b"".join(bytes([len(word)]) + word.encode() for word in NAME.split("."))


def main(argv: Sequence[str]) -> int:
    """Run what `argv` asks for."""
    new = argparse.ArgumentParser("python -m tests.interop.peers", description=__doc__)
    new.add_argument("program", nargs="*")
    new.add_argument("--tool", action="append", help="default: all")
    new.add_argument("--json", type=Path, metavar="FILE")
    new.add_argument("--write-docs", action="store_true", help=f"the tables in {DOCS.name}")
    args = new.parse_args(argv)
    tables: dict[str, Table] = {}
    for title, programs, tools, ask in (
        ("proxies", CLIENTS, PROXYING, _through_a_proxy),
        ("private", SERVERS, PRIVATE, _both_on_one_port),
    ):
        wanted = tuple(p for p in programs if not args.program or p.name in args.program)
        table = tables[title] = {program.name: {} for program in wanted}
        with tempfile.TemporaryDirectory(prefix="viewos-peers-") as name:
            Path(name).chmod(0o755)
            build(wanted, Path(name))
            for tool in tools:
                if args.tool and tool.name not in args.tool:
                    continue
                for program in wanted:
                    cell = "not here" if tool.missing() else ask(tool, program, Path(name))
                    table[program.name][tool.name] = cell
                    print(f"{title}: {program.name}: {tool.name}: {cell}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(tables, indent=1) + "\n")
    if args.write_docs:
        write_docs(tables)
    return 0


def _run(words: list[str], script: str, directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*words, "bash", "-c", script], cwd=directory, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace",
        start_new_session=True,
    )  # fmt: skip


def _said(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
        process.kill()
        process.communicate()
        return ""


def _through_a_proxy(tool: Tool, program: Program, directory: Path) -> str:
    with ExitStack() as stack:
        port = stack.enter_context(serving())
        proxy, asked = stack.enter_context(asking(to=port))
        packets = stack.enter_context(dns_packets())
        words = stack.enter_context(tool.prefix(directory, proxy))
        works = program.says in _said(_run(words, program.script, directory))
    leaks = any(_LABELS in packet for packet in packets)
    if works and (asked or not leaks):
        return "works, and asks a name server" if leaks else "works"
    return "does not work, and asks a name server" if leaks else "does not work"


def _both_on_one_port(tool: Tool, program: Program, directory: Path) -> str:
    script = program.script.replace("@PORT@", str(closed_port()))
    with ExitStack() as stack:
        running = []
        for number in range(2):
            own = directory / f"{tool.name}-{number}"
            own.mkdir(exist_ok=True)
            (own / "text").write_bytes(BODY)
            words = stack.enter_context(tool.prefix(own, 0))
            running.append(_run(words, script, own))
        works = [program.says in _said(process) for process in running]
    return "works" if all(works) else "does not work"


def write_docs(tables: dict[str, Table]) -> None:
    """Put the tables between their marks in docs/net.md. Raises ValueError without them."""
    text = DOCS.read_text()
    for title, table in tables.items():
        begin, end = f"<!-- {title}: begin -->", f"<!-- {title}: end -->"
        before, found, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found or not found_end:
            raise ValueError(f"{DOCS}: no {begin} and {end}")
        tools = list(next(iter(table.values())))
        lines = ["| program | " + " | ".join(tools) + " |", "| --- " * (len(tools) + 1) + "|"]
        lines += [f"| {name} | {' | '.join(cells.values())} |" for name, cells in table.items()]
        text = f"{before}{begin}\n" + "\n".join(lines) + f"\n{end}{after}"
    DOCS.write_text(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
