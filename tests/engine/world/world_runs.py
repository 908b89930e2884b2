"""Signals through the built-in voice."""

from __future__ import annotations

import dataclasses

import numpy as np

from rtvc._types import Float32
from rtvc.engine.plan import Plan, make_plan
from rtvc.engine.world.voice import WorldVoice
from rtvc.settings import Settings

FRAME = 480
VOICE = WorldVoice()


def plan_of(settings: Settings) -> Plan:
    return make_plan(
        settings, voice_lookahead=VOICE.lookahead_frames(settings), continuous=VOICE.continuous
    )


def convert(signal: Float32, settings: Settings, block_ms: int = 200) -> Float32:
    """The whole signal in blocks, with the latency taken off: as long as the input."""
    plan = dataclasses.replace(plan_of(settings), block=block_ms // 10)
    stream = VOICE.open(plan, settings)
    late = plan.lookahead * FRAME
    block = block_ms * 48
    fed = np.concatenate([signal, np.zeros(late + -(len(signal) + late) % block, np.float32)])
    parts = [stream.render(fed[k : k + block], settings) for k in range(0, len(fed), block)]
    return np.concatenate([part.audio for part in parts])[late : late + len(signal)]
