"""viewos for Python programs: `with View([Vfs("/mnt", "/tmp/x")]) as view: view.run([...])`.

The modules are live objects of the calling process: its threads answer the calls. Launching and
ptrace are left to a small process beside each program, so that nothing in the caller (a child
watcher, a wait for any child) can take a stop that belongs to a fix-up.

view, popen   what the caller uses, as of `subprocess`
process       the same for async programs, on anyio
served        the monitor of one program, in threads of the caller
child         the process that becomes the program, and the helper beside it
"""
