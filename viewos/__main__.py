"""viewos, as a command and as python -m viewos."""

import signal
import sys


def main() -> int:
    """The command line; the exit status."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # which would tell where in our imports that was
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from viewos.cli.main import main as run

    signal.signal(signal.SIGINT, before)
    return run()


if __name__ == "__main__":
    sys.exit(main())
