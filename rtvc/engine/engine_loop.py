"""The engine thread: moves blocks between an endpoint and a chain, and supervises the chain."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from rtvc.audio.endpoint import ENGINE_RATE, DeviceLostError, Endpoint
from rtvc.engine.block_conversion import BlockConversion
from rtvc.engine.catch_up import HISTORY_S
from rtvc.engine.chain_builder import ChainBuilder
from rtvc.engine.chain_in_use import ChainInUse
from rtvc.engine.chain_replacement import ChainReplacement
from rtvc.engine.chain_switch import ChainSwitch
from rtvc.engine.delivery import Delivery
from rtvc.engine.engine_stats import EngineStats
from rtvc.engine.failures import Failures
from rtvc.engine.handover import Handover
from rtvc.engine.heartbeat import Heartbeat
from rtvc.engine.input_history import InputHistory
from rtvc.engine.input_reader import AudioThreadError, InputReader
from rtvc.engine.interruption import Interruption
from rtvc.engine.spare import Spare
from rtvc.engine.supervisor import Event, Phase, Supervisor, sentence
from rtvc.engine.voice_bank import FollowVoice, VoiceBank
from rtvc.engine.voice_settings import VoiceSettings
from rtvc.engine.watchdog import Watchdog
from rtvc.engine.worker import Worker
from rtvc.stats import State
from rtvc.system.thread_priority import raise_thread_priority, reset_thread_priority

_REOPEN_PAUSE_S = 0.05
"""Time between two requests to reopen a lost device: when to try is the endpoint's decision."""


