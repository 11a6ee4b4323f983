"""The grammar of `-m net:...`: each item begins with a verb."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from viewos import absolute
from viewos.modules.net.dns import spellings
from viewos.modules.net.faults import Fault, parse_delay, parse_failure
from viewos.modules.net.handshake import Credentials
from viewos.modules.net.listening import BindRule
from viewos.modules.net.names import FAKE4, FAKE6
from viewos.modules.net.patterns import (
    ANYTHING,
    TCP,
    Pattern,
    parse_address,
    parse_pattern,
    parse_port,
)
from viewos.modules.net.proxy import parse_chain
from viewos.modules.net.rules import ALLOW, DENY, MAP, PROXY, Rule, Rules

if TYPE_CHECKING:
    from viewos import Item, Items, SpecError


@dataclass
class Settings:
    """What the items say."""

    rules: list[Rule] = field(default_factory=list)
    log: str | None = None
    hosts: str | None = None
    names: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    private: bool = False
    """The loopback interface is the view's own."""
    alone: bool = False
    """Nothing leads out of the view."""
    faults: list[Fault] = field(default_factory=list)
    unix: dict[bytes, bytes] = field(default_factory=dict)
    binds: list[BindRule] = field(default_factory=list)
    who: Credentials | None = None
    seconds: float = 30.0
    """What a connection through proxies may take."""
    relay: bool = False
    """What goes through proxies crosses the monitor."""
    fake4: Pattern = FAKE4
    fake6: Pattern = FAKE6

    @property
    def fakes(self) -> bool:
        """Does a proxy resolve names?"""
        return any(rule.chain and rule.chain[-1].resolves for rule in self.rules)

    @property
    def dns(self) -> bool:
        """Are questions of DNS answered here?"""
        return self.fakes or bool(self.names)


class Verb(NamedTuple):
    """What one verb means. `read` gets the words behind the first `=` (of VERB@ADDRESS=... those
    behind the @), and the item's text; it raises ValueError with what is wrong."""

    read: Callable[[Settings, str, str], None]
    example: str


def _allow(settings: Settings, value: str, text: str) -> None:
    settings.rules.append(Rule(ALLOW, parse_pattern(value), text))


def _deny(settings: Settings, value: str, text: str) -> None:
    settings.rules.append(Rule(DENY, parse_pattern(value), text))


def _map(settings: Settings, value: str, text: str) -> None:
    of, equals, to = value.partition("=")
    if not equals:
        raise ValueError("expected map=ADDRESS=ADDRESS")
    pattern, target = parse_pattern(of), parse_address(to)
    if pattern.size == 4 and len(target.host) == 16:
        raise ValueError("an IPv4 socket cannot connect to an IPv6 address")
    if pattern.protocol is None:
        pattern = pattern._replace(protocol=TCP)
    settings.rules.append(Rule(MAP, pattern, text, target))


def _log(settings: Settings, value: str, text: str) -> None:
    if not value:
        raise ValueError("expected log=FILE")
    settings.log = os.fsdecode(absolute(os.fsencode(value)))


def _proxy(settings: Settings, value: str, text: str) -> None:
    chain = parse_chain(value)
    if chain:
        rule = Rule(PROXY, ANYTHING, text, chain=chain, error=errno.EPERM, spares_loopback=True)
        settings.rules.append(rule)
    else:
        settings.rules.append(Rule(ALLOW, ANYTHING, text))


def _proxy_at(settings: Settings, value: str, text: str) -> None:
    of, _, to = value.partition("=")
    pattern, chain = parse_pattern(of), parse_chain(to)
    if chain and pattern.protocol not in (None, TCP):
        raise ValueError("proxies know TCP only")
    verb = PROXY if chain else ALLOW
    settings.rules.append(Rule(verb, pattern, text, chain=chain, error=errno.EPERM))


