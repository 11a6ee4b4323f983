"""gVisor's tests of system calls, which run on Linux as well: those that compile with Debian's
GoogleTest and Abseil.
"""

from __future__ import annotations

import re
import subprocess
from functools import cache

from .sources import NotRun, need, run_build, unpack
from .suite import Run, Statuses, Suite, ending

PROGRAMS = """access accept_bind accept_bind_stream bind chdir chmod chown chroot close_range
concurrency creat deleted dev dup exec fallocate fchdir fcntl fifo flock fork getdents inotify
ioctl itimer link lseek madvise memfd mkdir mknod mount msync open open_create pidfd_test
pivot_root posix_acl prctl priority proc proc_isolated proc_net_unix ptrace read rename rlimits
rmdir sendfile setns sigaction signalfd socket_abstract socket_filesystem socket_unix
socket_unix_cmsg socket_unix_dgram socket_unix_domain socket_unix_pair socket_unix_peercred
socket_unix_seqpacket socket_unix_stream socket_unix_unbound_abstract socket_unix_unbound_dgram
socket_unix_unbound_filesystem socket_unix_unbound_seqpacket socket_unix_unbound_stream splice stat
stat_times statfs sticky symlink sync tcp_socket truncate udp_socket umask uidgid uname unlink
unshare utimes vfork wait xattr""".split()
"""What has to do with files, names, processes, credentials, and sockets."""
WORKLOADS = """exec_assert_closed_workload exec_basic_workload exec_proc_exe_workload
exec_state_workload priority_execve""".split()
"""Programs that the tests of execve start."""
HELPERS = ("ip_socket_test_util", "unix_domain_socket_test_util", "readv_common",
           "socket_generic_test_cases", "base_poll_test")  # fmt: skip
LEFT_OUT = re.compile(r".*_test$|fuchsia_.*|.*_other$|io_uring_util|fuse_util|test_util_runfiles")
RUNFILES = """\
#include <string>
namespace gvisor { namespace testing {
std::string RunfilePath(std::string path) {
  return "DIRECTORY/" + path.substr(path.rfind('/') + 1);
}
} }
"""
"""Bazel's way to find a file, without Bazel."""
ABSEIL = "absl_flags_parse absl_strings absl_str_format absl_time absl_flat_hash_map absl_cord"
FLAGS = ("-std=c++17", "-O0", "-w", "-I.", "-D_GNU_SOURCE")
_LINE = re.compile(r"^\[ +(OK|FAILED|SKIPPED) +\] (\S+?)(?:,.*)? \(\d+ ms\)$", re.MULTILINE)
_WORDS = {"OK": "pass", "FAILED": "fail", "SKIPPED": "skip"}
LIMIT = 600.0


class GVisor(Suite):
    """A group is a program."""

    name = "gvisor"
    subset = False

    def build(self, subset: bool) -> None:
        """Compiles what can be compiled. Raises NotRun."""
        headers = ("gmock/gmock.h", "benchmark/benchmark.h", "absl/strings/str_cat.h")
        need("g++", "pkg-config", *(f"/usr/include/{name}" for name in headers))
        tree = unpack("gvisor")
        directory = tree.path / "programs"

        def helpers() -> None:
            directory.mkdir(exist_ok=True)
            (directory / "runfiles.cc").write_text(RUNFILES.replace("DIRECTORY", str(directory)))
            names = sorted(p.stem for p in (tree.path / "test/util").glob("*.cc"))
            sources = [f"test/util/{n}.cc" for n in names if not LEFT_OUT.fullmatch(n)]
            sources += [f"test/syscalls/linux/{name}.cc" for name in HELPERS]
            for source in [*sources, "programs/runfiles.cc"]:
                name = source.rpartition("/")[2].removesuffix(".cc")
                words = ["g++", *FLAGS, "-c", source, "-o", f"programs/helper-{name}.o"]
                tree.make(*words, check=False)

        def programs() -> None:
            for name in [*WORKLOADS, *PROGRAMS]:
                self._program(name)

        tree.once("helpers", helpers)
        tree.once("programs", programs)
        if not self.groups(0, subset):
            raise NotRun("none of its programs compiles")

    @staticmethod
    def _program(name: str) -> None:
        """Compile one test program, if it compiles."""
        tree = unpack("gvisor")
        source = f"test/syscalls/linux/{name}.cc"
        if (tree.path / "programs" / name).exists() or not (tree.path / source).exists():
            return
        helpers = sorted(str(p) for p in (tree.path / "programs").glob("helper-*.o"))
        if name in WORKLOADS:
            helpers = [path for path in helpers if not path.endswith("/helper-test_main.o")]
        libraries = ["-lgmock", "-lgtest", "-lbenchmark", *_abseil(), "-lpthread", "-lrt", "-lcap"]
        words = ["nice", "-n", "10", "g++", *FLAGS, source, "-o", f"programs/{name}"]
        run_build([*words, *helpers, *libraries], tree.path, check=False)

    def groups(self, user: int, subset: bool) -> list[str]:
        """Programs."""
        directory = unpack("gvisor").path / "programs"
        return [name for name in PROGRAMS if (directory / name).exists()]

    def run(self, run: Run, group: str) -> Statuses:
        """One program."""
        program = unpack("gvisor").path / "programs" / group
        with run.directory(group) as (work, _):
            env = {"TEST_TMPDIR": str(work)}
            outcome = run([str(program)], cwd=work, log=group, limit=LIMIT, env=env)
        found = {test: _WORDS[word] for word, test in _LINE.findall(outcome.output)}
        return {**found, "end": ending(outcome)}


@cache
def _abseil() -> list[str]:
    words = ["pkg-config", "--libs", *ABSEIL.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotRun(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.split()
