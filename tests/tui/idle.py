"""Textual's own waits last until the processor has no work, which the engine never lets it be."""

from __future__ import annotations

import asyncio

import textual.app
import textual.pilot


async def _soon(*_: float) -> None:
    await asyncio.sleep(0.001)


def wait_no_more() -> None:
    """Let Textual's tests wait for a moment only."""
    for module in (textual.app, textual.pilot):
        setattr(module, "wait_for_idle", _soon)  # noqa: B010
