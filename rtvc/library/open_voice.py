"""Load a voice by its name or path."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rtvc.between import parts_between
from rtvc.calibration.profiles import kind_of_rate
from rtvc.engine.thread_pool import run_in_pool
from rtvc.engine.voice import Voice
from rtvc.errors import RtvcError, UsageError
from rtvc.library.computing import prepare_computing
from rtvc.library.loaded_files import LoadedFiles, kept_bytes
from rtvc.settings import BUILT_IN, Settings
from rtvc.system.background import pause_when_urgent, pauses
from rtvc.system.thread_priority import yield_thread_priority

if TYPE_CHECKING:
    from rtvc.engine.models.ops.backend import Compute
    from rtvc.engine.models.pitch_estimator import PitchEstimator
    from rtvc.engine.rvc.network import SynthesizerNetwork
    from rtvc.engine.rvc.retrieval import FeatureIndex, Retrieval
    from rtvc.engine.rvc.voice import RvcVoice
    from rtvc.library import Manifest

T = TypeVar("T")


def list_voices() -> dict[str, str]:
    """Return a description of every voice, built-in and installed, by name."""
    from rtvc.library import list_voices as installed_voices

    voices = {BUILT_IN: "Your own voice, shaped by the settings; built in."}
    for voice in installed_voices()[0]:
        manifest = voice.manifest
        kind = f"RVC {manifest.version}, {manifest.sample_rate / 1000:g} kHz"
        voices[voice.name] = f"{kind}{', with an index' if manifest.index else ''}."
    return voices


def find_voice(name: str) -> Voice:
    """Load a voice.

    Networks that are in memory already are used again; see `rtvc.library.loaded_files`. All
    weights are in memory when this returns, so any thread may compute with them.

    Parameters
    ----------
    name
        ``world``, an installed voice, or the path of a voice: a ``.pth`` or ``.safetensors``
        file, or a folder with one (the path must contain a slash). An index next to the file is
        used. Or what lies between two voices; see `rtvc.between`.

    Raises
    ------
    UsageError
        If no installed voice has this name.
    RtvcError
        If the voice cannot be loaded, or a base model that it needs is not installed.
    """
    if name == BUILT_IN:
        # Imported here because loading WORLD takes time, and other voices do not need it.
        from rtvc.engine.world.voice import WorldVoice

        return WorldVoice()
    between = parts_between(name)
    if between is not None:
        return _load_between(name, *between)
    return load_rvc_voice(*_files(name))


def _files(name: str) -> tuple[str, Path, Path | None]:
    """Return an RVC voice's name, its file and its index."""
    from rtvc.library import installed_voice, is_path

    if is_path(name):
        path = Path(os.path.expanduser(name))
        if not os.path.lexists(path):
            raise UsageError(f"There is no file or folder {name!r}. Check the path.")
        return name, path, _find_index(path)
    installed = installed_voice(name)
    return installed.name, installed.path, installed.index


def voice_kind(name: str) -> str:
    """Return the kind of a voice by its name, "" if its file would have to be opened.

    See `rtvc.calibration.profiles.kind_of_rate`.
    """
    if name == BUILT_IN:
        return BUILT_IN
    manifest = _installed_manifest(name)
    return "" if manifest is None else kind_of_rate(manifest.sample_rate)


def _installed_manifest(name: str) -> Manifest | None:
    """Return the manifest of an installed voice, None for any other name."""
    from rtvc.library import installed_voice, is_path

    if name == BUILT_IN or is_path(name):
        return None
    try:
        return installed_voice(name).manifest
    except RtvcError:
        return None  # loading the voice raises the same error


def find_estimator(kind: str) -> PitchEstimator:
    """Load the pitch estimator of a ``Settings.pitch_method``; see `estimator_in_use`.

    Raises
    ------
    RtvcError
        If it is not installed.
    """
    prepare_computing()
    from rtvc.engine.rvc.loading import load_pitch_estimator
    from rtvc.engine.rvc.mlx_errors import mlx_errors
    from rtvc.library import base_model_path, estimator_in_use

    kind = estimator_in_use(kind)
    with mlx_errors("loaded"):
        if kind in ("swift", "dio", "harvest"):
            return load_pitch_estimator(kind=kind)
        return _load_shared(
            base_model_path(kind), lambda path: load_pitch_estimator(path, kind, keep=True)
        )


def load_rvc_voice(name: str, path: Path, index: Path | None) -> RvcVoice:
    """Return an RVC voice from its file, with the content encoder that it was trained with.

    Raises
    ------
    RtvcError
        If a file cannot be used, or the encoder is not installed.
    """

    def network() -> SynthesizerNetwork:
        from rtvc.engine.rvc import loading
        from rtvc.library.voices import explain_damage

        with explain_damage(path):
            return _load_shared(loading.voice_file(path), loading.load_voice)

    return _rvc_voice(name, network, lambda: _load_index(index))


