"""A kernel, or a container, that refuses some system calls: forbidding.py CALL=ERRNO... -- COMMAND

The command runs under a seccomp filter without a listener, as under a container manager's profile.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

import prctl

from viewos import kernel
from viewos.abi import seccomp as abi
from viewos.filter import FilterPlan, build


def forbid(errnos: dict[str, int]) -> None:
    """Let these calls of this process and its children fail."""
    program = build(FilterPlan(errnos=errnos))
    instructions = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    if os.getuid() != 0:
        prctl.set_no_new_privs(1)
    kernel.syscall(kernel.NR["seccomp"], abi.SECCOMP_SET_MODE_FILTER, 0, fprog)


def main() -> None:
    end = sys.argv.index("--")
    pairs = [word.split("=") for word in sys.argv[1:end]]
    forbid({name: getattr(errno, error) for name, error in pairs})
    command = sys.argv[end + 1 :]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
