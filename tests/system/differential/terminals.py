"""Programs on a terminal of their own."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .case import Case, Table

PTY = r"""
import os, pty, select, signal, sys
steps = [step.split("=>") for step in sys.argv[2].split("|")]
seen, done = os.pipe()
pid, fd = pty.fork()
if pid == 0:
    # When the leader of the session ends, the kernel drops what nobody has read yet.
    os.close(done)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0); os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL); os.close(seen)
        os.environ["PS1"] = "> "
        os.execvp("sh", ["sh", "-c", sys.argv[1]])
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.write(1, b"\0"); os.read(seen, 1); os._exit(status & 255)
os.close(seen)
out, at = b"", 0
def until(text):
    global out, at
    while text.encode() not in out[at:]:
        try: chunk = os.read(fd, 1000)
        except OSError: break
        if not chunk: break
        out += chunk
    at = out.find(text.encode(), at) + len(text)
for wait, send in steps:
    until(wait); os.write(fd, send.encode().decode("unicode_escape").encode())
until("\0"); os.close(done)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(out.decode().replace("\0", ""), status)
"""


def terminal(command: str, *steps: str) -> Case:
    """A command on a terminal; a step "text=>keys" waits for a text, then types keys."""
    script = f"python3 -IS pty.py '{command}' '{'|'.join(step.strip() for step in steps)}'"
    return Case(script, given=f"cat >pty.py <<'E'\n{PTY}\nE")


TABLE: Table = {
    "script": r"""
        script -qec 'tty >/dev/null && echo a terminal; stty -a | grep -c echo; ls -C /mnt' log </dev/null | tr -d '\r'
        script -qc 'exit 3' -e log2 </dev/null; echo $?; grep -c terminal log; rm log log2
        script -qec 'test -t 0 && test -t 1 && echo both; echo x >/dev/tty; cat /dev/tty >/dev/null & kill $!; ls -l /proc/self/fd/0 | grep -c /dev/pts' /dev/null </dev/null | tr -d '\r'
        script -q -c 'cat missing' missing/log </dev/null; echo $?
    """,
    "keys": terminal("cat; echo $?", "=>line one\\nline two\\n", "line two\r\nline=>\\x04"),
    "Ctrl-C": terminal('trap "echo caught" INT; cat; echo $?', "=>x\\n", "x\r\nx=>\\x03"),
    "Ctrl-backslash": terminal('trap "" QUIT; echo up; read x; echo $x', "up=>\\x1cword\\n"),
    **{
        f"Ctrl-Z in {shell.split()[0]}": terminal(
            shell,
            '> =>sh -c "echo up; exec cat"\\n',
            "up\r\n=>\\x1a",
            "> =>jobs\\n",
            "> =>fg\\n",
            'cat"\r\n=>x\\n\\x04',
            "> =>exit 5\\n",
        )
        for shell in ("dash -i", "bash --norc --noediting -i")
    },
    "terminal size": terminal(
        """
        stty rows 33 cols 101; stty size; tput -T xterm cols 2>/dev/null; resize 2>/dev/null
        echo ok; read x
    """,
        r"""
        ok=>\n
    """,
    ),
    "less and more": terminal(
        """
        seq 100 >f; TERM=xterm less -E f >/dev/null </dev/null; more f </dev/null | tail -1; rm f
        echo end; read x
    """,
        r"""
        end=>\n
    """,
    ),
}
