"""Every screen, in every theme, at five sizes, as somebody has looked at it and found it good."""

import asyncio
import difflib
import gzip
import html
import itertools
import re

import pytest

from rtvc.config.panel_state import THEMES
from tests.tui.still import SCREENS, SIZES, stored, take

pytestmark = pytest.mark.slow


def words(svg: str) -> list[str]:
    return [html.unescape(text).strip() for text in re.findall(r">([^<>]+)</text>", svg)]


USUAL = [((80, 24), "typical"), ((40, 12), "longest")]


def _looks():
    """Every size, content and theme; most for thorough runs."""
    for size, content, theme in itertools.product(SIZES, SCREENS, THEMES):
        usual = theme == THEMES[0] and ((size, content) in USUAL)
        marks = [] if usual else [pytest.mark.thorough]
        name = f"{size[0]}x{size[1]}-{content}-{theme}"
        yield pytest.param(size, content, theme, id=name, marks=marks)


@pytest.mark.parametrize(("size", "content", "theme"), list(_looks()))
def test_the_screens_look_as_before(monkeypatch, size, content, theme):
    # The user's own path is part of the picture.
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
