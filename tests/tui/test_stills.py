"""Every screen, in every theme, at five sizes, as somebody has looked at it and found it good."""

import asyncio
import difflib
import gzip
import html
import re

import pytest

from rtvc.config.panel_state import THEMES
from tests.support.material import more
from tests.tui.still import SCREENS, SIZES, stored, take

pytestmark = pytest.mark.slow


def words(svg: str) -> list[str]:
    return [html.unescape(text).strip() for text in re.findall(r">([^<>]+)</text>", svg)]


@pytest.mark.parametrize("theme", more(THEMES))
@pytest.mark.parametrize("content", SCREENS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_screens_look_as_before(monkeypatch, size, content, theme):
    # A person's path is part of the picture.
    monkeypatch.setenv("RTVC_CONFIG_DIR", "rtvc")
    made = asyncio.run(take(size, theme, content))
    assert set(made) == set(SCREENS[content])
    for name, svg in made.items():
        before = gzip.decompress(stored(name, size, theme, content).read_bytes()).decode()
        if svg != before:
            lines = difflib.unified_diff(words(before), words(svg), "before", "now", n=0)
            pytest.fail(
                f"{name} at {size} in {theme}, {content}, is different. If it should be: make "
                "stills, look at the pictures (gunzip them), and commit them.\n"
                + ("\n".join(list(lines)[:20]) or "The words are the same, the styles are not."),
                pytrace=False,
            )
