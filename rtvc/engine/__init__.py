"""The streaming engine: blocks of microphone in, blocks of another voice out.

What opens the files of RVC voices is here too, for use from Python: ``load_voice``,
``load_content_encoder``, ``load_pitch_estimator`` and ``load_index``.
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
    # MLX and faiss are brought in by whoever opens a file, not by whoever imports the package.
    if name in __all__:
        from rtvc.engine.rvc import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