class EngineLoop:
    """Runs on the engine thread from the first block to the last, whatever fails.

    It computes nothing with MLX: chains live on threads of their own (`Worker`), which never
    touch the endpoint. A thread that hangs is abandoned, and does no harm when it wakes up.

    Each phase has its own class: `BlockConversion` converts, `ChainReplacement` finds another
    chain after a failure, `Interruption` outputs what there is meanwhile.

    Parameters
    ----------
    endpoint
        Audio input and output.
    builder
        Knows the settings in use, and builds chains.
    follow
        Returns the settings after a change to another voice.
    fail_open
        Whether the input is output unconverted while no chain can convert it.
    """

    def __init__(
        self, endpoint: Endpoint, builder: ChainBuilder, follow: FollowVoice, *, fail_open: bool
    ) -> None:
        self._endpoint, self._builder = endpoint, builder
        self.delivery = Delivery(endpoint, ENGINE_RATE)
        self.supervisor = Supervisor()
        self.stats = EngineStats()
        self.watchdog = Watchdog(endpoint)
        self.heartbeat = Heartbeat(self.delivery, self.watchdog)
        self._history = history = InputHistory(round(HISTORY_S * ENGINE_RATE))
        reader = InputReader(endpoint, history)
        waits = not endpoint.wall_clock
        self.bank = VoiceBank(builder, follow, synchronous=waits)
        self.switch = ChainSwitch(builder, self.bank, history, synchronous=waits)
        self.chain = ChainInUse(endpoint, self.watchdog, self.stats)
        self._handover = Handover(self.bank, self.chain, history, synchronous=waits)
        self._spare = Spare(builder, synchronous=waits)
        voice_settings = VoiceSettings()
        self._interruption = Interruption(
            endpoint,
            builder,
            chain=self.chain,
            delivery=self.delivery,
            reader=reader,
            fail_open=fail_open,
        )
        self._failures = Failures(endpoint, builder, self.supervisor)
        self._conversion = BlockConversion(
            endpoint,
            builder,
            chain=self.chain,
            switch=self.switch,
            handover=self._handover,
            spare=self._spare,
            bank=self.bank,
            history=history,
            reader=reader,
            delivery=self.delivery,
            voice_settings=voice_settings,
            interruption=self._interruption,
            supervisor=self.supervisor,
            failures=self._failures,
            stats=self.stats,
        )
        self._replacement = ChainReplacement(
            endpoint,
            builder,
            chain=self.chain,
            switch=self.switch,
            spare=self._spare,
            history=history,
            voice_settings=voice_settings,
            interruption=self._interruption,
            failures=self._failures,
        )
        self._act: dict[Phase, Callable[[], Event | None]] = {
            Phase.RUNNING: self._conversion.convert_next,
            Phase.REPLACING: self._replacement.poll,
            Phase.WAITING: self._wait_for_retry,
            Phase.DEVICE_LOST: self._reopen,
        }
        self._on_entry: dict[Phase, Callable[[], None]] = {
            Phase.REPLACING: self._replacement.prepare,
            Phase.WAITING: self._give_up,
            Phase.DEVICE_LOST: self._interruption.lose_devices,
        }
        self._entry: Callable[[], None] | None = None
        """What the phase begins with, until the next turn."""

    @property
    def bypassing(self) -> bool:
        """Whether the input is output unconverted because no chain can convert it."""
        return self._interruption.bypassing

    @property
    def fatal(self) -> str:
        """Why a run without deadlines has ended early, "" if it has not."""
        return self._failures.fatal

    def resync(self, cause: str) -> None:
        """Replace the chain because its latency is not the stated one; from any thread."""
        self._conversion.resync(cause)

    def begin(self, worker: Worker, error: BaseException | None) -> None:
        """Take the first worker, or the reason why it has no chain; before `run`, on any thread."""
        if error is None:
            self.chain.promote(worker)
            self.chain.use(worker)
            self._enter(Event.CHAIN_READY)
        else:
            # Until there is a chain, what is output meanwhile needs a headroom too.
            self.chain.headroom = round(self._builder.effective().headroom * ENGINE_RATE / 1000)
            self._enter(self._replacement.lack_voice(error))

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
        self._finish()

    def _turn(self) -> None:
        """Do what the phase asks for, and enter the next one."""
        entry, self._entry = self._entry, None
        if entry is not None:
            entry()
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
        """Enter the phase that follows; what it begins with may fail, in the next turn."""
        self._entry = self._on_entry.get(self.supervisor.handle(event))

    def _survive(self, error: BaseException) -> None:
        """Start again after an error that nothing else has handled."""
        if not self._endpoint.realtime:
            self._failures.fatal = sentence(error)
            self._enter(Event.STOP)
            return
        self.chain.drop()
        cause = f"The engine failed: {sentence(error)}"
        self._enter(self._failures.fail("engine error", cause))
        self.watchdog.wait(0.02)  # not a whole core, if it fails again and again

    def _give_up(self) -> None:
        """Fade to silence until the next try."""
        self.chain.drop()
        self._replacement.drop()
        self._interruption.conceal_owed()

    def _wait_for_retry(self) -> Event | None:
        self._interruption.idle()
        if self._failures.settings_changed():
            return Event.SETTINGS_CHANGED
        return Event.RETRY_DUE if self.supervisor.retry_due(self._endpoint.now()) else None

    def _reopen(self) -> Event | None:
        """Try to reopen the endpoint."""
        if not self._endpoint.reconnect():
            if self._endpoint.wall_clock:
                self.watchdog.wait(_REOPEN_PAUSE_S)
            return None
        self.delivery.restart()
        # What takes over from now on must not output what came before.
        self._history.forget()
        self._handover.cancel()
        self.switch.forget()
        self.stats.publish_device_latency(self._endpoint.latency)
        self.stats.publish(state=State.STARTING, reason="")
        return Event.DEVICE_BACK

    def _finish(self) -> None:
        if self._endpoint.realtime and not self._endpoint.finished:
            with contextlib.suppress(Exception):  # the output ends without a fade then
                self.delivery.fade_out()
        self._replacement.drop()
        self.chain.drop()
        self._spare.close()
        self._handover.cancel()
        self.bank.close()
        self.switch.cancel()
