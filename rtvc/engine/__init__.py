"""The streaming engine: converts input audio block by block.

The loaders of RVC files are importable from here: ``load_voice``, ``load_content_encoder``,
``load_pitch_estimator`` and ``load_index``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtvc.engine.rvc.loading import (
        load_content_encoder,
        load_index,
        load_pitch_estimator,
        load_voice,
    )

__all__ = ["load_content_encoder", "load_index", "load_pitch_estimator", "load_voice"]


def __getattr__(name: str) -> Any:
    # MLX and faiss are imported on first use of a loader, so importing the package stays cheap.
    if name in __all__:
        from rtvc.engine.rvc import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
