"""Named points at which a process of ours dies, put there from outside: the product's own code knows nothing of them.

Python imports this module by itself where this folder is on PYTHONPATH, in any program that starts as users start it.
It does nothing unless `LOCKGATE_FAILPOINTS` names a folder. A point is armed by a file of its name in that folder and
read at each passing, so that a running process can be armed; the file may hold a text that must be in what the function
is called with, and `#n` for the n-th passing. The process then renames the file to `<name>.hit` and kills itself.
"""

import functools
import importlib.abc
import importlib.machinery
import os
import re
import signal
import sys
from pathlib import Path

# name: module, function in it, before or after the call
POINTS = {
    "bot-before-push": ("ci_bot.repo.workspace", "Workspace.push", "before"),
    "bot-after-push": ("ci_bot.repo.workspace", "Workspace.push", "after"),
    "bot-after-merge-request": ("ci_bot.workflows.bump", "Bump._settle", "after"),
    "hub-delivery-stored": ("ci_bot.hub.worker", "ProjectWorker.ask_delivery", "before"),
    "hub-before-write": ("ci_bot.hub.worker", "make_write", "before"),
    "hub-after-write": ("ci_bot.hub.worker", "make_write", "after"),
    "agent-planned": ("agent.reconcile.sync", "Syncer.run", "before"),
    "agent-between-applies": ("agent.reconcile.sync", "apply_object", "after"),
    "agent-before-inventory": ("agent.reconcile.sync", "Syncer._record", "before"),
}


def _reach(folder, name, arguments, passed):
    armed = folder / name
    try:
        wanted = armed.read_text()
    except OSError:
        return
    text, _, number = wanted.partition("#")
    if text not in repr(arguments):
        return
    passed[name] = passed.get(name, 0) + 1
    if passed[name] == int(number or 1):
        armed.rename(folder / f"{name}.hit")
        os.kill(os.getpid(), signal.SIGKILL)


def _wrap(function, folder, before, after):
    passed = {}

    @functools.wraps(function)
    def through(*arguments, **named):
        for name in before:
            _reach(folder, name, arguments, passed)
        result = function(*arguments, **named)
        for name in after:
            _reach(folder, name, arguments, passed)
        return result

    return through


def _install(module, folder):
    places = {}
    for name, (owner, path, when) in POINTS.items():
        if owner == module.__name__:
            places.setdefault(path, {"before": [], "after": []})[when].append(name)
    for path, names in places.items():
        holder, _, attribute = path.rpartition(".")
        at = functools.reduce(getattr, re.findall(r"\w+", holder), module)
        setattr(at, attribute, _wrap(getattr(at, attribute), folder, **names))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds a module as usual, and puts its points in once it was executed."""

    def __init__(self, folder):
        self.folder = folder
        self.wanted = {owner for owner, _, _ in POINTS.values()}

    def find_spec(self, name, path, target=None):
        if name not in self.wanted:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute, folder = spec.loader.exec_module, self.folder

        def executed(module):
            execute(module)
            _install(module, folder)

        spec.loader.exec_module = executed
        return spec


if "LOCKGATE_FAILPOINTS" in os.environ:
    sys.meta_path.insert(0, _Finder(Path(os.environ["LOCKGATE_FAILPOINTS"])))
