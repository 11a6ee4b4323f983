"""viewos for Python programs: `with View([Vfs("/mnt", "/tmp/x")]) as view: view.run([...])`.

The modules are live objects of the calling process: its threads answer the calls. Launching and
ptrace are left to a small process beside each program, so that nothing in the caller (a child watcher,
a wait for any child) can take a stop that belongs to a fix-up.
"""

from viewos.library.popen import Popen, View

__all__ = ["Popen", "View"]
