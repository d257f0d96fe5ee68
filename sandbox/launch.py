"""Run a program so that it dies with whoever started it.

`python -I -S launch.py <parent pid> <argv…>`: asks Linux for SIGKILL on the parent's death, then becomes the program.
Done in a fresh interpreter rather than in `preexec_fn`, which may deadlock where the parent has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, argv: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the request was made; then nobody will send the signal.
    if os.getppid() != parent:
        sys.exit(1)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.exit(f"cannot run {argv[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
