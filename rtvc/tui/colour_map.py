"""Colours for levels, evenly spaced in lightness."""

from __future__ import annotations

from itertools import pairwise

Rgb = tuple[int, int, int]

LEVELS = 14
"""Colours of a map: as many as the eye tells apart, and few enough for long runs of one."""

_VIRIDIS = (
    (68, 1, 84),
    (71, 44, 122),
    (59, 81, 139),
    (44, 113, 142),
    (33, 144, 141),
    (39, 173, 129),
    (92, 200, 99),
    (170, 220, 50),
    (253, 231, 37),
)
"""Nine colours of viridis by Smith and van der Walt (2015), public domain (CC0)."""

_VIRIDIS_256 = (
    (95, 0, 95),
    (95, 95, 135),
    (0, 135, 135),
    (0, 175, 135),
    (95, 215, 95),
    (175, 215, 0),
    (255, 215, 0),
)
"""The colours among those of a 256-colour terminal that follow viridis with growing lightness."""


def viridis(levels: int = LEVELS) -> tuple[Rgb, ...]:
    """Return colours from dark purple to bright yellow, `levels` of them, at least 2."""
    return tuple(_between(_VIRIDIS, level / (levels - 1)) for level in range(levels))


def viridis_256(levels: int = LEVELS) -> tuple[Rgb, ...]:
    """Return the same in colours of 256-colour terminals; several levels share one."""
    count = len(_VIRIDIS_256)
    return tuple(_VIRIDIS_256[level * count // levels] for level in range(levels))


def grey(levels: int = LEVELS) -> tuple[Rgb, ...]:
    """Return greys of 256-colour terminals from dark to almost white, `levels` of them, 2 to 21."""
    ramp = [8 + 10 * step for step in range(3, 24)]
    shades = (ramp[round(level * (len(ramp) - 1) / (levels - 1))] for level in range(levels))
    return tuple((shade, shade, shade) for shade in shades)


def _between(anchors: tuple[Rgb, ...], share: float) -> Rgb:
    place = share * (len(anchors) - 1)
    index = min(int(place), len(anchors) - 2)
    low, high = tuple(pairwise(anchors))[index]
    red, green, blue = (
        round(a + (b - a) * (place - index)) for a, b in zip(low, high, strict=True)
    )
    return red, green, blue
