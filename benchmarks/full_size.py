"""Import and convert with full-size files: python -m benchmarks.full_size [--seconds 2] [KIND...].

Writes checkpoints with random weights in the usual layouts (torch archives in half precision
with weight norm, a content encoder in Hugging Face's layout, RMVPE), and runs the commands of a
user on them, each in its own process: `rtvc setup --from`, `rtvc voices add`, `rtvc convert` in
both qualities. A KIND is a version and a sample rate, such as v2-40k; the default is all six.
Prints the time and peak memory of every command, and the memory of a program with one voice and
with two. Exits with 1 if a command fails, if its output is not of the right length, finite and
audible, or if the program uses more memory than its limit.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from rtvc.engine.chain import Chain
from rtvc.engine.profiling.random_weights import (
    FULL_ENCODER,
    FULL_RMVPE,
    KINDS,
    random_weights,
    voice_values,
)
from rtvc.engine.weights.content_encoder import content_encoder_shapes
from rtvc.engine.weights.rmvpe import rmvpe_shapes
from rtvc.engine.weights.safetensors import write_safetensors
from rtvc.engine.weights.voice_config import parse_voice_config
from rtvc.engine.weights.voice_keys import HIFIGAN, voice_shapes
from rtvc.library.open_voice import find_voice
from rtvc.settings import Settings
from rtvc.system.info import hardware, versions
from rtvc.system.malloc import trim_memory
from tests.engine.weights.torch_writer import save
from tests.support.speech import FOLDER

MEMORY_KINDS = "v2-40k", "v2-48k"
MAX_MB, MAX_SECOND_MB = 1600.0, 150.0
_STEPS = 12
NORMED = ("dec.ups.", "dec.resblocks.", ".in_layers.", ".res_skip_layers.", ".cond_layer.")


def with_weight_norm(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the weights as training saves them: with weight norm (g and v), half precision."""
    saved: dict[str, np.ndarray] = {}
    for name, w in weights.items():
        if name.endswith(".weight") and any(part in name for part in NORMED):
            length = np.sqrt(np.sum(w**2, axis=(1, 2), keepdims=True))
            saved[f"{name}_g"], saved[f"{name}_v"] = length, w
        else:
            saved[name] = w
    return {name: w.astype(np.float16) for name, w in saved.items()}


def write_voice(path: Path, version: str, rate: int) -> None:
    """Write a voice in the format that RVC's training exports."""
    values = voice_values(version, rate)
    config = parse_voice_config(values, 109)
    features = 256 if version == "v1" else 768
    shapes = voice_shapes(config, phone_channels=features, uses_pitch=True, vocoder=HIFIGAN)
    tree = {
        "weight": with_weight_norm(random_weights(shapes)),
        "config": values,
        "info": "random",
        "sr": f"{rate // 1000}k",
        "f0": 1,
        "version": version,
    }
    save(path, tree)


def write_base_models(folder: Path) -> None:
    """Write a content encoder and RMVPE."""
    encoder = folder / "contentvec"
    encoder.mkdir(parents=True)
    c = FULL_ENCODER
    config = {
        "model_type": "hubert",
        "hidden_size": c.width,
        "intermediate_size": c.feed_forward_width,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "conv_dim": [c.conv_width] * len(c.conv_kernels),
        "conv_kernel": list(c.conv_kernels),
        "conv_stride": list(c.conv_strides),
        "num_conv_pos_embeddings": c.position_kernel,
        "num_conv_pos_embedding_groups": c.position_groups,
        "classifier_proj_size": c.projection,
        "feat_extract_norm": "group",
        "conv_bias": False,
        "do_stable_layer_norm": False,
        "layer_norm_eps": c.norm_epsilon,
    }
    (encoder / "config.json").write_text(json.dumps(config))
    write_safetensors(encoder / "model.safetensors", random_weights(content_encoder_shapes(c)), {})
    save(folder / "rmvpe.pt", random_weights(rmvpe_shapes(FULL_RMVPE)))