def _proxy_auth(settings: Settings, value: str, text: str) -> None:
    kind, _, where = value.partition(":")
    try:
        if kind == "env":
            secret = os.environb[os.fsencode(where)]
        elif kind == "file":
            with open(absolute(os.fsencode(where)), "rb") as file:
                secret = file.readline()
        elif kind == "fd" and where.isdigit():
            if fcntl.fcntl(int(where), fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # a monitor's own
            with open(int(where), "rb", buffering=0) as file:
                secret = file.readline()
        else:
            raise ValueError("expected proxy-auth=env:VARIABLE, file:PATH or fd:NUMBER")
    except KeyError:
        raise ValueError(f"the environment has no {where}") from None
    except OSError as error:
        raise ValueError(f"{where}: {error.strerror}") from None
    user, colon, password = secret.rstrip(b"\r\n").partition(b":")
    if not colon or not user or max(len(user), len(password)) > 255:
        raise ValueError(f"{value} does not hold USER:PASSWORD, each of at most 255 bytes")
    settings.who = Credentials(user, password)


def _proxy_timeout(settings: Settings, value: str, text: str) -> None:
    try:
        settings.seconds = float(value)
    except ValueError:
        settings.seconds = 0.0
    if not 0 < settings.seconds < 1e6:
        raise ValueError("expected proxy-timeout=SECONDS")


def _none(settings: Settings, value: str, text: str) -> None:
    if value:
        raise ValueError("expected none, with nothing behind it")
    settings.private = settings.alone = True
    rule = Rule(DENY, ANYTHING, text, error=errno.ENETUNREACH, spares_loopback=True)
    settings.rules.append(rule)


def _ports_private(settings: Settings, value: str, text: str) -> None:
    if value != "private":
        raise ValueError("expected ports=private")
    settings.private = True


def _unix(settings: Settings, value: str, text: str) -> None:
    of, _, to = value.partition("=")
    if not of.startswith("/") or not to:
        raise ValueError("expected unix=/PATH=/PATH")
    real = absolute(os.fsencode(to))
    if len(real) > 107:
        raise ValueError(f"{to}: a name of a socket has at most 107 bytes")
    settings.unix[os.fsencode(os.path.normpath(of))] = real


def _bind(settings: Settings, value: str, text: str) -> None:
    of, equals, to = value.partition("=")
    if not equals:
        raise ValueError("expected bind=PORT=PORT, or bind=HOST:PORT=HOST:PORT")
    if of.isdigit() and to.isdigit():
        port = parse_port(of)
        pattern = ANYTHING._replace(first=port, last=port)
        settings.binds.append(BindRule(pattern, None, parse_port(to)))
        return
    pattern, target = parse_pattern(of), parse_address(to)
    if pattern.protocol is not None or pattern.first != pattern.last or not target.port:
        raise ValueError("expected bind=PORT=PORT, or bind=HOST:PORT=HOST:PORT")
    settings.binds.append(BindRule(pattern, target.host, target.port))


def _fail(settings: Settings, value: str, text: str) -> None:
    settings.faults.append(parse_failure(value))


def _delay(settings: Settings, value: str, text: str) -> None:
    settings.faults.append(parse_delay(value))


def _name(settings: Settings, value: str, text: str) -> None:
    name, equals, host = value.partition("=")
    if not equals or not name:
        raise ValueError("expected name=NAME=ADDRESS")
    address = parse_address(host)
    if address.port:
        raise ValueError("a name has no port: use map=ADDRESS:PORT=ADDRESS:PORT")
    spellings(name)
    key = name.lower().rstrip(".")
    settings.names[key] = (*settings.names.get(key, ()), address.host)


def _hosts(settings: Settings, value: str, text: str) -> None:
    if not value:
        raise ValueError("expected hosts=FILE")
    settings.hosts = os.fsdecode(absolute(os.fsencode(value)))


def _fake(settings: Settings, value: str, text: str) -> None:
    pattern = parse_pattern(value)
    if not pattern.size or (pattern.first, pattern.protocol) != (0, None):
        raise ValueError("expected fake=NETWORK/BITS")
    if pattern.size == 4:
        settings.fake4 = pattern
    else:
        settings.fake6 = pattern


def _proxy_mode(settings: Settings, value: str, text: str) -> None:
    if value != "relay":
        raise ValueError("expected proxy-mode=relay")
    settings.relay = True


VERBS = {
    "allow": Verb(_allow, "allow=127.0.0.0/8"),
    "deny": Verb(_deny, "deny=any"),
    "map": Verb(_map, "map=10.0.0.0/8:5432=127.0.0.1:15432"),
    "none": Verb(_none, "none"),
    "ports": Verb(_ports_private, "ports=private"),
    "unix": Verb(_unix, "unix=/run/a.sock=/tmp/b.sock"),
    "bind": Verb(_bind, "bind=80=8080"),
    "proxy": Verb(_proxy, "proxy=socks5h://127.0.0.1:1080"),
    "proxy@": Verb(_proxy_at, "proxy@10.0.0.0/8=direct"),
    "proxy-auth": Verb(_proxy_auth, "proxy-auth=env:VARIABLE"),
    "proxy-mode": Verb(_proxy_mode, "proxy-mode=relay"),
    "proxy-timeout": Verb(_proxy_timeout, "proxy-timeout=30"),
    "name": Verb(_name, "name=example.test=127.0.0.1"),
    "hosts": Verb(_hosts, "hosts=FILE"),
    "fake": Verb(_fake, "fake=198.18.0.0/15"),
    "fail": Verb(_fail, "fail=connect:ECONNREFUSED:0.1"),
    "delay": Verb(_delay, "delay=connect:50ms"),
    "log": Verb(_log, "log=net.log"),
}


def _without_password(item: Item) -> Item:
    """An item that can be shown: a password that somebody wrote there is none of the log's."""
    return item._replace(text=re.sub(r"://.*@", "://...@", item.text))


def read_items(items: Items) -> Settings:
    """The settings. Raises SpecError that names the word, its place, and shows a right one."""
    settings = Settings()
    listed = ", ".join(verb for verb in VERBS if not verb.endswith("@"))
    if not items:
        raise items.error(None, f"expected one of {listed}")
    for place, item in enumerate(items, 1):
        word = item.value if item.key is None else item.key
        value = item.value if item.key is not None else ""
        before, at, pattern = word.partition("@")
        if at:
            word, value = before + at, f"{pattern}={value}"
        verb = VERBS.get(word)

        def wrong(why: str, place: int = place, item: Item = item) -> SpecError:
            return items.error(_without_password(item), f"item {place}: {why}")

        if verb is None:
            raise wrong(f"there is no verb {word!r}, there are {listed}")
        try:
            verb.read(settings, value, item.text)
        except ValueError as error:
            items.example = f"net:{verb.example}"
            raise wrong(str(error)) from None
    never = Rules(settings.rules).unreached()
    if never is not None:
        late, early = never
        raise items.error(
            None, f"{late.text!r} never counts, because {early.text!r} stands before it"
        )
    return settings
