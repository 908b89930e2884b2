"""Converts block by block, and changes the chain between two blocks."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE, Endpoint
from rtvc.calibration.settling import StepSeen
from rtvc.engine.catch_up import recent_blocks, render_last, skip_blocks
from rtvc.engine.chain import Chain, Step
from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.chain_in_use import CallFailedError, ChainInUse
from rtvc.engine.chain_switch import ChainSwitch, differ_in_sizes_only
from rtvc.engine.delivery import Delivery
from rtvc.engine.engine_stats import EngineStats
from rtvc.engine.failures import Failures
from rtvc.engine.handover import WAIT_SHARE, Handover
from rtvc.engine.input_history import InputHistory
from rtvc.engine.input_reader import InputReader
from rtvc.engine.interruption import OLD_INPUT_S, Interruption
from rtvc.engine.spare import Spare
from rtvc.engine.supervisor import Event, Supervisor
from rtvc.engine.voice_bank import VoiceBank
from rtvc.engine.voice_settings import VoiceSettings
from rtvc.engine.watchdog import STEP_LIMIT_S, NoResponseError
from rtvc.engine.worker import Worker
from rtvc.settings import Settings
from rtvc.system.background import urgent

_LOOK_S, _LOOKS = 0.02, 5
"""Time after which the engine looks for changed settings while it waits for input, and how often it
does before it looks at everything else."""


class BlockConversion:
    """The phase RUNNING of the engine.

    Parameters
    ----------
    endpoint
        Audio input and output.
    builder
        Knows the settings in use.
    chain
        The chain in use.
    switch
        Builds the chain for changed shape settings.
    handover
        Changes to a chain that waits.
    spare, bank
        Are kept for the settings in use, and for other voices.
    history, reader
        The newest input, and what reads it.
    delivery
        Writes the output.
    voice_settings
        Settings of the voice in use.
    interruption
        Learns which block a failed step has left open.
    supervisor, failures, stats
        Learn of each step, and of each failure.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        builder: ChainBuilder,
        *,
        chain: ChainInUse,
        switch: ChainSwitch,
        handover: Handover,
        spare: Spare,
        bank: VoiceBank,
        history: InputHistory,
        reader: InputReader,
        delivery: Delivery,
        voice_settings: VoiceSettings,
        interruption: Interruption,
        supervisor: Supervisor,
        failures: Failures,
        stats: EngineStats,
    ) -> None:
        self._endpoint, self._builder, self._in_use = endpoint, builder, chain
        self._switch, self._handover = switch, handover
        self._spare, self._bank = spare, bank
        self._history, self._input, self._delivery = history, reader, delivery
        self._voice_settings, self._interruption = voice_settings, interruption
        self._supervisor, self._failures, self._stats = supervisor, failures, stats
        self._resync_causes: deque[str] = deque(maxlen=1)
        self._last_used = builder.requested
        self._step_s = 0.0
        """The settings of the last step, and the time that it has taken on the endpoint's clock."""

    def resync(self, cause: str) -> None:
        """Replace the chain because its latency is not the stated one; from any thread."""
        self._resync_causes.append(cause)

    def convert_next(self) -> Event | None:
        """Convert the next block, once it has come."""
        worker = self._in_use.worker
        assert worker is not None
        assert worker.chain is not None
        chain = worker.chain
        settings = self._builder.effective()
        if self._resync_causes:
            self._supervisor.count("wrong latency", self._resync_causes.popleft())
            self._switch.renew()
        changing = self._handover.begin(chain, settings)
        if changing:
            self._switch.cancel()
        hold = self._holds(chain, settings)
        ready = None if changing else self._switch.poll(chain, settings, hold=hold)
        if ready is not None:
            self._change(ready, worker)
            return None
        # Look often at a chain that is to take over: it should do so between two blocks.
        available = self._wait(chain.block, often=self._switch.loading or changing)
        if changing:
            self._end(worker, settings, available)
        if available < chain.block:
            return None
        # Settings changed while waiting apply to this block, whatever chain converts it.
        before, settings = settings, self._builder.effective()
        if not changing and settings.shape != before.shape:
            changing = self._handover.begin(chain, settings)
        if (taken := self._handover.take()) is not None:
            changing = False
            worker, asked_for = taken
            assert worker.chain is not None
            chain = worker.chain
            self._voice_settings.use(chain.built_for, asked_for)
            self._in_use.use(worker)
        try:
            block = self._input.read(chain.block)
            self._convert(worker, chain, block, settings, available - chain.block)
            if changing:
                self._handover.skip(chain, block, settings)
        except NoResponseError as error:
            self._in_use.abandon(worker)
            self._interruption.drop_input()
            return self._failures.fail("no response", str(error))
        except CallFailedError as error:
            self._interruption.owed = chain.block
            self._builder.note_failure(error.__cause__)
            self._in_use.drop()
            return self._failures.fail("failed step", str(error))
        finally:
            self._handover.release()
        return None

    def _wait(self, samples: int, *, often: bool) -> int:
        """Wait a while for input, or until other settings are requested; return what there is."""
        if often:
            return self._input.wait(samples, 0.01)
        requested = self._builder.requested
        for _ in range(_LOOKS):
            available = self._input.wait(samples, _LOOK_S)
            if available >= samples or self._builder.requested is not requested:
                break
        return available

    def _convert(
        self,
        worker: Worker,
        chain: Chain,
        block: Float32,
        settings: Settings,
        surplus: int,
    ) -> None:
        if self._endpoint.realtime and self._skipped(worker, chain, block, settings, surplus):
            return
        started, endpoint_started = time.perf_counter(), self._endpoint.now()
        used = self._voice_settings.use(chain.built_for, settings)
        self._last_used = used
        with urgent():
            step = self._in_use.ask(worker, lambda chain: chain.step(block, used))
        output = self._faded(step.output, used) if self._handover.joins else step.output
        seconds, now = time.perf_counter() - started, self._endpoint.now()
        self._step_s = now - endpoint_started
        degradation = self._builder.degradation
        if self._endpoint.realtime:
            if self._builder.requested.latency == "auto":
                took = now - endpoint_started
                self._fit(worker, step, output, settings, took=took, surplus=surplus)
            late = self._delivery.deliver(output)
            if step.rendered and chain.built_for.shape == settings.shape:
                degradation.record_step(now, now - endpoint_started, late=late)
            else:
                degradation.skip_step(now)
            self._spare.keep(chain.built_for, now, [*self._bank.shapes, settings.shape])
            self._bank.tend(chain.built_for, now)
        else:
            self._endpoint.write(output)
        self._supervisor.worked()
        remarks: dict[str, Any] = {"reason": self._switch.refusal}
        if chain.built_for.shape == self._builder.effective().shape:
            reason = degradation.message(now) or chain.missing_speaker(used)
            remarks = {"reason": reason, "degraded": degradation.degraded}
        self._stats.publish_step(step, seconds, chain.state(used), **remarks)

    def _holds(self, chain: Chain, settings: Settings) -> bool:
        """Return whether a change of nothing but automatic sizes waits for silence."""
        if settings.shape == chain.built_for.shape or settings.latency != "auto":
            return False
        if self._builder.auto.may_change(self._endpoint.now()):
            return False
        return differ_in_sizes_only(chain.built_for, settings)

    def _fit(
        self,
        worker: Worker,
        step: Step,
        output: Float32,
        settings: Settings,
        *,
        took: float,
        surplus: int,
    ) -> None:
        """Let the automatic sizes follow from a step, before its output is delivered."""
        chain, builder, now = worker.chain, self._builder, self._endpoint.now()
        assert chain is not None
        requested, built_for = builder.requested, chain.built_for
        if built_for.voice != requested.voice or builder.degradation.level:
            return
        kind = builder.kind(requested)
        changed = builder.auto.adopt(output, now, requested, kind)
        if step.rendered and differ_in_sizes_only(built_for, settings):
            seen = StepSeen(
                now,
                built_for.block,
                built_for.headroom,
                1e3 * took,
                1e3 * (took + surplus / ENGINE_RATE),
                late=self._delivery.late,
                speech=step.gate_open,
            )
            changed |= builder.auto.observe(seen, requested, kind)
        if changed:
            self._use_headroom(worker)

    def _use_headroom(self, worker: Worker) -> None:
        """Use another headroom with the chain in use.

        If the block changes too, another chain does, unless blocks would be late until then.
        """
        chain, settings = worker.chain, self._builder.effective()
        assert chain is not None
        before, built_for = chain.headroom, chain.built_for
        alone = built_for.replace(headroom=settings.headroom).shape == settings.shape
        if alone:
            self._switch.cancel()
        elif not (
            self._builder.auto.urgent
            and settings.headroom > built_for.headroom
            and differ_in_sizes_only(built_for, settings)
        ):
            return
        chain.use_headroom(built_for.replace(headroom=settings.headroom))
        self._in_use.use(worker)
        self._delivery.change_latency(chain.headroom - before, np.zeros(0, np.float32))
        self._builder.auto.changed(chain.built_for, 1e3 * chain.latency.total)

    def _end(self, worker: Worker, settings: Settings, available: int) -> None:
        """Let a chain that is to be replaced render its end, if there is time."""
        assert worker.chain is not None
        last = self._voice_settings.use(worker.chain.built_for, settings)
        left_s = (worker.chain.block - available) / ENGINE_RATE
        self._handover.end(worker, settings, last, left_s=left_s, step_s=self._step_s)

    def _faded(self, output: Float32, settings: Settings) -> Float32:
        share_s = WAIT_SHARE * len(output) / ENGINE_RATE
        timeout = share_s if self._endpoint.wall_clock else STEP_LIMIT_S
        joined = self._handover.join(output, settings.ceiling, timeout)
        if joined is not None:
            return joined
        if self._endpoint.realtime:
            self._delivery.break_off()
        return output

    def _skipped(
        self, worker: Worker, chain: Chain, block: Float32, settings: Settings, surplus: int
    ) -> bool:
        """Return whether a block is not rendered, because the engine is behind."""
        delivery = self._delivery
        if surplus > OLD_INPUT_S * ENGINE_RATE:
            # What follows in the rings is old, and input after it is lost.
            delivery.discard(chain.block + self._input.read_all())
            missed = recent_blocks(self._history, chain)

            def skip_gap(chain: Chain) -> None:
                chain.forget(settings)
                skip_blocks(chain, missed, settings)

            self._in_use.ask(worker, skip_gap)
            return True
        delivery.hold_latency(surplus, chain.headroom)
        if delivery.pending_drop < chain.block:
            return False
        self._in_use.ask(worker, lambda chain: chain.skip(block, settings))
        delivery.skip(chain.block)
        return True

    def _change(self, new: Worker, old: Worker) -> None:
        """Let the chain for other settings take over."""
        assert new.chain is not None
        assert old.chain is not None
        settings = self._builder.effective()
        blocks = self._switch.missed(new.chain)
        new.chain.continue_with(old.chain.learned, sum(map(len, blocks)))
        self._in_use.promote(new)
        try:
            rendered = self._switch.rendered
            if blocks:
                continues = self._switch.feeding
                rendered = self._in_use.ask(
                    new,
                    lambda chain: render_last(chain, blocks, settings, continues=continues),
                )
        except (NoResponseError, CallFailedError) as error:
            new.abandon() if isinstance(error, NoResponseError) else new.close()
            self._switch.reject(str(error), settings)
            return
        longer = new.chain.block + new.chain.headroom - old.chain.block - old.chain.headroom
        if self._endpoint.realtime:
            self._delivery.change_latency(longer, rendered)
        if old.chain.built_for.voice_to_load == new.chain.built_for.voice_to_load:
            old.close()
        else:
            self._bank.give_back(old, self._last_used)
        self._in_use.use(new)
        self._builder.auto.changed(new.chain.built_for, 1e3 * new.chain.latency.total)
