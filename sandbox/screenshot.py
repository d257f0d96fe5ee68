"""A picture of a page as a person sees it, taken by Chromium without a window.

`python -m sandbox.screenshot URL FILE.png [--width 1100] [--height 1400]`
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DEADLINE_S = 60
# A fresh profile and no background traffic: the sandbox has no network beyond loopback.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class ScreenshotError(RuntimeError):
    """Chromium is missing or took no picture."""


def find_browser() -> str | None:
    """Return the path of Chromium, or None."""
    return next(
        (
            found
            for name in ("chromium", "chromium-browser", "google-chrome")
            if (found := shutil.which(name))
        ),
        None,
    )


def take(url: str, target: Path, *, width: int = 1100, height: int = 1400) -> None:
    """Write a PNG of `url` to `target`."""
    browser = find_browser()
    if browser is None:
        msg = "Chromium is not installed (Debian: apt-get install chromium)"
        raise ScreenshotError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lockgate-chromium-") as profile:
        argv = [
            browser,
            *OPTIONS,
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            f"--screenshot={target.absolute()}",
            url,
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if done.returncode != 0 or not target.is_file():
        msg = f"Chromium took no picture of {url}: {done.stderr.strip()[-300:]}"
        raise ScreenshotError(msg)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.screenshot", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("target", type=Path)
    parser.add_argument("--width", type=int, default=1100)
    parser.add_argument("--height", type=int, default=1400)
    options = parser.parse_args()
    try:
        take(options.url, options.target, width=options.width, height=options.height)
    except (ScreenshotError, subprocess.TimeoutExpired) as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    print(options.target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
