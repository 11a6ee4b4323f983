"""Resource limits (asm-generic/resource.h, getrlimit(2))."""

from __future__ import annotations

import struct

RLIMIT = struct.Struct("=QQ")
"""struct rlimit64, and on 64-bit machines struct rlimit: soft, hard."""
RLIM_INFINITY = 0xFFFFFFFFFFFFFFFF

RLIMIT_CPU = 0
RLIMIT_FSIZE = 1
RLIMIT_DATA = 2
RLIMIT_STACK = 3
RLIMIT_CORE = 4
RLIMIT_RSS = 5
RLIMIT_NPROC = 6
RLIMIT_NOFILE = 7
RLIMIT_MEMLOCK = 8
RLIMIT_AS = 9
RLIMIT_LOCKS = 10
"""Unused by the kernel since Linux 2.4."""
RLIMIT_SIGPENDING = 11
RLIMIT_MSGQUEUE = 12
RLIMIT_NICE = 13
RLIMIT_RTPRIO = 14
RLIMIT_RTTIME = 15
RLIM_NLIMITS = 16
