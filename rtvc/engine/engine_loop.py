"""The engine thread: moves blocks between an endpoint and a chain, and supervises the chain."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE, DeviceLostError, Endpoint
from rtvc.engine.bypass import Bypass
from rtvc.engine.catch_up import HISTORY_S, recent_blocks, render_last, skip_blocks
from rtvc.engine.chain import Chain
from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.chain_switch import LOAD_LIMIT_S, ChainSwitch
from rtvc.engine.delivery import Delivery
from rtvc.engine.engine_stats import EngineStats
from rtvc.engine.heartbeat import Heartbeat
from rtvc.engine.input_history import InputHistory
from rtvc.engine.input_reader import AudioThreadError, InputReader
from rtvc.engine.spare import Spare
from rtvc.engine.supervisor import NO_VOICE, Event, Phase, Supervisor, sentence
from rtvc.engine.voice_settings import VoiceSettings
from rtvc.engine.watchdog import NoResponseError, Watchdog
from rtvc.engine.worker import Worker
from rtvc.errors import RtvcError
from rtvc.settings import Settings
from rtvc.stats import State
from rtvc.system.background import urgent
from rtvc.system.thread_priority import raise_thread_priority, reset_thread_priority

R = TypeVar("R")

_MAX_ABANDONED = 4
"""Abandoned threads from which on no more are started: another one would hang too."""
_OLD_INPUT_S = 1.5
"""Unread input from which on all of it is dropped: there was a stall, and the rings overflow."""
_IDLE_BLOCK = ENGINE_RATE // 50
"""Samples that are read at a time while there is no chain."""
_REOPEN_PAUSE_S = 0.05
"""Time between two requests to reopen a lost device: when to try is the endpoint's decision."""


class _CallFailedError(Exception):
    """A call of a chain has raised an error."""


