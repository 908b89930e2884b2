"""Small, real voices, indexes and archives as users download them, and the command line."""

import dataclasses
import json
import os
import subprocess
import sys
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from rtvc.engine.weights.checkpoint import read_voice_checkpoint
from rtvc.engine.weights.safetensors import write_safetensors
from tests.support.processes import Process, started

GOLDEN = Path(__file__).parents[1] / "golden"
V2 = GOLDEN / "voice_v2_f0_48k.pth"
V1 = GOLDEN / "voice_v1_f0_48k.pth"
V1_32K = GOLDEN / "voice_v1_f0_32k.pth"
PLAIN = GOLDEN / "voice_v1_nof0_40k.pth"
MRF = GOLDEN / "applio_mrf_40k.pth"
EMPTY_INDEX = GOLDEN / "trained_IVF16_Flat_nprobe_1_golden_v1.index"


def make_index(path: Path, width: int = 768, count: int = 40) -> Path:
    """Write an index as a training program does."""
    import faiss

    faiss.omp_set_num_threads(1)
    rows = np.random.default_rng(count).standard_normal((count, width)).astype(np.float32)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, 1)
    index.train(rows)
    index.add(rows)
    faiss.write_index(index, str(path))
    return path


def make_zip(path: Path, members: dict[str, Path | bytes], **how: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            data = content if isinstance(content, bytes) else content.read_bytes()
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, **how)
    return path


def variant(
    path: Path, source: Path, factor: float, *, speakers: int | None = None, embedder: str = ""
) -> Path:
    """Write a copy of a voice with all weights multiplied by `factor`."""
    voice = read_voice_checkpoint(source)
    weights = {name: factor * array for name, array in voice.weights.items()}
    config = dataclasses.asdict(voice.config)
    if speakers is not None:
        config["spk_embed_dim"] = speakers
        weights["emb_g.weight"] = np.resize(
            weights["emb_g.weight"], (speakers, weights["emb_g.weight"].shape[1])
        )
    metadata = {"config": json.dumps(list(config.values()))}
    if embedder:
        metadata["embedder_model"] = embedder
    write_safetensors(path, weights, metadata)
    return path


def rtvc(*words: str, home: Path, code: str = "", **how: object) -> AbstractContextManager[Process]:
    """Run the command line in a subprocess, after running `code` in it, for the block."""
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    environment |= {"RTVC_HOME": str(home), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}
    program = f"import sys\n{code}\nfrom rtvc.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    return started(
        [sys.executable, "-c", program, *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **how,
    )


def ran(*words: str, home: Path, code: str = "", **how: object) -> tuple[int, str, str]:
    """Run the command line; return its exit code, standard output and standard error."""
    with rtvc(*words, home=home, code=code, **how) as process:
        output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def tree(folder: Path) -> list[str]:
    """Return the relative paths of everything in a folder, with subfolders."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
