"""The reference implementation's live step, one at a time: what side_by_side.py runs beside rtvc.

    python reference_worker.py CHECKOUT < requests > replies

Runs in an environment of the reference (torch, transformers, librosa, scipy; what only its
other pitch methods, its index and its formant shift use may be missing) and imports its
modules from the checkout. The networks have
random weights and their full size. The content encoder is the ``HubertModel`` of Hugging
Face, as the reference itself has it; no file of weights is read.

The first request is a JSON object with ``version``, ``config`` (the 18 values of a voice),
``block``, ``context`` and ``crossfade`` (in frames of 10 ms) and ``threads``; the reply to it
says what runs. Each request after it is a line, and is answered by the seconds that a step
took, whole and by stages.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

FRAME = 160
MOST_CROSSFADE, SEARCH = 4, 1
"""Frames: the reference's realtime_gui.py joins blocks over no more than the first."""


def main() -> None:
    # The reference prints to standard output what it likes.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    checkout = Path(sys.argv[1]).resolve()
    os.chdir(checkout)  # it finds its translations from there
    sys.path.insert(0, str(checkout))
    wanted = json.loads(sys.stdin.readline())
    import torch

    _excuse_unused()
    torch.set_num_threads(wanted["threads"])
    torch.manual_seed(0)
    step = Step(wanted)
    for _ in range(3):
        step()
    print(json.dumps({"torch": torch.__version__}), file=replies, flush=True)
    for _ in sys.stdin:
        print(json.dumps(step()), file=replies, flush=True)


def _excuse_unused() -> None:
    """Let infer/rtrvc.py be imported where what this step does not use cannot be."""
    importlib.import_module("infer.hubert")  # transformers looks for what is really there
    for name in ("faiss", "parselmouth", "torchaudio.transforms"):
        try:
            importlib.import_module(name)
        except (ImportError, OSError):
            absent = ModuleType(name)
            absent.Resample = None  # type: ignore[attr-defined]
            sys.modules[name.partition(".")[0]] = sys.modules[name] = absent


class Step:
    """``RVC.infer`` of the reference's infer/rtrvc.py on the window of its realtime_gui.py."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        import torch
        from infer import rtrvc

        crossfade = min(wanted["crossfade"], MOST_CROSSFADE)
        self._block, self._skip = wanted["block"], wanted["context"]
        self._rendered = self._block + crossfade + SEARCH
        frames = self._skip + wanted["crossfade"] + SEARCH + self._block
        self._window = 0.1 * torch.randn(frames * FRAME)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        loaded = SimpleNamespace(
            model=_content_encoder(),
            model_rmvpe=_rmvpe(),
            net_g=_voice(wanted["version"], wanted["config"]),
            pth_path="random",
            tgt_sr=wanted["config"][-1],
            if_f0=1,
            version=wanted["version"],
            is_half=False,
        )
        config = SimpleNamespace(device=torch.device("cpu"), is_half=False)
        self._rvc = rtrvc.RVC(0, 0, "random", "", 0, config, loaded)
        self._watch(rtrvc, "extract_hubert_features", "content encoder")
        self._watch(self._rvc, "get_f0", "pitch")
        self._watch(self._rvc.net_g.enc_p, "forward", "text encoder")
        self._watch(self._rvc.net_g.flow, "forward", "flow")
        self._watch(self._rvc.net_g.dec, "forward", "decoder")

    def __call__(self) -> dict[str, Any]:
        """Run one step; return the seconds that it took."""
        self._seconds.clear()
        began = time.perf_counter()
        made = self._rvc.infer(
            self._window, self._block * FRAME, self._skip, self._rendered, "rmvpe"
        )
        total = time.perf_counter() - began
        expected = self._rendered * self._rvc.tgt_sr // 100
        assert len(made) == expected, f"{len(made)} samples instead of {expected}"
        stages = dict(self._seconds)
        stages["rest"] = total - sum(stages.values())
        return {"total": total, "stages": stages}

    def _watch(self, owner: Any, name: str, stage: str) -> None:
        """Time a function that is complete when it returns, as all are on the CPU."""
        real = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return real(*args, **kwargs)
            finally:
                self._seconds[stage] += time.perf_counter() - began

        setattr(owner, name, watched)


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
    main()