class EngineLoop:
    """Runs on the engine thread from the first block to the last, whatever fails.

    It computes nothing with MLX: chains live on threads of their own (`Worker`), which never
    touch the endpoint. A thread that hangs is abandoned, and does no harm when it wakes up.

    Parameters
    ----------
    endpoint
        Audio input and output.
    builder
        Knows the settings in use, and builds chains.
    fail_open
        Whether the input is output unconverted while no chain can convert it.
    """

    def __init__(self, endpoint: Endpoint, builder: ChainBuilder, *, fail_open: bool) -> None:
        self._endpoint, self._builder = endpoint, builder
        self.delivery = Delivery(endpoint, ENGINE_RATE)
        self.supervisor = Supervisor()
        self.stats = EngineStats()
        self.watchdog = Watchdog(endpoint)
        self.heartbeat = Heartbeat(self.delivery, self.watchdog)
        self._history = InputHistory(round(HISTORY_S * ENGINE_RATE))
        self._input = InputReader(endpoint, self._history)
        waits = not endpoint.wall_clock
        self.switch = ChainSwitch(builder, self._history, synchronous=waits)
        self._spare = Spare(builder, synchronous=waits)
        self._voice_settings = VoiceSettings()
        self._bypass = Bypass(self.delivery) if fail_open and endpoint.realtime else None
        self.worker: Worker | None = None
        self._candidate: Worker | None = None
        self._candidate_for = builder.requested
        """The settings that `_candidate` is built for."""
        self._candidate_due = 0.0
        self._last_built_for: Settings | None = None
        """The settings of the last chain in use."""
        self._headroom = 0
        self._abandoned: list[Worker] = []
        self._owed = 0
        """Samples of the block that was read and not delivered, because its step has failed."""
        self._settings_tried: Settings | None = None
        """The requested settings at the last failure or try."""
        self._resync_causes: deque[str] = deque(maxlen=1)
        self.fatal = ""
        """Why a run without deadlines has ended early, "" if it has not."""
        self._act: dict[Phase, Callable[[], Event | None]] = {
            Phase.RUNNING: self._convert_next,
            Phase.REPLACING: self._replace,
            Phase.WAITING: self._wait_for_retry,
            Phase.DEVICE_LOST: self._reopen,
        }
        self._on_entry: dict[Phase, Callable[[], None]] = {
            Phase.RUNNING: lambda: None,
            Phase.REPLACING: self._prepare,
            Phase.WAITING: self._give_up,
            Phase.DEVICE_LOST: lambda: None,
            Phase.STOPPED: self._finish,
        }

    @property
    def bypassing(self) -> bool:
        """Whether the input is output unconverted because no chain can convert it."""
        return self._bypass is not None and self._bypass.active

    def resync(self, cause: str) -> None:
        """Replace the chain because its latency is not the stated one; from any thread."""
        self._resync_causes.append(cause)

    def begin(self, worker: Worker) -> None:
        """Take the first worker, which has ended its building; before `run`, on any thread."""
        if worker.error is None:
            self._promote(worker)
            self._use(worker)
            self._enter(Event.CHAIN_READY)
        else:
            self._headroom = round(self._builder.effective().headroom * ENGINE_RATE / 1000)
            self._enter(self._lack_voice(worker.error))

    def run(self) -> None:
        """Run until the end."""
        reset_thread_priority()
        if self._endpoint.wall_clock:
            raise_thread_priority()
        while self.supervisor.phase is not Phase.STOPPED:
            try:
                self._turn()
            except BaseException as error:  # SystemExit too: only a request to stop ends it
                self._survive(error)

    def _turn(self) -> None:
        """Do what the phase asks for, and enter the next one."""
        if (error := self.heartbeat.take_error()) is not None:
            self.supervisor.count("heartbeat", f"The heartbeat failed: {sentence(error)}")
        try:
            ended = self.watchdog.stop_requested or self._endpoint.finished
            event = Event.STOP if ended else self._act[self.supervisor.phase]()
        except DeviceLostError as loss:
            kind = "audio thread" if isinstance(loss, AudioThreadError) else "device lost"
            self.supervisor.count(kind, str(loss))
            self.stats.publish(state=State.DEVICE_LOST, reason=str(loss))
            event = Event.DEVICE_LOST
        if event is not None:
            self._enter(event)

    def _enter(self, event: Event) -> None:
        self._on_entry[self.supervisor.handle(event)]()

    # Phase RUNNING.

    def _convert_next(self) -> Event | None:
        """Convert the next block, once it has come."""
        worker = self.worker
        assert worker is not None
        assert worker.chain is not None
        chain = worker.chain
        settings = self._builder.effective()
        if self._resync_causes:
            self.supervisor.count("wrong latency", self._resync_causes.popleft())
            self.switch.renew()
        ready = self.switch.poll(chain, settings)
        if ready is not None:
            self._change(ready, worker)
            return None
        # Look often at a chain that is to take over: it should do so between two blocks.
        available = self._input.wait(chain.block, 0.01 if self.switch.loading else 0.1)
        if available < chain.block:
            return None
        # Settings changed while waiting apply to this block.
        latest = self._builder.effective()
        if latest.shape == settings.shape:
            settings = latest
        block = self._input.read(chain.block)
        try:
            self._convert(worker, chain, block, settings, available - chain.block)
        except NoResponseError as error:
            return self._abandon(worker, error)
        except _CallFailedError as error:
            self._owed = chain.block
            self._drop_worker()
            return self._fail("failed step", str(error))
        return None

    def _convert(
        self, worker: Worker, chain: Chain, block: Float32, settings: Settings, surplus: int
    ) -> None:
        endpoint, delivery = self._endpoint, self.delivery
        if endpoint.realtime:
            if surplus > _OLD_INPUT_S * ENGINE_RATE:
                # What follows in the rings is old, and input after it is lost.
                delivery.discard(chain.block + self._input.read_all())
                missed = recent_blocks(self._history, chain)
                self._ask(worker, lambda chain: skip_blocks(chain, missed, settings))
                return
            delivery.hold_latency(surplus, chain.headroom)
            if delivery.pending_drop >= chain.block:
                self._ask(worker, lambda chain: chain.skip(block, settings))
                delivery.skip(chain.block)
                return
        started, endpoint_started = time.perf_counter(), endpoint.now()
        used = self._voice_settings.use(chain.built_for.voice, settings)
        with urgent():
            step = self._ask(worker, lambda chain: chain.step(block, used))
        seconds, now = time.perf_counter() - started, endpoint.now()
        if endpoint.realtime:
            late = delivery.deliver(step.output)
            if step.rendered and chain.built_for.shape == settings.shape:
                self._builder.degradation.record_step(now, now - endpoint_started, late=late)
            else:
                self._builder.degradation.skip_step(now)
            self._spare.keep(chain.built_for, now)
        else:
            endpoint.write(step.output)
        self.supervisor.worked()
        self.stats.publish_step(step, seconds, chain.state(used))
        if chain.built_for.shape == self._builder.effective().shape:
            degradation = self._builder.degradation
            self.stats.publish(reason=degradation.message(now), degraded=degradation.degraded)
        else:
            self.stats.publish(reason=self.switch.refusal)

    def _change(self, new: Worker, old: Worker) -> None:
        """Let the chain for other settings take over."""
        assert new.chain is not None
        assert old.chain is not None
        settings = self._builder.effective()
        blocks = self.switch.missed(new.chain)
        self._promote(new)
        try:
            rendered = self.switch.rendered
            if blocks:
                rendered = self._ask(new, lambda chain: render_last(chain, blocks, settings))
        except (NoResponseError, _CallFailedError) as error:
            new.abandon() if isinstance(error, NoResponseError) else new.close()
            self.switch.reject(str(error), settings)
            return
        longer = new.chain.block + new.chain.headroom - old.chain.block - old.chain.headroom
        if self._endpoint.realtime:
            self.delivery.change_latency(longer, rendered)
        old.close()
        self._use(new)

    def _use(self, worker: Worker) -> None:
        assert worker.chain is not None
        self.worker, self._headroom = worker, worker.chain.headroom
        self._last_built_for = worker.chain.built_for
        self.stats.publish_chain(worker.chain, self._endpoint.latency)

    def _promote(self, worker: Worker) -> None:
        """Run the calls of a worker with high priority: it takes over."""
        if self._endpoint.wall_clock:
            worker.promote()

    def _ask(self, worker: Worker, use: Callable[[Chain], R]) -> R:
        try:
            return self.watchdog.ask(worker, use)
        except NoResponseError:
            raise
        except BaseException as error:  # SystemExit too: it was raised on the worker's thread
            self.stats.count_failed_step()
            raise _CallFailedError(f"The engine failed: {sentence(error)}") from error

    # Failures.

    def _fail(self, kind: str, cause: str, *, pause: bool = False) -> Event:
        """Count a failure, and return the event that it is."""
        self._settings_tried = self._builder.requested
        event = self.supervisor.fail(kind, cause, self._endpoint.now(), pause=pause)
        if not self._endpoint.realtime and event is Event.FAILED_REPEATEDLY:
            self.fatal = cause
            return Event.STOP
        return event

    def _lack_voice(self, error: BaseException) -> Event:
        """Continue with the voice before, or wait: a file may come back, another one be chosen."""
        last = self._last_built_for
        if last is not None and last.voice != self._candidate_for.voice:
            self.switch.refuse(sentence(error), self._candidate_for)
            return self._fail(NO_VOICE, f"No voice: {sentence(error)}")
        if isinstance(error, RtvcError):
            return self._fail(NO_VOICE, f"No voice: {error} Choose another voice.", pause=True)
        return self._fail("failed build", f"The engine failed: {sentence(error)}", pause=True)

    def _abandon(self, worker: Worker, error: NoResponseError) -> Event:
        """Give up a call that does not end, and all input that has come meanwhile."""
        worker.abandon()
        self._abandoned = [w for w in (*self._abandoned, worker) if not w.dead]
        self.worker = None
        if self._endpoint.realtime:
            self.delivery.discard(self._input.read_all())
        return self._fail("no response", str(error))

    def _survive(self, error: BaseException) -> None:
        """Start again after an error that nothing else has handled."""
        if not self._endpoint.realtime:
            self.fatal = sentence(error)
            self._enter(Event.STOP)
            return
        self._drop_worker()
        self._enter(self._fail("engine error", f"The engine failed: {sentence(error)}"))
        self.watchdog.wait(0.02)  # not a whole core, if it fails again and again

    def _drop_worker(self) -> None:
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.close()

    # Phase REPLACING.

    def _prepare(self) -> None:
        """Find a chain to continue with: the current one, the spare, or a new one."""
        self._drop_candidate()
        self._settings_tried = self._builder.requested
        settings = self._builder.effective()
        if self._last_built_for is not None and self.switch.refuses(settings):
            settings = self._last_built_for
        self._candidate_for = settings
        self._candidate = self.worker or self._spare.take(settings)
        if self._endpoint.realtime and (self._candidate is None or not self._owed):
            self._conceal_owed()
        if self._candidate is None and sum(not w.dead for w in self._abandoned) < _MAX_ABANDONED:
            self._candidate = self._builder.start(settings)
            self._candidate_due = time.monotonic() + LOAD_LIMIT_S

    def _replace(self) -> Event | None:
        """Let the candidate take over once it is ready."""
        worker = self._candidate
        if worker is None:
            cause = "Several threads of the engine do not respond. Restart rtvc."
            return self._fail("no response", cause, pause=True)
        if worker is self.worker:
            self._candidate = None
            self._use(worker)
            return Event.CHAIN_READY
        if not self._endpoint.wall_clock:
            worker.ready.wait(LOAD_LIMIT_S)
        if worker.ready.is_set():
            return self._take_over(worker)
        if time.monotonic() > self._candidate_due:
            self._candidate = None
            worker.abandon()
            cause = f"The voice did not load within {LOAD_LIMIT_S:.0f} s."
            return self._fail("no response", cause, pause=True)
        self._idle()
        return Event.SETTINGS_CHANGED if self._changed(shape_only=True) else None

    def _take_over(self, worker: Worker) -> Event:
        self._candidate = None
        if worker.chain is None:
            assert worker.error is not None
            return self._lack_voice(worker.error)
        voice = worker.chain.built_for.voice
        settings = self._voice_settings.use(voice, self._builder.effective())
        blocks = recent_blocks(self._history, worker.chain)
        self._promote(worker)
        try:
            rendered = self._ask(worker, lambda chain: render_last(chain, blocks, settings))
        except NoResponseError as error:
            return self._abandon(worker, error)
        except _CallFailedError as error:
            worker.close()
            return self._fail("failed step", str(error))
        if self._bypass is not None:
            self._bypass.end()
        if self._owed and not self._endpoint.realtime:
            self._endpoint.write(rendered)
        elif self._owed:
            self.delivery.break_off()
            self.delivery.deliver(rendered)
        self._owed = 0
        self._use(worker)
        return Event.CHAIN_READY

    # Phases WAITING and DEVICE_LOST.

    def _give_up(self) -> None:
        """Fade to silence until the next try."""
        self._drop_worker()
        self._drop_candidate()
        self._conceal_owed()

    def _wait_for_retry(self) -> Event | None:
        self._idle()
        if self._changed():
            return Event.SETTINGS_CHANGED
        return Event.RETRY_DUE if self.supervisor.retry_due(self._endpoint.now()) else None

    def _reopen(self) -> Event | None:
        """Try to reopen the endpoint."""
        if not self._endpoint.reconnect():
            if self._endpoint.wall_clock:
                self.watchdog.wait(_REOPEN_PAUSE_S)
            return None
        self.delivery.restart()
        self.stats.publish_device_latency(self._endpoint.latency)
        self.stats.publish(state=State.STARTING, reason="")
        return Event.DEVICE_BACK

    def _idle(self) -> None:
        """Read the input while there is no chain, so that it does not become old."""
        if not self._endpoint.realtime:
            return
        available = self._input.wait(_IDLE_BLOCK, 0.02)
        if available < _IDLE_BLOCK:
            return
        if self._bypass is None or available > _OLD_INPUT_S * ENGINE_RATE:
            self._input.read_all()
            return
        settings = self._builder.effective()
        block = self._input.read(_IDLE_BLOCK)
        self._bypass.deliver(block, available - _IDLE_BLOCK, self._headroom, settings)

    def _changed(self, *, shape_only: bool = False) -> bool:
        """Return whether other settings are requested than at the last failure or try."""
        tried, requested = self._settings_tried, self._builder.requested
        if tried is None or tried is requested:
            return False
        return not shape_only or tried.shape != requested.shape

    def _conceal_owed(self) -> None:
        """Conceal the block that will not come, and fade to silence until the next one."""
        owed, self._owed = self._owed, 0
        if owed:
            self.delivery.lose(owed)
        if not self.bypassing:
            self.delivery.pause()

    def _drop_candidate(self) -> None:
        candidate, self._candidate = self._candidate, None
        if candidate is not None and candidate is not self.worker:
            candidate.close()

    # Phase STOPPED.

    def _finish(self) -> None:
        if self._endpoint.realtime and not self._endpoint.finished:
            self.delivery.fade_out()
        self._drop_candidate()
        self._drop_worker()
        self._spare.close()
        self.switch.cancel()
