"""The merge-request page in a real browser."""

import pytest

from sandbox import screenshot
from sandbox.forge.seed import DEPLOYMENT

PNG = b"\x89PNG\r\n"


@pytest.mark.browser
@pytest.mark.parametrize("width", [1100, 480])
def test_chromium_draws_the_merge_request_page(forge, tmp_path, width):
    """A picture comes out, wide and narrow; an empty page of this size would be under 8 kB."""
    if screenshot.find_browser() is None:
        pytest.skip("Chromium is not installed")
    bot = forge.as_user("lockgate-bot")
    bot.push("lockgate/dev/app", {"dev/deployment.yaml": DEPLOYMENT.replace("1.0", "1.2")})
    iid = bot.open("lockgate/dev/app", "Bump app to 1.2")
    forge.as_user("lockgate-hub").comment(iid, "| a | b |\n|-|-|\n| 1 | 2 |")
    target = tmp_path / "page.png"
    page = f"{forge.pages_url}/group/config/-/merge_requests/{iid}?still=1"
    screenshot.take(page, target, width=width)
    picture = target.read_bytes()
    assert picture.startswith(PNG)
    assert len(picture) > 20_000
    asked = [entry.path for entry in forge.requests.matching("GET", "^/-/")]
    assert "/-/style.css" in asked
