"""In a terminal nobody can tell that a monitor is there.

Each scenario is typed into a shell in a real terminal, natively and with its programs in a view,
in both layouts. What the screen shows must be the same, prompts with the last status included.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from functools import cache

import pytest

from . import users
from .launching import Way
from .terminal import PROMPT, Terminal, control, shell_in_terminal, without_numbers

pytestmark = pytest.mark.timeout(60)

# Each shell in each layout, each layout as each user.
PAIRS = [
    ("bash", Way("direct", 0)), ("bash", Way("ancestor", users.NOBODY)),
    ("dash", Way("direct", users.NOBODY)), ("dash", Way("ancestor", 0)),
]  # fmt: skip

Scenario = Callable[[Terminal], None]
SCENARIOS: dict[str, Scenario] = {}
# Runs until somebody writes to the FIFO `go`, and ends with the status that he writes.
HELD = "sh -c 'exec 3<>go; echo ready; read status <&3; exit $status'"
SLEEP = "sh -c 'echo ready; exec sleep 100'"
HELD_QUIETLY = HELD.replace("echo ready", "echo >ready")
SLEEP_QUIETLY = SLEEP.replace("echo ready", "echo >ready")
REPORTER = r"""
import os, signal, sys
wanted = [getattr(signal, "SIG" + name) for name in sys.argv[1:]]
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print("ready")
number = 0
while number != wanted[-1]:
    number = signal.sigwait(wanted)
    print(number.name, *os.get_terminal_size() if number == signal.SIGWINCH else "")
