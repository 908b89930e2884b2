"""The statistics that the engine thread publishes."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import Any

from rtvc.engine.chain import Chain, Step
from rtvc.engine.step_timer import StepTimer
from rtvc.settings import SETTINGS
from rtvc.stats import State, Stats

_SHAPE = tuple(name for name, setting in SETTINGS.items() if setting.shape)


class EngineStats:
    """Collects statistics on the engine thread; any thread may `read` them."""

    def __init__(self) -> None:
        self._stats = Stats()
        self._step_timer = StepTimer()
        self._stage_timers: defaultdict[str, StepTimer] = defaultdict(StepTimer)

    def read(self) -> Stats:
        """Return a snapshot."""
        return dataclasses.replace(
            self._stats,
            step=self._step_timer.read(),
            stages={name: timer.read() for name, timer in list(self._stage_timers.items())},
        )

    def publish(self, **changes: Any) -> None:
        """Change single values."""
        self._stats = dataclasses.replace(self._stats, **changes)

    def publish_chain(self, chain: Chain, device_latency: tuple[float, float]) -> None:
        """Publish the voice, the settings and the latency of the chain in use."""
        device_in, device_out = device_latency
        latency = dataclasses.replace(chain.latency, device_in=device_in, device_out=device_out)
        built_for = chain.built_for
        self.publish(
            latency=latency,
            voice=built_for.voice,
            in_use=dict(zip(_SHAPE, built_for.shape, strict=True)),
            features=tuple(sorted(chain.features)),
            speakers=chain.speakers,
        )

    def publish_device_latency(self, device_latency: tuple[float, float]) -> None:
        """Publish the latency of devices that were opened again."""
        device_in, device_out = device_latency
        latency = dataclasses.replace(
            self._stats.latency, device_in=device_in, device_out=device_out
        )
        self.publish(latency=latency)

    def publish_step(self, step: Step, seconds: float, state: State, **others: Any) -> None:
        """Publish the result of a step that took `seconds` seconds, and other values."""
        self._step_timer.add(seconds)
        for name, part in step.stages.items():
            self._stage_timers[name].add(part)
        self.publish(
            state=state,
            blocks=self._stats.blocks + 1,
            repaired_blocks=self._stats.repaired_blocks + step.repaired,
            gate_open=step.gate_open,
            idle=step.idle,
            feedback=step.feedback,
            input_f0_hz=step.input_f0_hz,
            output_f0_hz=step.output_f0_hz,
            input=step.input_level,
            conditioned=step.conditioned_level,
            output=step.output_level,
            limited_db=step.limited_db,
            auto_pitch=step.auto_pitch,
            **others,
        )

    def count_failed_step(self) -> None:
        """Count a step that raised an error."""
        self.publish(failed_steps=self._stats.failed_steps + 1)
