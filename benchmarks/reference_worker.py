"""Run live steps of the reference implementation on request; side_by_side.py starts this.

    python -m benchmarks.reference_worker CHECKOUT < requests > replies

Runs in an environment of the reference (torch, transformers, librosa, scipy; packages that only
its other pitch methods, its index and its formant shift use may be missing) and imports its
modules from the checkout. The networks have random weights and full size. The content encoder
is Hugging Face's ``HubertModel``, as in the reference itself; no weights file is read.

The first request has ``version``, ``config`` (the 18 values of a voice), ``block``, ``context``
and ``crossfade`` (in frames of 10 ms) and ``threads``; see torch_worker.py for the rest.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from benchmarks.torch_worker import StageTimer, Step, serve

FRAME = 160
MAX_CROSSFADE, SEARCH = 4, 1
"""Frames; the maximum crossfade and the search range of the reference's realtime_gui.py."""


def _prepare(request: dict[str, Any]) -> tuple[Step, dict[str, Any]]:
    checkout = Path(sys.argv[1]).resolve()
    os.chdir(checkout)  # the reference finds its translations relative to it
    sys.path.insert(0, str(checkout))
    _replace_unused()
    return ReferenceStep(request), {}


def _replace_unused() -> None:
    """Replace packages that this step does not use, so that infer/rtrvc.py can be imported."""
    importlib.import_module("infer.hubert")  # first, since transformers detects real packages
    for name in ("faiss", "parselmouth", "torchaudio.transforms"):
        try:
            importlib.import_module(name)
        except (ImportError, OSError):
            absent = ModuleType(name)
            absent.Resample = None  # type: ignore[attr-defined]
            sys.modules[name.partition(".")[0]] = sys.modules[name] = absent


class ReferenceStep:
    """``RVC.infer`` of the reference's infer/rtrvc.py, with the window of its realtime_gui.py."""

    def __init__(self, request: dict[str, Any]) -> None:
        import torch
        from infer import rtrvc

        crossfade = min(request["crossfade"], MAX_CROSSFADE)
        self._block, self._skip = request["block"], request["context"]
        self._rendered = self._block + crossfade + SEARCH
        frames = self._skip + request["crossfade"] + SEARCH + self._block
        self._window = 0.1 * torch.randn(frames * FRAME)
        loaded = SimpleNamespace(
            model=_content_encoder(),
            model_rmvpe=_rmvpe(),
            net_g=_voice(request["version"], request["config"]),
            pth_path="random",
            tgt_sr=request["config"][-1],
            if_f0=1,
            version=request["version"],
            is_half=False,
        )
        config = SimpleNamespace(device=torch.device("cpu"), is_half=False)
        self._rvc = rtrvc.RVC(0, 0, "random", "", 0, config, loaded)
        self._timer = StageTimer()
        self._timer.wrap_step(self._rvc, "infer")
        self._timer.wrap(rtrvc, "extract_hubert_features", "content encoder")
        self._timer.wrap(self._rvc, "get_f0", "pitch")
        self._timer.wrap(self._rvc.net_g.enc_p, "forward", "text encoder")
        self._timer.wrap(self._rvc.net_g.flow, "forward", "flow")
        self._timer.wrap(self._rvc.net_g.dec, "forward", "decoder")

    def __call__(self) -> dict[str, Any]:
        """Run one step; return its time in seconds, total and by stages."""
        output = self._rvc.infer(
            self._window, self._block * FRAME, self._skip, self._rendered, "rmvpe"
        )
        expected = self._rendered * self._rvc.tgt_sr // 100
        assert len(output) == expected, f"{len(output)} samples instead of {expected}"
        return self._timer.reply()


def _content_encoder() -> Any:
    from infer.hubert import HubertModelWithFinalProj
    from transformers import HubertConfig

    return HubertModelWithFinalProj(HubertConfig()).eval()


def _rmvpe() -> Any:
    import torch
    from infer.rmvpe import E2E, RMVPE

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rmvpe.pt"
        torch.save(E2E(4, 1, (2, 2)).state_dict(), path)
        return RMVPE(str(path), is_half=False, device="cpu")


def _voice(version: str, config: list[Any]) -> Any:
    from infer.module import models

    width = {"v1": 256, "v2": 768}[version]
    network = getattr(models, f"SynthesizerTrnMs{width}NSFsid")(*config, is_half=False)
    del network.enc_q
    network.eval().remove_weight_norm()
    return network


if __name__ == "__main__":
    serve(_prepare)
