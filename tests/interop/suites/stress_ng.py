"""stress-ng: bounded stressors that verify what they did."""

from __future__ import annotations

import re

from .places import NOBODY
from .sources import need
from .suite import Run, Statuses, Suite, ending

OPERATIONS = {
    word.partition("=")[0]: word.partition("=")[2]
    for word in """
    access=50 chdir=5 chmod=20 chown=50 clone=50 close=1000 copy-file=10 daemon=20 dentry=500
    dir=200 dirdeep=100 dirmany=200 dup=200 dynlib=20 env=5 exec=200 fcntl=100 fifo=500
    file-ioctl=100 filename=50 flock=200 fork=200 fstat=50 getdent=50 get=20 handle=100 inotify=5
    link=5 mknod=10 open=500 pidfd=100 pipe=1000 rename=200 session=50 set=20 sock=20 sockabuse=5
    sockfd=100 sockpair=200 spawn=50 symlink=5 touch=200 udp=200 unshare=20 utime=500 vfork=200
    wait=50 xattr=20 zombie=100 sysbadaddr=50 enosys=50 chroot=50
    """.split()
}
"""Stressor -> how many operations."""
SUBSET = frozenset(
    """chmod copy-file daemon dir env fcntl fifo file-ioctl flock fork getdent get handle mknod open
    pidfd pipe rename session sock sockfd spawn xattr""".split()
)
ENDLESS = {"exec": 10}
"""Stressor -> seconds, where it does not count its operations and runs until its time is over."""
LONG = 800
"""Seconds for the others: a time limit must not cut them short where a machine is slow."""
_SKIPPED = re.compile("skipp|not implemented|unimplemented|not able|cannot")


class StressNg(Suite):
    """A group is a stressor. As an ordinary user: exec and spawn skip as root."""

    name = "stress-ng"
    users = (NOBODY,)

    def build(self, subset: bool) -> None:
        """Raises NotRun."""
        need("stress-ng")

    def groups(self, user: int, subset: bool) -> list[str]:
        """Stressors."""
        return [name for name in OPERATIONS if not subset or name in SUBSET]

    def run(self, run: Run, group: str) -> Statuses:
        """One stressor."""
        with run.directory(group) as (work, _):
            options = ["--temp-path", str(work), "--verify", "--metrics-brief", "--no-rand-seed"]
            count = [f"--{group}", "1", f"--{group}-ops", OPERATIONS[group]]
            argv = ["stress-ng", *options, "--timeout", str(ENDLESS.get(group, LONG)), *count]
            outcome = run(argv, cwd=work, log=group, limit=LONG + 60)
        failures = outcome.output.count("fail:")
        end = ending(outcome)
        if _SKIPPED.search(outcome.output):
            end = end.replace("pass", "skip")
        return {"": f"{end} ({failures} failures)"}
