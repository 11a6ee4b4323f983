"""What becomes of a call, when it is neither a value nor an errno."""

from __future__ import annotations

import enum


class Outcome(enum.Enum):
    """CONTINUE: the kernel runs it unchanged. FIX_UP: the kernel runs it with other arguments.
    ANSWERED: the notification has been dealt with."""

    CONTINUE = "continue"
    FIX_UP = "fix up"
    ANSWERED = "answered"


CONTINUE, FIX_UP, ANSWERED = Outcome.CONTINUE, Outcome.FIX_UP, Outcome.ANSWERED