"""


def scenario(play: Scenario) -> Scenario:
    """Play this in every shell, in every way."""
    SCENARIOS[play.__name__] = play
    return play


def reporter(terminal: Terminal, *signals: str) -> str:
    """A command that says which of these signals it gets; the last one ends it."""
    (terminal.ground / "reporter.py").write_text(REPORTER)
    return f"$V $PYTHON reporter.py {' '.join(signals)}"


def trapping(action: str, name: str = "INT") -> str:
    """A command that waits for a child that this signal kills, and then does this."""
    return f'sh -c \'trap "{action}" {name}; sh -c "echo ready; exec sleep 100"\''


def echo(terminal: Terminal, line: str, word: str = "hello") -> None:
    """Start a command that copies what is typed; see that it does."""
    terminal.type(f"{line}\r{word}\r")
    terminal.expect(f"{word}\r\n{word}\r\n")


def let_go(terminal: Terminal, status: int = 0) -> None:
    """Let `HELD` end."""
    fifo = os.open(terminal.ground / "go", os.O_RDWR)  # which waits for nobody
    os.write(fifo, f"{status}\n".encode())
    terminal.until(lambda: not select.select([fifo], [], [], 0)[0])
    os.close(fifo)


def hold(terminal: Terminal) -> None:
    """Make what `HELD` needs."""
    os.mkfifo(terminal.ground / "go")
    (terminal.ground / "go").chmod(0o666)


def view_of(way: Way) -> tuple[str, ...]:
    """The modules of the view."""
    return () if way.layout is None else ("vfs:/=/",)


@cache
def play(name: str, shell: str, way: Way) -> str:
    """What the screen showed in the end."""
    with shell_in_terminal(shell, way, *view_of(way)) as terminal:
        SCENARIOS[name](terminal)
        terminal.exit()
    return without_numbers(terminal.shown)


# ---- status ---------------------------------------------------------------------------------


@scenario
def statuses(t: Terminal) -> None:
    assert t.run("$V true") == 0
    assert t.run("$V sh -c 'exit 3'") == 3
    for name in ("TERM", "KILL", "SEGV", "PIPE", "INT"):
        number = getattr(signal, f"SIG{name}")
        assert t.run(f"$V sh -c 'kill -{name} $$'") == 128 + number
    assert t.run("! $V false && echo yes || echo no") == 0


@scenario
def status_of_the_parts_of_a_list(t: Terminal) -> None:
    t.run("$V false || $V echo or; $V true && $V echo and")
    t.run("echo word | $V cat | cat; ($V sh -c 'exit 4'); echo $?")
    t.run("x=$($V echo captured); echo $x; $V cat <<end\rhere\rend")
    t.run("if $V sh -c 'exit 1'; then echo then; else echo else; fi")


# ---- keys -----------------------------------------------------------------------------------


@scenario
def ctrl_c(t: Terminal) -> None:
    echo(t, "$V cat")
    assert t.press("C") == 130
    t.start(f"$V {SLEEP}; echo after")
    t.press("C")


@scenario
def ctrl_c_at_a_pipeline(t: Terminal) -> None:
    for line in ("$V cat | cat", "cat | $V cat", "$V cat | $V cat", "$V sh -c 'cat | cat'"):
        echo(t, line)
        assert t.press("C") == 130


@scenario
def ctrl_c_in_a_loop_of_the_shell(t: Terminal) -> None:
    t.start(f"for i in 1 2 3; do $V {SLEEP}; done")
    assert t.press("C") == 130
    t.start(f"while :; do $V {trapping('exit 0')}; break; done")
    t.press("C")


@scenario
def ctrl_c_is_handled(t: Terminal) -> None:
    t.start(f"$V {trapping('echo caught; exit 5')}; echo after $?")
    t.press("C")
    t.start("$V sh -c 'trap \"\" INT; echo ready; read word; echo $word'")
    t.type(control("C"))
    t.type("word\r")
    assert t.prompt() == 0
    t.start(reporter(t, "INT", "QUIT"))
    for _ in range(3):
        t.type(control("C"))
        t.expect("SIGINT *\r\n")
    t.press("\\")


@scenario
def ctrl_c_with_a_trap_of_the_shell(t: Terminal) -> None:
    t.run("trap 'echo outer' INT")
    t.start(f"$V {SLEEP}")
    t.press("C")
    t.start(f"$V {trapping(':')}")
    t.press("C")
    t.run("trap '' INT")
    t.start("$V sh -c 'echo ready; read word; echo $word'")
    t.type(control("C"))
    t.type("word\r")
    t.prompt()


@scenario
def ctrl_backslash(t: Terminal) -> None:
    t.start(f"$V {SLEEP}")
    assert t.press("\\") == 131
    echo(t, "$V cat | cat")
    assert t.press("\\") == 131


@scenario
def ctrl_d(t: Terminal) -> None:
    echo(t, "$V cat")
    assert t.press("D") == 0
    t.type("$V sh -c 'read one; read two || echo end'\rhello\r")
    t.expect(r"hello\r\n")
    assert t.press("D") == 0


@scenario
def ctrl_z_and_fg(t: Terminal) -> None:
    for line in ("$V cat", "$V cat | cat", "cat | $V cat", "$V sh -c 'cat | cat; exit 3'"):
        echo(t, line)
        assert t.press("Z") > 128
        t.until_every("cat", "T")
        t.run("jobs")
        t.foreground()
        t.type("again\r")
        t.expect(r"again\r\nagain\r\n")
        assert t.press("Z") > 128
        t.until_every("cat", "T")
        t.foreground("fg %1")
        t.type("once more\r")
        t.expect(r"once more\r\nonce more\r\n")
        assert t.press("D") == (3 if "exit" in line else 0)
        t.run("jobs")


@scenario
def ctrl_z_bg_and_wait(t: Terminal) -> None:
    hold(t)
    t.start(f"$V {HELD}")
    t.press("Z")
    t.run("bg")
    t.run("jobs")
    let_go(t, 4)
    assert t.run("wait %1") == 4
    t.run("jobs")


@scenario
def ctrl_z_bg_fg_ctrl_c(t: Terminal) -> None:
    t.start(f"$V {SLEEP}")
    t.press("Z")
    t.run("bg %1")
    t.foreground()
    assert t.press("C") == 130


@scenario
def ctrl_z_is_handled(t: Terminal) -> None:
    t.start(reporter(t, "TSTP", "CONT", "QUIT"))
    t.type(control("Z"))
    t.expect(r"SIGTSTP *\r\n")
    t.press("\\")
    t.start("$V sh -c 'trap \"\" TSTP; echo ready; read word; echo $word'")
    t.type(control("Z"))
    t.type("word\r")
    assert t.prompt() == 0


@scenario
def size_of_the_window(t: Terminal) -> None:
    t.run("$V stty size")
    t.start(reporter(t, "WINCH", "QUIT"))
    for size in ((25, 81), (26, 82), (50, 132)):
        t.resize(*size)
        t.expect(r"SIGWINCH \d+ \d+\r\n")
    t.press("\\")
    t.run("$V stty size")


# ---- background -----------------------------------------------------------------------------


@scenario
def background_and_fg(t: Terminal) -> None:
    hold(t)
    t.background(f"$V {HELD_QUIETLY} &")
    t.run("jobs")
    t.foreground()
    let_go(t, 6)
    assert t.prompt() == 6
    t.background(f"$V {HELD_QUIETLY} &")
    let_go(t, 7)
    assert t.run("wait $!") == 7


@scenario
def reading_in_the_background(t: Terminal) -> None:
    t.run("$V cat & stopped")
    t.run("jobs")
    t.foreground()
    t.type("hello\r")
    t.expect(r"hello\r\nhello\r\n")
    assert t.press("D") == 0


@scenario
def writing_in_the_background(t: Terminal) -> None:
    t.run("stty tostop")
    t.run("$V sh -c 'echo written; exit 5' & stopped")
    t.run("jobs")
    assert t.run("fg") == 5
    t.run("stty -tostop")


@scenario
def kill_a_job(t: Terminal) -> None:
    for name in ("TERM", "HUP"):
        t.background(f"$V {SLEEP_QUIETLY} &")
        t.run(f"kill -{name} %1; wait %1 2>/dev/null")
        t.run(":")
    for name in ("USR1", "KILL"):
        t.background(f"$V {SLEEP_QUIETLY} &")
        t.run(f"kill -{name} $!; wait $! 2>/dev/null")
        t.run(":")


@scenario
def stop_and_continue_a_job(t: Terminal) -> None:
    hold(t)
    for name, whom in (("STOP", "%1"), ("TSTP", "%1"), ("TSTP", "$!"), ("TTIN", "$!")):
        t.background(f"$V {HELD_QUIETLY} &")
        t.run(f"kill -{name} {whom}; stopped")
        t.run("jobs")
        t.run(f"kill -CONT {whom}; running")
        t.run("jobs")
        let_go(t, 8)
        t.run("bg 2>/dev/null; wait $!")


@scenario
def a_program_that_stops_itself(t: Terminal) -> None:
    hold(t)
    for command in ("kill -STOP $$", "kill -TSTP $$", "kill -TSTP 0", "kill -TTOU $$"):
        assert t.run(f"$V sh -c '{command}; echo on; exit 2'") > 128
        t.run("jobs")
        assert t.run("fg") == 2
        t.run(f"$V sh -c '{command}; exec 3<>go; read status <&3; exit $status' & stopped")
        t.run("bg")
        let_go(t, 9)
        t.run("wait %1")


@scenario
def two_jobs(t: Terminal) -> None:
    echo(t, "$V cat", "one")
    t.press("Z")
    echo(t, "$V cat", "two")
    t.press("Z")
    t.run("jobs")
    t.foreground("fg %1")
    t.type("one again\r")
    t.expect(r"one again\r\none again\r\n")
    t.press("D")
    t.foreground()
    t.type("two again\r")
    t.expect(r"two again\r\ntwo again\r\n")
    t.press("C")


# ---- shells in the view ---------------------------------------------------------------------


def inner_shell(t: Terminal, words: str) -> None:
    assert t.run("PS1='ready:$?> '; export PS1") == 0
    t.run(f"$V {words}")
    echo(t, "cat")
    t.press("Z")
    t.run("jobs")
    t.foreground()
    t.type("again\r")
    t.expect(r"again\r\nagain\r\n")
    assert t.press("C") == 130
    t.run("sleep 100 &")
    t.run("kill -KILL %1; wait %1 2>/dev/null")
    t.run("echo $?")


@scenario
def bash_in_the_view(t: Terminal) -> None:
    inner_shell(t, "bash --noprofile --norc --noediting -i")
    assert t.run("suspend") > 128
    t.run("echo outer; jobs")
    t.run("fg")
    t.run("echo inner")
    assert t.run("exit 3") == 3
    t.run("jobs")


@scenario
def dash_in_the_view(t: Terminal) -> None:
    inner_shell(t, "dash -i")
    assert t.run("kill -STOP $$") > 128
    t.run("echo outer; jobs")
    t.run("fg")
    t.run("echo inner")
    assert t.run("exit 3") == 3
    t.run("jobs")


# ---- the terminal itself --------------------------------------------------------------------


@scenario
def settings_of_the_terminal(t: Terminal) -> None:
    t.run("$V stty -a")
    t.run("$V tty >/dev/null; $V sh -c 'stty size </dev/tty'; $V test -t 0; $V test -t 1")
    t.run("$V sh -c 'stty -echo; kill -KILL $$'")
    t.run("stty -a; stty echo")
    t.run("$V sh -c 'stty -icanon min 3; kill -TERM $$'")
    t.run("stty -a; stty sane -echoctl")
    t.type("$V sh -c 'stty -echo; printf password:; read word; stty echo; echo $word'\r")
    t.expect("\r\npassword:")
    t.type("secret\r")
    t.prompt()


@scenario
def dev_tty(t: Terminal) -> None:
    t.type("echo x | $V sh -c 'cat; echo ready >/dev/tty; read word </dev/tty; echo $word'\r")
    t.expect("x\r\nready\r\n")
    t.type("typed\r")
    t.prompt()
    t.run("$V sh -c 'exec 7>/dev/tty; echo seven >&7' >/dev/null 2>&1 </dev/null")


@scenario
def setsid_and_nohup(t: Terminal) -> None:
    t.run("$V setsid -w sh -c 'echo x 2>&1 >/dev/tty; exit 3'")
    t.run("setsid -w $V sh -c 'tty; exit 4' </dev/null")
    t.run("$V nohup sh -c 'kill -HUP $$; echo alive' 2>/dev/null; cat nohup.out")
    t.run("nohup $V sh -c 'kill -HUP $$; echo alive' 2>/dev/null; cat nohup.out")


# ---- the shell's own ------------------------------------------------------------------------


@scenario
def job_control_in_a_script(t: Terminal) -> None:
    script = """\
