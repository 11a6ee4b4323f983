"""Programs and scripts of many kinds leave in a view what they leave natively.

Compared are the output, the status, and the tree: names, types, modes, owners, link counts, hard
links, sizes, contents, holes, times that were set, extended attributes, and flags.
"""

from __future__ import annotations

from typing import Any

import pytest

from .differential import files, kernel, listing, processes
from .differential.case import INPROC, NOBODY, USERS, VIEWS, Case
from .differential.cases import CASES
from .differential.runner import Outcome, Runs, differences, programs, run


def _param(name: str, user: int, view: str) -> Any:
    gap = CASES[name].gaps.get("mnt" if view == INPROC else view)
    marks = [] if gap is None else [pytest.mark.xfail(reason=gap)]
    return pytest.param(name, user, view, id=f"{name}-{user}-{view}", marks=marks)


RUNS = [
    _param(name, user, view)
    for name, case in CASES.items()
    for user in case.users
    for view in case.views
]
RUNS += [
    _param(name, NOBODY, INPROC)
    for table in (files.TABLE, kernel.TABLE, listing.TABLE, processes.TABLE)
    for name in table
    if NOBODY in CASES[name].users and "mnt" in CASES[name].views
]
"""With the in-process tier. VIEWOS_TEST_INPROC=1 has all of tests/system run with it."""


@pytest.fixture(scope="module")
def runs() -> Runs:
    programs()
    return Runs()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "user", "view"), RUNS)
def test_identity(runs: Runs, name: str, user: int, view: str) -> None:
    case = CASES[name]
    found = differences(runs.get(case, user, None), runs.get(case, user, view))
    if found:
        pytest.fail("\n".join(found), pytrace=False)


# ---- the runner can fail ------------------------------------------------------------------------

PLAIN = """
echo out; echo err >&2; mkdir d; echo text >d/f; ln d/f g; ln -s d/f l; truncate -s 1M hole
setfattr -n user.a -v 1 d; mknod n p; touch -d '2001-02-03 UTC' d/f
"""

PLANTED = {
    "stdout": ("echo more", "stdout: "),
    "stderr": ("echo more >&2", "stderr: "),
    "status": ("exit 3", "status: "),
    "signal": ("kill -KILL $$", "status: "),
    "a new name": ("touch new", "tree: 'new' is there only in the view"),
    "a name less": ("rm l", "tree: 'l' is there only natively"),
    "type": ("rm n; touch n", "kind of 'n'"),
    "mode": ("chmod 4644 d/f", "mode of 'd/f'"),
    "mode of the directory itself": ("chmod 700 .", "mode of '.'"),
    "owner": ("chown 7 d", "owner of 'd'"),
    "owner of a link": ("chown -h 7 l", "owner of 'l'"),
    "group": ("chgrp 7 d", "group of 'd'"),
    "device number": ("rm n; mknod n c 1 3", "device of 'n'"),
    "link count": ("ln d/f /mnt/d/h; rm d/h; cp --remove-destination d/f g", "links of 'd/f'"),
    "hard links": ("cp g h; ln h i; mv i g; rm h", "same_file of 'g'"),
    "link count of a directory": ("mkdir d/s", "links of 'd'"),
    "content": ("printf TEXT | dd of=g conv=notrunc status=none", "content of 'd/f'"),
    "size": ("truncate -s +1 hole", "size of 'hole'"),
    "text of a link": ("ln -sfn d/g l", "content of 'l'"),
    "holes": ("head -c 4096 /dev/zero | dd of=hole conv=notrunc status=none", "data of 'hole'"),
    "modified": ("touch -m -d '2001-02-03 00:00:00.000000001 UTC' d/f", "modified of 'd/f'"),
    "modified now": ("touch d/f", "modified of 'd/f': 981158400000000000 natively, 'now'"),
    "accessed": ("touch -a -d '2001-02-04 UTC' d/f", "accessed of 'd/f'"),
    "an extended attribute": ("setfattr -n user.a -v 2 d", "attributes of 'd'"),
    "an ACL": ("setfacl -m u:1:r d/f", "attributes of 'd/f'"),
    "flags": ("chattr +d hole", "flags of 'hole'"),
}


@pytest.fixture(scope="module")
def plain() -> Outcome:
    return run(Case(PLAIN), 0, None)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_difference_is_found(plain: Outcome, name: str) -> None:
    script, message = PLANTED[name]
    found = differences(plain, run(Case(f"{PLAIN}\n{script}"), 0, None))
    assert [line for line in found if line.startswith(message)], found


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_what_a_case_runs_in(view: str, user: int) -> None:
    case = Case("grep ^Seccomp: /proc/self/status; id -u; /bin/pwd; umask")
    natively, viewed = run(case, user, None), run(case, user, view)
    assert natively.stdout == f"Seccomp:\t0\n{user}\n/mnt\n0022\n".encode()
    assert viewed.stdout == natively.stdout.replace(b"\t0", b"\t2")
    assert differences(natively, viewed)


def test_two_native_runs_are_the_same(plain: Outcome) -> None:
    assert not differences(plain, run(Case(PLAIN), 0, None))


def test_a_case_that_does_not_end_fails() -> None:
    with pytest.raises(AssertionError, match="took over"):
        run(Case("sleep 60", timeout=0.3), 0, None)


def test_what_cannot_be_prepared_fails() -> None:
    with pytest.raises(AssertionError, match="status 4"):
        run(Case("true", given="exit 4"), 0, None)
