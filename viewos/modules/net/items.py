"""The grammar of `-m net:...`: each item begins with a verb."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from viewos.modules.net.patterns import TCP, parse_address, parse_pattern
from viewos.modules.net.rules import ALLOW, DENY, MAP, Rule, Rules

if TYPE_CHECKING:
    from viewos import Items, SpecError


@dataclass
class Settings:
    """What the items say."""

    rules: list[Rule] = field(default_factory=list)
    log: str | None = None


class Verb(NamedTuple):
    """What one verb means. `read` gets the words behind the first `=`, and the item's text; it
    raises ValueError with what is wrong."""

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
    settings.log = os.path.abspath(value)


VERBS = {
    "allow": Verb(_allow, "allow=127.0.0.0/8"),
    "deny": Verb(_deny, "deny=any"),
    "map": Verb(_map, "map=10.0.0.0/8:5432=127.0.0.1:15432"),
    "log": Verb(_log, "log=net.log"),
}


def read_items(items: Items) -> Settings:
    """The settings. Raises SpecError that names the word, its place, and shows a right one."""
    settings = Settings()
    if not items:
        raise items.error(None, f"expected one of {', '.join(VERBS)}")
    for place, item in enumerate(items, 1):
        word = item.value if item.key is None else item.key
        verb = VERBS.get(word)

        def wrong(why: str, place: int = place, item: object = item) -> SpecError:
            return items.error(item, f"item {place}: {why}")  # type: ignore[arg-type]

        if verb is None:
            raise wrong(f"there is no verb {word!r}, there are {', '.join(VERBS)}")
        try:
            verb.read(settings, item.value if item.key is not None else "", item.text)
        except ValueError as error:
            items.example = f"net:{verb.example}"
            raise wrong(str(error)) from None
    never = Rules(settings.rules).unreached()
    if never is not None:
        rule, before = never
        raise items.error(
            None, f"{rule.text!r} never counts, because {before.text!r} stands before it"
        )
    return settings
