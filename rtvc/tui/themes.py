"""The panel's colours: dark, light, and high contrast."""

from __future__ import annotations

from textual.theme import Theme

THEMES = {
    "dark": Theme(
        "rtvc-dark",
        primary="#5fafff",
        secondary="#8787d7",
        warning="#ffaf00",
        error="#ff5f5f",
        success="#5fd787",
        accent="#5fafff",
        foreground="#d0d0d0",
        background="#121212",
        surface="#1c1c1c",
        panel="#303030",
        dark=True,
        variables={"border-blurred": "#6c6c6c"},
    ),
    "light": Theme(
        "rtvc-light",
        primary="#005faf",
        secondary="#5f5faf",
        warning="#875f00",
        error="#af0000",
        success="#005f00",
        accent="#005faf",
        foreground="#121212",
        background="#eeeeee",
        surface="#ffffff",
        panel="#d0d0d0",
        dark=False,
        variables={"border-blurred": "#767676"},
    ),
    "contrast": Theme(
        "rtvc-contrast",
        primary="#ffffff",
        secondary="#ffffff",
        warning="#ffff00",
        error="#ff8787",
        success="#00ff00",
        accent="#ffff00",
        foreground="#ffffff",
        background="#000000",
        surface="#000000",
        panel="#444444",
        dark=True,
        variables={"border-blurred": "#ffffff"},
    ),
}
"""By the name in panel.yaml; all colours are among the 256 of common terminals."""
