"""uid: the program sees itself as another user, and what it does to owners and modes is remembered,
by the kernel's own rules."""

from __future__ import annotations

from viewos.modules.uid.module import Uid

__all__ = ["Uid"]
