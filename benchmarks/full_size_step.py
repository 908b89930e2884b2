"""The common flags and the voice of the benchmarks of full-size steps."""

from __future__ import annotations

import argparse

from rtvc.engine.profiling.random_weights import KINDS, random_encoder, random_rmvpe, random_voice
from rtvc.engine.rvc.voice import RvcVoice


def step_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with ``--voice``, ``--block`` and ``--context``."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voice", choices=KINDS, default="v2-40k")
    parser.add_argument("--block", type=float, default=100.0)
    parser.add_argument("--context", type=float, default=500.0)
    return parser


def full_size_voice(kind: str) -> RvcVoice:
    """Return a voice with random weights, its content encoder and RMVPE."""
    rmvpe = random_rmvpe()
    return RvcVoice(kind, random_voice(*KINDS[kind]), random_encoder(), lambda method: rmvpe)
