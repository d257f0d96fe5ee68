"""`python -m sandbox.forge --root DIR`: the forge as a process, until SIGTERM or Ctrl-C."""

import argparse
import signal
import threading
from pathlib import Path

from sandbox.forge import Ports, SandboxForge, seed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox.forge", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="state, repositories, forge.json")
    parser.add_argument("--port", type=int, default=0, help="API and git, https (0: any free)")
    parser.add_argument("--pages-port", type=int, default=0, help="pages, http (0: any free)")
    parser.add_argument("--seed", type=Path, help="seed.json; without: the demo's project")
    options = parser.parse_args()
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    ports = Ports(api=options.port, pages=options.pages_port)
    wanted = seed.load(options.seed) if options.seed else None
    with SandboxForge(options.root, seed=wanted, ports=ports) as forge:
        print(
            f"forge {forge.url}  pages {forge.pages_url}  facts {options.root / 'forge.json'}",
            flush=True,
        )
        stop.wait()


if __name__ == "__main__":
    main()