def _load_between(name: str, first: str, second: str, share: float) -> RvcVoice:
    """Return the RVC voice at a position between two others; see `rtvc.between`.

    Raises
    ------
    UsageError
        If one of them is the built-in voice, is not installed, or has another network.
    RtvcError
        As `load_rvc_voice`.
    """
    if BUILT_IN in (first, second):
        raise UsageError(
            f"The voice {first!r} cannot morph to {second!r}: an RVC voice morphs to another RVC "
            "voice, the built-in voice to a preset of its own."
        )
    voices = _files(first), _files(second)

    def network() -> SynthesizerNetwork:
        from rtvc.engine.rvc import loading
        from rtvc.engine.rvc.network import SynthesizerNetwork
        from rtvc.engine.weights.checkpoint import read_voice_checkpoint
        from rtvc.engine.weights.errors import not_opened
        from rtvc.library.blending import blend_checkpoints, check_same_network
        from rtvc.library.voices import explain_damage

        paths = [loading.voice_file(path) for _, path, _ in voices]

        def blend(path: Path) -> SynthesizerNetwork:
            with explain_damage(path):
                one = read_voice_checkpoint(path)
            with explain_damage(paths[1]):
                other = read_voice_checkpoint(paths[1])
            check_same_network((voices[0][0], voices[1][0]), one, other, "morph")
            blended = blend_checkpoints(one, other, share)
            return SynthesizerNetwork(blended.weights, blended.config, embedder=blended.embedder)

        try:
            state = paths[1].stat()
        except OSError as error:
            raise RtvcError(not_opened(paths[1], error)) from None
        version = paths[1].resolve(), state.st_mtime_ns, state.st_size
        return _load_shared(paths[0], blend, (*version, share))

    def index() -> Retrieval | None:
        from rtvc.engine.rvc.retrieval import IndexBlend

        indexes = [_load_index(path) for _, _, path in voices]
        return IndexBlend(*indexes, share=share) if any(indexes) else None

    return _rvc_voice(name, network, index)


def _load_index(path: Path | None) -> FeatureIndex | None:
    """Return the index of a file; None without a file."""
    from rtvc.engine.rvc import loading
    from rtvc.library.voices import explain_damage

    if path is None:
        return None
    with explain_damage(path):
        # Not what the same file is as a voice.
        return _load_shared(path, loading.load_index, "index")


def _rvc_voice(
    name: str,
    load_network: Callable[[], SynthesizerNetwork],
    load_index: Callable[[], Retrieval | None],
) -> RvcVoice:
    """Return a voice with the content encoder that its network was trained with."""
    notice = " ".join(prepare_computing().sentences)
    from rtvc.engine.rvc import loading
    from rtvc.engine.rvc.mlx_errors import mlx_errors
    from rtvc.engine.rvc.voice import RvcVoice
    from rtvc.library import base_model_path

    with mlx_errors("loaded"):
        network = load_network()
    index = load_index()
    with mlx_errors("loaded"):
        encoder = _load_shared(
            base_model_path(network.embedder),
            lambda path: loading.load_content_encoder(path, keep=True),
        )
    return RvcVoice(name, network, encoder, find_estimator, index, notice=notice)


def _find_index(path: Path) -> Path | None:
    """Return the index of a voice: the only one in its folder, or the one with its name."""
    if path.is_dir():
        found = [f for f in path.glob("*.index") if not f.name.startswith((".", "trained_"))]
        return found[0] if len(found) == 1 else None
    from rtvc.library.finding import matching_indexes

    found = matching_indexes(path)
    return found[0] if len(found) == 1 else None


@contextmanager
def preload_estimator(settings: Settings) -> Iterator[None]:
    """Load the pitch estimator of an installed voice in parallel with the block.

    `find_estimator` in the block waits for it, or raises its error.
    """
    manifest = _installed_manifest(settings.voice)
    if manifest is None or not manifest.uses_pitch:
        yield
        return
    loaded: Future[PitchEstimator | None] = Future()

    background = pauses()

    def load() -> None:
        yield_thread_priority()
        if background:
            pause_when_urgent()
        try:
            loaded.set_result(find_estimator(settings.pitch_method))
        except BaseException:  # `find_estimator` raises it again in the block
            loaded.set_result(None)

    run_in_pool(load, "rtvc loading")
    yield
    loaded.result()  # keeps the estimator alive until here


_loaded = LoadedFiles(kept_bytes())
# Before MLX ends, on whose device they live.
atexit.register(_loaded.release)
_last_compute: Compute | None = None
"""The way to compute that the objects were loaded for last."""


def _load_shared(path: Path, load: Callable[[Path], T], variant: Hashable = "") -> T:
    """Load a file, or return the same object as before if the file has not changed since."""
    global _last_compute  # noqa: PLW0603
    from rtvc.engine.gpu_memory import release_freed_memory
    from rtvc.engine.models.ops import backend

    if _last_compute not in (None, backend.compute):
        _loaded.release()  # nothing computes in that way any more, and a GPU may be out of memory
    _last_compute = backend.compute

    def load_and_release(path: Path) -> T:
        loaded = load(path)
        release_freed_memory()
        return loaded

    return _loaded.get(path, load_and_release, (backend.compute, variant))
