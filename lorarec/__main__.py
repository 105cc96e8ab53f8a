"""`python -m lorarec` and `accelerate launch -m lorarec`."""

from __future__ import annotations

import sys

from lorarec.cli.signals import end_by_signals, ignore_signals, stop_at_once


def main() -> None:
    """Run the command line."""
    end_by_signals()
    from lorarec.cli.main import run  # slow

    try:
        status = run(sys.argv[1:])
    except KeyboardInterrupt:  # a second one, while the first one is still ending the command
        stop_at_once()
    ignore_signals()
    sys.exit(status)


if __name__ == "__main__":
    main()
