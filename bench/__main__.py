"""`python -m bench [NAME …] [--output json]`: all benchmarks, or those named."""

import argparse
import importlib
import json
import sys
from dataclasses import asdict

from bench.table import Row, show

NAMES = ("bump", "drift", "idle", "loop")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=", ".join(NAMES)
    )
    parser.add_argument("--output", choices=["text", "json"], default="text")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.names or NAMES:
        measured = importlib.import_module(f"bench.{name}").measure()
        rows += measured
        if options.output == "text":
            show(name, measured)
    if options.output == "json":
        print(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
