"""The suites, in the order in which they run."""

from __future__ import annotations

from .busybox import Busybox
from .chroots import Fakechroot, Proot
from .cpython import CPython
from .fakeroot import Fakeroot
from .git import Git
from .gnu import Bash, Coreutils, Findutils, Sed, Strace, Tar
from .golang import Golang
from .gvisor import GVisor
from .kselftest import Seccomp
from .ltp import Fsstress, Fsx, Syscalls
from .pjdfstest import Pjdfstest
from .stress_ng import StressNg
from .suite import Suite

SUITES: tuple[Suite, ...] = (
    Fsstress(),
    Fsx(),
    Fakeroot(),
    Syscalls(),
    StressNg(),
    Pjdfstest(),
    Golang(),
    CPython(),
    Busybox(),
    Git(),
    Fakechroot(),
    Proot(),
    Seccomp(),
    GVisor(),
    Sed(),
    Findutils(),
    Bash(),
    Tar(),
    Coreutils(),
    Strace(),
)
