"""The text of a settings row at every width."""

import pytest

from rtvc.settings import SETTINGS, Settings
from rtvc.tui.setting_row import row_text
from rtvc.tui.setting_rows import Facts


@pytest.mark.parametrize("name", SETTINGS)
def test_a_row_has_a_text_at_every_width(name):
    # A terminal that is being resized gives a list hardly any columns for a moment.
    for width in range(201):
        text = row_text(SETTINGS[name], Settings(), Facts(), width)
        assert text.strip()
        if width >= 30:
            assert len(text) <= width