set -m
$V sh -c 'kill -STOP $$; echo on; exit 5' &
wait $!; echo $?
fg %1; echo $?
$V sh -c 'exit 6'; echo $?
$V sleep 100 & kill $!; wait $!; echo $?
"""
    (t.ground / "script").write_text(script)
    t.run("export V; sh ./script 2>/dev/null")  # where what sh says of jobs comes early or late


@scenario
def a_script_in_the_terminal(t: Terminal) -> None:
    (t.ground / "script").write_text(f"trap 'echo script' INT\n$V {SLEEP}\necho $?\n")
    t.run("export V")
    t.start("sh ./script")
    t.press("C")
    t.start(f"(trap 'echo sub' INT; $V {SLEEP}; echo $?)")
    t.press("C")
    t.start(f"sh -c '(exec $V {SLEEP.replace(chr(39), chr(34))}); echo $?'")
    t.press("C")


@scenario
def wait_is_interrupted(t: Terminal) -> None:
    t.start(f"$V {SLEEP} & wait", "ready\r\n")
    t.until_shell_waits()  # bash ends the next wait, too, where it is told between the two
    t.press("C")
    t.run("jobs")
    t.run("kill %1; wait %1 2>/dev/null")


# ---- programs that take the whole screen ------------------------------------------------------


@scenario
def a_pager(t: Terminal) -> None:
    (t.ground / "text").write_text("".join(f"line {n}\n" for n in range(200)))
    t.type("$V less text\r")
    t.expect("line 22\r\n(?s:.)*text")
    t.type(" ")
    t.expect("line 45\r\n(?s:.)*:")
    t.press("Z")
    t.foreground()
    t.expect("line 45\r\n(?s:.)*:")
    t.type("q")
    assert t.prompt() == 0
    t.type("seq 100 | $V more\r")
    t.expect("23\r\n.*--More--")
    t.type("q")
    assert t.prompt() == 0


@scenario
def an_editor(t: Terminal) -> None:
    t.type("$V vi -u NONE -i NONE -n text\r")
    t.expect("text.*New")
    t.type("ihello\x1b")
    t.type(":w\r")
    t.expect("written")
    t.press("Z")
    t.run("cat text")
    t.foreground()
    t.expect("hello")
    t.type(":r text\r:wq\r")
    assert t.prompt() == 0
    t.run("cat text")


@scenario
def a_terminal_in_the_terminal(t: Terminal) -> None:
    t.run("$V script -qc 'echo inside; exit 3' -e log")
    t.type("$V script -qec 'echo ready; exec cat' log\r")
    t.expect("ready\r\n")
    t.type("hello\r")
    t.expect(r"hello\r\nhello\r\n")
    t.press("C")


# ---- in the end -----------------------------------------------------------------------------


@pytest.mark.parametrize(("shell", "way"), PAIRS, ids=str)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario(name: str, shell: str, way: Way) -> None:
    native = play(name, shell, way.native)
    assert play(name, shell, way) == native
    assert len(PROMPT.findall(native)) > 2


@pytest.mark.parametrize(("shell", "way"), PAIRS, ids=str)
def test_the_terminal_hangs_up(shell: str, way: Way) -> None:
    """The program is told; nothing stays (or else leaving the block fails)."""

    def hang_up(how: Way) -> int:
        with shell_in_terminal(shell, how, *view_of(how)) as t:
            # A program that reads from the terminal sees its end, and may be faster.
            t.start(f"$V {trapping('echo told >told; exit', 'HUP')}")
            status = t.hang_up()
            t.until((t.ground / "told").exists)
            return status

    assert hang_up(way) == hang_up(way.native)


@pytest.mark.parametrize(("shell", "way"), PAIRS, ids=str)
def test_the_terminal_hangs_up_on_a_stopped_job(shell: str, way: Way) -> None:
    def hang_up(how: Way) -> int:
        with shell_in_terminal(shell, how, *view_of(how)) as t:
            echo(t, "$V cat | cat")
            t.press("Z")
            return t.hang_up()

    assert hang_up(way) == hang_up(way.native)


@pytest.mark.parametrize(("shell", "way"), PAIRS, ids=str)
def test_the_program_in_place_of_the_shell(shell: str, way: Way) -> None:
    """Then it leads the session, or who waits for it does."""

    def replace(how: Way, keys: str | bytes | None) -> object:
        with shell_in_terminal(shell, how, *view_of(how)) as t:
            echo(t, "exec $V sh -c 'cat; exit 3'")
            if keys is None:
                return t.hang_up()
            t.end(keys, 3 if keys == control("D") else -signal.SIGINT)
            return without_numbers(t.shown)

    for keys in (control("D"), control("C")):
        assert replace(way, keys) == replace(way.native, keys)
    # A hang-up reaches the session's leader alone. In the ancestor layout that is not the program,
    # which may have read the end of its terminal before the signal is handed on to it.
    ends = {replace(way.native, None)} | ({3} if way.layout == "ancestor" else set())
    assert replace(way, None) in ends
