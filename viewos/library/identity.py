"""The user and groups that a program is to have, as `subprocess` takes them."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable
from typing import Any

Identity = tuple[list[int] | None, int | None, int | None]
"""Supplementary groups, group and user; None leaves one as it is."""


def take(options: dict[str, Any]) -> Identity:
    """Take `user`, `group` and `extra_groups` out of the options of a Popen.

    Raises what `subprocess.Popen` raises: KeyError for a name that does not exist, TypeError,
    ValueError.
    """
    group, extra, user = (options.pop(name, None) for name in ("group", "extra_groups", "user"))
    gid = _number(group, "Group", "group", _gid_of)
    if extra is None:
        return None, gid, _number(user, "User", "user", _uid_of)
    if isinstance(extra, str):
        raise ValueError("Groups must be a list, not a string")
    groups = []
    for entry in extra:
        if not isinstance(entry, str | int):
            raise TypeError(f"Items in extra_groups must be a string or integer, not {type(entry)}")
        number = _gid_of(entry) if isinstance(entry, str) else entry
        if number < 0:
            raise ValueError(f"Group ID cannot be negative, got {number}")
        groups.append(number)
    return groups, gid, _number(user, "User", "user", _uid_of)


def _gid_of(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def _uid_of(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _number(value: Any, title: str, what: str, by_name: Callable[[str], int]) -> int | None:
    if value is None:
        return None
    if isinstance(value, str):
        return by_name(value)
    if not isinstance(value, int):
        raise TypeError(f"{title} must be a string or an integer, not {type(value)}")
    if value < 0:
        raise ValueError(f"{title} ID cannot be negative, got {value}")
    return value