def in_subprocess(write: Callable[..., object], *arguments: object) -> None:
    """Write in a subprocess; the peak memory of later subprocesses includes that of this one."""
    process = multiprocessing.get_context("spawn").Process(target=write, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{write.__name__} failed")


def run(*words: str, home: Path) -> bool:
    """Run a command of rtvc; print its time and memory, and its output if it failed."""
    began = time.perf_counter()
    environment = os.environ | {"RTVC_HOME": str(home), "RTVC_CONFIG_DIR": str(home / "config")}
    process = subprocess.Popen(
        [sys.executable, "-m", "rtvc", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1e6 if sys.platform == "darwin" else 1e3
    shown = " ".join(Path(word).name if "/" in word else word for word in words)
    print(
        f"{time.perf_counter() - began:6.1f} s  {used.ru_maxrss / unit:5.0f} MB  rtvc {shown}",
        flush=True,
    )
    if process.returncode:
        print(output)
    return process.returncode == 0


def check_memory(names: Sequence[str]) -> bool:
    """Convert with one voice after the other and keep both; return whether memory is in the limits.

    Runs in a subprocess, with the library's folder in its environment.
    """
    chains, used_mb = [], []
    noise = np.random.default_rng(0).standard_normal(4800).astype(np.float32)
    for name in names:
        settings = Settings(voice=name, gate=-90.0)
        chains.append(Chain(find_voice(name), settings))
        for _ in range(_STEPS):
            chains[-1].step(0.1 * noise, settings)
        trim_memory()
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        used_mb.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    second_mb = used_mb[1] - used_mb[0]
    print(f"{used_mb[0]:.0f} MB with {names[0]}, and {second_mb:.0f} MB more with {names[1]}")
    return used_mb[0] < MAX_MB and second_mb < MAX_SECOND_MB


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", choices=[*KINDS, []])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--check-memory", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.check_memory:
        return int(not check_memory(args.check_memory))
    print(json.dumps({"hardware": hardware(), "versions": versions()}))
    passed = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        home = folder / "home"
        speech, rate = soundfile.read(FOLDER / "2086-149214-0000.wav", dtype="float32")
        soundfile.write(folder / "talk.wav", np.resize(speech, round(args.seconds * rate)), rate)
        in_subprocess(write_base_models, folder / "models")
        passed &= run("setup", "--from", str(folder / "models"), home=home)
        for kind in args.kinds or KINDS:
            file = folder / f"{kind}.pth"
            in_subprocess(write_voice, file, *KINDS[kind])
            print(f"{kind}: {file.stat().st_size / 1e6:.0f} MB")
            passed &= run("voices", "add", str(file), "--name", kind, "--no-level", home=home)
            file.unlink()
            for quality in ("live", "offline"):
                out = folder / f"{kind}-{quality}.wav"
                words = ["--voice", kind, "--quality", quality]
                if not run("convert", str(folder / "talk.wav"), str(out), *words, home=home):
                    passed = False
                    continue
                sound, made_rate = soundfile.read(out)
                level = float(np.sqrt(np.mean(sound**2)))
                correct = (
                    abs(len(sound) / made_rate - args.seconds) < 1e-3
                    and bool(np.isfinite(sound).all())
                    and level > 1e-3
                )
                passed &= correct
                outcome = "correct" if correct else "WRONG"
                print(f"         {outcome}: {len(sound)} samples, rms {level:.3f}")
            passed &= run("voices", "remove", kind, "--forever", home=home)
        if sys.platform == "linux":  # memory is read from /proc
            for kind in MEMORY_KINDS:
                in_subprocess(write_voice, folder / f"{kind}.pth", *KINDS[kind])
                passed &= run("voices", "add", str(folder / f"{kind}.pth"), "--no-level", home=home)
            command = [
                sys.executable,
                "-m",
                "benchmarks.full_size",
                "--check-memory",
                *MEMORY_KINDS,
            ]
            environment = os.environ | {"RTVC_HOME": str(home)}
            passed &= subprocess.run(command, env=environment, check=False).returncode == 0
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
