"""gVisor's tests of system calls, which run on Linux as well: those that compile with Debian's
GoogleTest and Abseil.
"""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from .sources import NotRun, Tree, need, run_build, unpack
from .suite import Run, Statuses, Suite, ending

TESTS = "test/syscalls/linux"
WORKLOADS = """exec_assert_closed_workload exec_basic_workload exec_proc_exe_workload
exec_state_workload priority_execve""".split()
"""Programs that the tests of execve start."""
ELSEWHERE = re.compile(
    r".*(arm64|_util|_common|_test_cases|_external|_external_networking_test|hostinet)$"
    r"|base_poll_test|socketopt_test|fuse|host_pty|kcov|mmap_eternal|ip6?tables|vsyscall|exec_check_creds|rseq"
)
"""Sources that are no tests, or of another machine or of gVisor's own harness: rseq starts another
program of this name, and here itself, for ever."""
NOT_FOR_ROOT = re.compile(r"cgroup.*|dup|proc|.*netlink.*|tuntap|packet_.*|raw_.*|ping_.*")
"""Programs that change the machine's limits and networks where they may."""
HELPERS = """base_poll_test ip_socket_test_util iptables_util readv_common
socket_bind_to_device_util socket_generic_test_cases socket_netlink_netfilter_util
socket_netlink_route_util socket_netlink_util unix_domain_socket_test_util""".split()
LEFT_OUT = re.compile(r".*_test$|fuchsia_.*|.*_other$|io_uring_util|fuse_util|test_util_runfiles")
MUTEX = """\
#pragma once
#include <gmock/gmock.h>
#include_next <absl/synchronization/mutex.h>
namespace newer {
struct Mutex : absl::Mutex {
  using absl::Mutex::Mutex;
  void lock() { Lock(); }
  void unlock() { Unlock(); }
};
template <class T> struct Taking : T {
  using T::T;
  explicit Taking(absl::Mutex& mutex) : T(&mutex) {}
  template <class... C> Taking(absl::Mutex& mutex, C... c) : T(&mutex, c...) {}
};
}
namespace absl {
using NewMutex = newer::Mutex;
using NewMutexLock = newer::Taking<MutexLock>;
using NewReaderMutexLock = newer::Taking<ReaderMutexLock>;
using NewWriterMutexLock = newer::Taking<WriterMutexLock>;
}
#define Mutex NewMutex
#define MutexLock NewMutexLock
#define ReaderMutexLock NewReaderMutexLock
#define WriterMutexLock NewWriterMutexLock
"""
"""What they use of a newer Abseil than Debian's."""
RUNFILES = """\
#include <string>
namespace gvisor { namespace testing {
std::string RunfilePath(std::string path) {
  return "DIRECTORY/" + path.substr(path.rfind('/') + 1);
}
} }
"""
"""Bazel's way to find a file, without Bazel."""
SKIPPED = {"mount": "MountTest.MaxMounts*"}
"""Thousands of mounts on one another: the kernel takes minutes to tell them, natively too."""
ABSEIL = "absl_flags_parse absl_strings absl_str_format absl_time absl_flat_hash_map absl_cord"
FLAGS = ("-std=c++17", "-O0", "-w", "-Iprograms/include", "-I.", "-D_GNU_SOURCE")
_LINE = re.compile(r"^\[ +(OK|FAILED|SKIPPED) +\] (\S+?)(?:,.*)? \(\d+ ms\)$", re.MULTILINE)
_WORDS = {"OK": "pass", "FAILED": "fail", "SKIPPED": "skip"}
LIMIT = 900.0


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
            include = directory / "include/absl/synchronization"
            include.mkdir(parents=True, exist_ok=True)
            (include / "mutex.h").write_text(MUTEX)
            (directory / "runfiles.cc").write_text(RUNFILES.replace("DIRECTORY", str(directory)))
            for path in (tree.path / "test/util").glob("mount_util.*"):  # Debian's is its own class
                path.write_text(path.read_text().replace("std::string_view", "absl::string_view"))
            names = sorted(p.stem for p in (tree.path / "test/util").glob("*.cc"))
            sources = [f"test/util/{n}.cc" for n in names if not LEFT_OUT.fullmatch(n)]
            sources += [f"{TESTS}/{name}.cc" for name in HELPERS]
            for source in [*sources, "programs/runfiles.cc"]:
                name = source.rpartition("/")[2].removesuffix(".cc")
                words = ["g++", *FLAGS, "-c", source, "-o", f"programs/helper-{name}.o"]
                tree.make(*words, check=False)
            # Some programs have a main of their own.
            tree.make("ar", "rcs", "libmain.a", "helper-test_main.o", cwd="programs")
            (directory / "helper-test_main.o").unlink()

        def programs() -> None:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(self._program, [*WORKLOADS, *_tests(tree)]))

        tree.once("helpers", helpers)
        tree.once("programs", programs)
        if not self.groups(0, subset):
            raise NotRun("none of its programs compiles")

    @staticmethod
    def _program(name: str) -> None:
        """Compile one test program, if it compiles."""
        tree = unpack("gvisor")
        if (tree.path / "programs" / name).exists():
            return
        helpers = sorted(str(p) for p in (tree.path / "programs").glob("helper-*.o"))
        libraries = ["-lgmock", "-lgtest", "-lbenchmark", *_abseil(), "-lpthread", "-lrt", "-lcap"]
        words = ["nice", "-n", "10", "g++", *FLAGS, f"{TESTS}/{name}.cc", "-o", f"programs/{name}"]
        run_build([*words, *helpers, "programs/libmain.a", *libraries], tree.path, check=False)

    def groups(self, user: int, subset: bool) -> list[str]:
        """Programs."""
        tree = unpack("gvisor")
        names = [name for name in _tests(tree) if (tree.path / "programs" / name).exists()]
        return names if user else [name for name in names if not NOT_FOR_ROOT.fullmatch(name)]

    def run(self, run: Run, group: str) -> Statuses:
        """One program."""
        words = [str(unpack("gvisor").path / "programs" / group)]
        words += [f"--gtest_filter=-{SKIPPED[group]}"] if group in SKIPPED else []
        with run.directory(group) as (work, _):
            env = {"TEST_TMPDIR": str(work)}
            outcome = run(words, cwd=work, log=group, limit=LIMIT, env=env)
        found = {test: _WORDS[word] for word, test in _LINE.findall(outcome.output)}
        return {**found, "end": ending(outcome)}


def _tests(tree: Tree) -> list[str]:
    names = sorted(path.stem for path in (tree.path / TESTS).glob("*.cc"))
    return [n for n in names if not ELSEWHERE.fullmatch(n) and n not in WORKLOADS]


@cache
def _abseil() -> list[str]:
    words = ["pkg-config", "--libs", *ABSEIL.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotRun(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.split()
