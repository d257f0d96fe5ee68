"""`python -m ci_bot`, and the `lockgate` program."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from ci_bot.cli.main import run

    sys.exit(run())


if __name__ == "__main__":
    main()
