"""What the tests of the in-process tier share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest

from tests.system.users import NOBODY, python
from tests.system.view import Place, run_in_view
from tests.system.view import place as new_place


@pytest.fixture(params=(0, NOBODY), ids=("root", "nobody"))
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with new_place("mnt", request.param) as found:
        yield found


def run(
    modules: list[str], words: list[str], user: int, options: Sequence[str] = (), **kw: object
) -> str:
    """What a program says in a view with the in-process tier."""
    options = [*options, *(word for module in modules for word in ("-m", module))]
    words = [python(user), "-m", "viewos", "run", *options, "--", *words]
    done = run_in_view(None, words, user=user, **kw)  # type: ignore[arg-type]
    return (done.stdout + done.stderr).decode()


def notifications(place: Place, module: str, *program: str, cwd: str | None = None) -> int:
    """How many calls of a program reach the monitor."""
    log = place.real / "log"
    log.unlink(missing_ok=True)
    options = ["-v", "--log", str(log), "-m", module.replace("DIR", str(place.real))]
    words = [python(place.user), "-m", "viewos", "run", *options, *program]
    done = run_in_view(None, words, user=place.user, check=True, cwd=cwd)
    assert not done.stderr, done.stderr
    found = re.search(r"accelerator: (\d+) calls settled, (\d+) left", log.read_text())
    assert found is not None
    return int(found[1]) + int(found[2])
