"""Checks of the machine: architecture, kernel, /proc, the scratch directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

from viewos.abi.machine import MACHINE
from viewos.doctor.finding import Missing

_PROC_SUPER_MAGIC = 0x9FA0


def architecture() -> str:
    """Is there a table of its system calls?"""
    if MACHINE != "x86_64":
        raise Missing(f"this process runs on {MACHINE}")
    return MACHINE


def release() -> str:
    """Nothing is decided by it; it helps who reads a report."""
    uname = os.uname()
    return f"{uname.sysname} {uname.release}"


def proc() -> str:
    """Is /proc a procfs, of this process's pid name space, that shows other processes?"""
    from viewos import kernel
    from viewos.doctor.trial import attempt, child

    def body() -> str:
        try:
            kind = kernel.filesystem_type(b"/proc")
            ourselves = os.readlink("/proc/self")
        except OSError as error:
            raise Missing(f"/proc: {error.strerror}: no procfs is mounted there") from error
        if kind != _PROC_SUPER_MAGIC:
            raise Missing("what is mounted at /proc is no procfs")
        if int(ourselves) != os.getpid():
            raise Missing("/proc belongs to another pid name space")
        reader, writer = os.pipe()

        def wait() -> None:
            os.close(writer)
            os.read(reader, 1)

        pid = child(wait)
        try:
            for name in ("status", "maps", "fd", "cwd", "root", "ns/mnt"):
                os.stat(f"/proc/{pid}/{name}")
            with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
                file.read()
        except OSError as error:
            raise Missing(f"{error.filename}: {error.strerror}") from error
        finally:
            os.close(writer)
            os.waitpid(pid, 0)
        return ""

    return attempt(body)


def null() -> str:
    """Open it as the monitor does."""
    try:
        os.close(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise Missing(f"/dev/null: {error.strerror}") from error
    return ""


def handles() -> str:
    """Ask for the handles of the working directory and the one for temporary files."""
    from viewos.files import File

    places = dict.fromkeys((os.getcwd(), tempfile.gettempdir()))
    lacking = [path for path in places if not File(path=os.fsencode(path)).identity().is_certain]
    if lacking:
        raise Missing(f"no file handles in {', '.join(lacking)}")
    return ""


def scratch() -> str:
    """Make a directory where views make theirs, a link in it, and a program."""
    from viewos.doctor.trial import attempt

    try:
        directory = tempfile.mkdtemp(prefix="vos-")
    except OSError as error:
        raise Missing(error.strerror or str(error)) from error
    try:
        return attempt(lambda: _use(directory))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _use(directory: str) -> str:
    where = os.path.dirname(directory)
    program, link = os.path.join(directory, "program"), os.path.join(directory, "link")
    try:
        with open(program, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\n:\n")
        os.chmod(program, 0o755)
        os.symlink("program", link)
    except OSError as error:
        raise Missing(f"{where}: {error.strerror}") from error
    try:
        os.stat(link)
    except OSError as error:
        raise Missing(f"{where} is mounted with nosymfollow") from error
    try:
        subprocess.run([program], check=True)
    except OSError as error:
        raise Missing(f"{where} is mounted with noexec") from error
    return where


def accelerator() -> str:
    """Was the extension module built, and is it wanted?"""
    from viewos.monitor.accelerator import extension

    if os.environ.get("VIEWOS_PURE") == "1":
        raise Missing("switched off by VIEWOS_PURE=1", "unset VIEWOS_PURE")
    if extension() is None:
        raise Missing("it was not built")
    return ""


def inproc() -> str:
    """Can programs be given an instrumented libc?"""
    from viewos.monitor.inproc import lacking

    why = lacking()
    if why:
        raise Missing(why, *(["unset VIEWOS_PURE"] if "VIEWOS_PURE" in why else ()))
    return ""


def is_in_a_view() -> bool:
    """Does a monitor serve this process, and would it nest views?"""
    from viewos.errors import ViewosError
    from viewos.launcher.contact import contact

    try:
        number = contact()
    except ViewosError:
        return False
    if number is None:
        return False
    os.close(number)
    return True
