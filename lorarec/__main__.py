"""`python -m lorarec` and `accelerate launch -m lorarec`."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line."""
    # SIGTERM ends a command as Ctrl-C does: a run without a checkpoint takes its folder away. (Once training
    # is under way, both write a checkpoint first.)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from lorarec.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
