"""What every test stands on: where the outside material is, and what a missing tool means.

On a person's machine a test whose tool is absent is skipped, and the run ends with a table of what and why.
Under `LOCKGATE_REQUIRE=all` (CI) a skip is a failure.
"""

import os
from pathlib import Path

import pytest

pytest_plugins = [
    "tests.fixtures_cluster",
    "tests.fixtures_forge",
    "tests.fixtures_stack",
    "tests.fixtures_chaos",
]

ROOT = Path(__file__).resolve().parent.parent
STRICT = os.environ.get("LOCKGATE_REQUIRE") == "all"


def shared_folder() -> Path | None:
    """Return the folder of corpora and contracts: `LOCKGATE_SHARED`, else `shared` beside the repository."""
    candidates = [os.environ.get("LOCKGATE_SHARED"), ROOT.parent / "shared"]
    return next((Path(c) for c in candidates if c and (Path(c) / "corpora").is_dir()), None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The outside material (`corpora/`, `contracts/`, `seed/`), or a skip that says so."""
    found = shared_folder()
    if found is None:
        pytest.skip("../shared not found; set LOCKGATE_SHARED")
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files")
    parser.addoption("--chaos-rounds", type=int, default=0, help="rounds of each chaos test")


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of a story back in the order they stand in, after the shuffle."""
    stories = [item for item in items if item.get_closest_marker("story")]
    ordered = iter(sorted(stories, key=lambda item: (item.path, item.location[1] or 0)))
    items[:] = [next(ordered) if item.get_closest_marker("story") else item for item in items]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section("skipped, and why")
    reasons: dict[str, int] = {}
    for report in skipped:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[why] = reasons.get(why, 0) + 1
    for why, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count:4d}  {why}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if STRICT and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line("LOCKGATE_REQUIRE=all: a skipped test is a failure", red=True)
