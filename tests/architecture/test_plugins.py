"""What people touch first: `action.yml` and `.gitlab-ci-template.yml`."""

import re

import yaml

from tests.conftest import ROOT


def test_no_input_is_interpolated_into_a_script():
    """C1: `$(id)` in an input must stay text, so scripts see inputs through the environment only."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    scripts = [step["run"] for step in action["runs"]["steps"]]
    assert scripts
    assert not [script for script in scripts if "${{" in script]


def test_every_input_of_the_action_is_used():
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    inputs = yaml.safe_load(text)["inputs"]
    assert set(inputs) == set(re.findall(r"\$\{\{ inputs\.([a-z-]+) \}\}", text))


def test_every_variable_in_a_script_is_quoted():
    """An unquoted variable splits on spaces and expands globs."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    template = yaml.safe_load((ROOT / ".gitlab-ci-template.yml").read_text(encoding="utf-8"))
    job = template[".lockgate-bump"]
    scripts = [step["run"] for step in action["runs"]["steps"]]
    for script in [*scripts, *job["before_script"], *job["script"]]:
        unquoted = re.sub(r'"[^"]*"', "", re.sub(r"\$\{\w+:\+(.*?)\}", r"\1", script))
        assert "$" not in unquoted, script
