"""viewos completion: what a shell asks when the user presses Tab."""

from __future__ import annotations

import os
import shlex
from importlib import import_module

from viewos.cli.options import HELP, Option, UsageError, describe, parse
from viewos.tuples import NamedTuple

HELP_LINE = "print a script that completes words of viewos in a shell"

OPTIONS = (HELP,)

# Each script asks `viewos completion words WORD...`; the first line of the answer says what the
# shell itself is to add, the others are words.
BASH = """\
_viewos() {
    local kind word current=${COMP_WORDS[COMP_CWORD]}
    [[ $current == [:=] ]] && current=
    COMPREPLY=()
    { read -r kind; while IFS= read -r word; do COMPREPLY+=("$word"); done; } \\
        < <(viewos completion line "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} == 1 && $COMPREPLY == *: ]] && compopt -o nospace
    case $kind in
    files)
        compopt -o filenames
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
        ;;
    directories) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    command) mapfile -t COMPREPLY < <(compgen -c -- "$current" | sort -u) ;;
    esac
}
complete -F _viewos viewos
"""

FISH = """\
function __viewos_complete
    set -l current (commandline -ct)
    set -l words (commandline -opc)
    set -l answer (viewos completion words $words[2..-1] "$current" 2>/dev/null)
    printf '%s\\n' $answer[2..-1]
    switch "$answer[1]"
        case files
            __fish_complete_path "$current"
        case directories
            __fish_complete_directories "$current"
        case command
            complete -C "$current"
    end
end
complete -c viewos -f -a '(__viewos_complete)'
"""

ZSH = """\
_viewos() {
    local -a answer found
    answer=("${(@f)$(viewos completion words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    found=("${(@)answer[2,-1]}")
    if (( $#found )); then
        if [[ $found[1] == *: ]]; then compadd -S '' -- "${(@)found}"; else compadd -- "${(@)found}"; fi
    fi
    case $answer[1] in
    files) _files ;;
    directories) _files -/ ;;
    command) _command_names -e ;;
    esac
}
compdef _viewos viewos
"""  # noqa: E501

SCRIPTS = {"bash": BASH, "fish": FISH, "zsh": ZSH}

USAGE = f"""\
usage: viewos completion bash|fish|zsh

Prints a script that makes the shell complete commands, options, modules and profiles.

{describe(OPTIONS)}

examples:
  viewos completion bash > ~/.viewos.bash     and in ~/.bashrc: source ~/.viewos.bash
  viewos completion zsh > ~/.viewos.zsh       and in ~/.zshrc, behind compinit: source ~/.viewos.zsh
  viewos completion fish > ~/.config/fish/completions/viewos.fish
"""


class Answer(NamedTuple):
    """What can stand where the user is."""

    words: list[str]
    kind: str = "none"
    """What the shell adds: files, directories, command, none."""


def main(argv: list[str]) -> int:
    """Print a script, or the answer to one. Raises UsageError."""
    values, words = parse("viewos completion", argv, OPTIONS)
    if values["help"]:
        print(USAGE, end="")
    elif words[:1] == ["words"]:
        _print(complete(words[1:]))
    elif words[:1] == ["line"] and len(words) == 2:
        _print(complete(_split(words[1])[1:]))
    elif len(words) == 1 and words[0] in SCRIPTS:
        print(SCRIPTS[words[0]], end="")
    else:
        raise UsageError("viewos completion: for which shell? bash, fish or zsh")
    return 0


def _print(answer: Answer) -> None:
    print("\n".join([answer.kind, *answer.words]))


def _split(line: str) -> list[str]:
    """The words of a line of bash, which itself splits at = and : too."""
    for quote in ("", "'", '"'):
        try:
            words = shlex.split(line + quote)
        except ValueError:
            continue
        return [*words, ""] if line[-1:].isspace() and not quote else words
    return []


_TAKE_VIEWS = ("exec", "info", "name", "shell", "stats", "stop", "top", "wait")


def complete(words: list[str]) -> Answer:
    """What can be the last of `words`, which stand behind `viewos`."""
    from viewos.cli.main import COMMANDS

    current = words[-1] if words else ""
    if len(words) < 2:
        return _those([*COMMANDS, "--help", "--version"], current)
    if words[0] not in COMMANDS:
        return Answer([])
    options: tuple[Option, ...] = import_module(f"viewos.cli.{words[0]}").OPTIONS
    by_name = {name: option for option in options for name in option.names}
    rest, ended = words[1:-1], False
    while rest and rest[0].startswith("-") and rest[0] != "-" and not ended:
        word = rest.pop(0)
        ended = word == "--"
        option = by_name.get(word)
        if option is not None and option.argument is not None:
            if not rest:
                return _value(option, current)
            rest.pop(0)
    if not rest and not ended and current.startswith("-"):
        return _those(sorted(by_name), current)
    return _operand(words[0], rest, current)


def _value(option: Option, current: str) -> Answer:
    if option.choices:
        return _those(option.choices, current)
    if option.field == "chdir":
        return Answer([], "directories")
    if option.field == "modules":
        return Answer(_modules(current, ":"), "files")
    if option.field == "view":
        return _those(_views(), current)
    if option.field == "profiles":
        return Answer(_profiles(current), "files")
    return Answer([], "files" if option.argument and "FILE" in option.argument else "none")


def _operand(command: str, before: list[str], current: str) -> Answer:
    if command in ("run", "trace", "fakeroot"):
        return Answer([], "files" if before else "command")
    if command == "modules":
        return Answer(_modules(current, ""))
    if command in _TAKE_VIEWS and not before:
        return _those(_views(), current)
    if command in ("exec", "mount", "umount"):
        return Answer([], "command" if command == "exec" and len(before) == 1 else "files")
    if command == "module" and before == ["add"]:
        return Answer(_modules(current, ":"), "files")
    first = {"profile": ["check"], "net": ["import", "publish"], "completion": list(SCRIPTS)}
    first["module"] = ["add", "ls", "move", "rm"]
    if not before:
        return _those(first.get(command, ()), current)
    if before == ["import"]:
        return Answer([], "files")
    if command == "profile":
        return Answer(_profiles(current), "files")
    return Answer([])


def _those(words: list[str] | tuple[str, ...], current: str) -> Answer:
    return Answer([word for word in words if word.startswith(current)])


def _modules(current: str, behind: str) -> list[str]:
    from viewos.loader import available

    return [one.name + behind for one in available() if one.name.startswith(current)]


def _views() -> list[str]:
    """The names of views that run, and the ids of those that have none."""
    from viewos.control.client import views
    from viewos.errors import ViewosError

    try:
        return [
            str(one.about["name"] or one.about["id"]) for one in views(tell=lambda silent: None)
        ]
    except ViewosError:
        return []


def _profiles(current: str) -> list[str]:
    from viewos.cli.profiles import file_of

    try:
        files = os.listdir(os.path.dirname(file_of("x")))
    except OSError:
        return []
    names = sorted(file[:-5] for file in files if file.endswith(".toml"))
    return [name for name in names if name.startswith(current)]
