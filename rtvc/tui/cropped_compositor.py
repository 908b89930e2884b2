"""A compositor that renders only the rows that change."""

from __future__ import annotations

from collections.abc import Iterable

from textual._compositor import Compositor
from textual.geometry import Region
from textual.strip import Strip


class CroppedCompositor(Compositor):
    """Renders no widget outside of what changes.

    Textual's own renders all rows of every widget whose container is touched by the change: for
    the level meters, which change with each frame, that is nearly the whole screen.
    """

    def _get_renders(
        self, crop: Region | None = None
    ) -> Iterable[tuple[Region, Region, list[Strip]]]:
        rows = self.size.region if crop is None else crop
        for widget, (region, clip) in self.visible_widgets.items():
            clipped = clip.intersection(Region(clip.x, rows.y, clip.width, rows.height))
            if part := region.intersection(clipped):
                yield region, clipped, widget.render_lines(part.translate(-region.offset))
