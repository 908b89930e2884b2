"""Run live steps of rvc-next on request; side_by_side.py starts this.

    python -m benchmarks.rvc_next_worker [WHEEL] < requests > replies

Runs in an environment with torch, transformers, librosa, numpy and scipy. rvc-next is imported
from the wheel, or is installed in the environment. Its own code is used unchanged: random weights
of full size are written in its file formats to a temporary folder, loaded by its runtime, and
converted block by block by its streaming engine on the CPU, in float32, at 48 kHz, with its
defaults (no index, no gate, no noise suppression, RMVPE).

The first request is that of reference_worker.py; see torch_worker.py for the rest. A step is the
engine's ``_infer``: from the window at 16 kHz to the output at the voice's rate. "around" in the
reply is the rest of its ``process``: resampling, loudness and the join of the blocks.
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.torch_worker import StageTimer, Step, serve

DEVICE_RATE = 48_000


def _prepare(request: dict[str, Any]) -> tuple[Step, dict[str, Any]]:
    sys.path[:0] = sys.argv[1:2]
    import transformers
    from rvc_next.version import VERSION

    facts = {"rvc-next": VERSION, "transformers": transformers.__version__}
    return RvcNextStep(request), facts


class RvcNextStep:
    """``StreamEngine.process`` of rvc-next."""

    def __init__(self, request: dict[str, Any]) -> None:
        import torch
        from rvc_next.engine.convert.params import VoiceParams
        from rvc_next.engine.runtime import Runtime
        from rvc_next.engine.stream import StreamParams, engine

        with tempfile.TemporaryDirectory() as folder:
            assets, voice = Path(folder) / "assets", Path(folder) / "voice.pth"
            _write_models(assets)
            _write_voice(voice, request["version"], request["config"])
            runtime = Runtime(assets, device="cpu", precision="fp32")
            loaded = runtime.voice(voice)
            runtime.hubert(loaded.embedder)
            runtime.f0("rmvpe")
        stream = StreamParams(
            block_ms=10 * request["block"],
            crossfade_ms=10 * request["crossfade"],
            context_ms=10 * request["context"],
        )
        self._engine = engine.StreamEngine(runtime, loaded, VoiceParams(), stream, DEVICE_RATE)
        sounds = 0.1 * torch.randn(8, self._engine.block_size)
        self._blocks = cycle(sounds.numpy())
        self._timer = StageTimer()
        self._timer.wrap_step(self._engine, "_infer")
        self._timer.wrap(engine, "extract_features", "content encoder")
        self._timer.wrap(self._engine, "_get_f0", "pitch")
        self._timer.wrap(loaded.net_g.enc_p, "forward", "text encoder")
        self._timer.wrap(loaded.net_g.flow, "forward", "flow")
        self._timer.wrap(loaded.net_g.dec, "forward", "decoder")

    def __call__(self) -> dict[str, Any]:
        """Run one step; return its time in seconds, total, by stages and around it."""
        block = next(self._blocks)
        began = time.perf_counter()
        output = self._engine.process(block)
        whole = time.perf_counter() - began
        assert len(output) == len(block), f"{len(output)} samples instead of {len(block)}"
        times = self._timer.reply()
        return {**times, "around": whole - times["total"]}


def _write_models(assets: Path) -> None:
    """Write a content encoder and RMVPE where its runtime looks for them."""
    import torch
    from rvc_next.engine.f0.rmvpe import E2E
    from rvc_next.engine.features import hubert
    from rvc_next.engine.runtime import AssetPaths
    from transformers import HubertConfig

    paths = AssetPaths(assets)
    hubert._model_class()(HubertConfig()).save_pretrained(paths.hubert_dir)
    paths.rmvpe.parent.mkdir(parents=True)
    torch.save(E2E(4, 1, (2, 2)).state_dict(), paths.rmvpe)


def _write_voice(path: Path, version: str, config: list[Any]) -> None:
    """Write a voice in the format that RVC's training exports."""
    import torch
    from rvc_next.engine.models.loader import synthesizer_class

    network = synthesizer_class(version, True)(*config, is_half=False)
    weights = {
        name: value for name, value in network.state_dict().items() if not name.startswith("enc_q.")
    }
    tree = {"weight": weights, "config": config, "info": "random", "sr": f"{config[-1] // 1000}k"}
    torch.save({**tree, "f0": 1, "version": version}, path)


if __name__ == "__main__":
    serve(_prepare)
