"""Finds another chain after a failure, and lets it take over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rtvc.audio.endpoint import Endpoint
from rtvc.engine.catch_up import recent_blocks, render_last
from rtvc.engine.chain import Chain
from rtvc.engine.chain_builder import THREADS_HANG, ChainBuilder
from rtvc.engine.chain_in_use import CallFailedError, ChainInUse
from rtvc.engine.chain_switch import ChainSwitch
from rtvc.engine.failures import Failures
from rtvc.engine.input_history import InputHistory
from rtvc.engine.interruption import Interruption
from rtvc.engine.spare import Spare
from rtvc.engine.supervisor import NO_VOICE, Event, sentence
from rtvc.engine.voice_settings import VoiceSettings
from rtvc.engine.watchdog import NoResponseError
from rtvc.engine.worker import LOAD_LIMIT_S, Worker
from rtvc.errors import MissingPackageError, RtvcError

R = TypeVar("R")


class ChainReplacement:
    """The phase REPLACING of the engine: from a failure to the chain that continues.

    Parameters
    ----------
    endpoint
        Audio input and output.
    builder
        Knows the settings in use, and builds chains.
    chain
        The chain in use, which is replaced.
    switch
        Knows the settings for which no chain could be built.
    spare
        A chain that may be ready.
    history
        The newest input, which a chain gets before it takes over.
    voice_settings
        Settings of the voice in use.
    interruption
        What is read and output meanwhile.
    failures
        Counts the failures.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        builder: ChainBuilder,
        *,
        chain: ChainInUse,
        switch: ChainSwitch,
        spare: Spare,
        history: InputHistory,
        voice_settings: VoiceSettings,
        interruption: Interruption,
        failures: Failures,
    ) -> None:
        self._endpoint, self._builder, self._chain = endpoint, builder, chain
        self._switch, self._spare, self._history = switch, spare, history
        self._voice_settings = voice_settings
        self._interruption, self._failures = interruption, failures
        self._candidate: Worker | None = None
        self._candidate_for = builder.requested
        """The settings that `_candidate` is built for."""

    def prepare(self) -> None:
        """Find a chain to continue with: the current one, the spare, or a new one."""
        self.drop()
        self._failures.note_try()
        settings, last = self._builder.effective(), self._chain.built_for
        if last is not None and self._switch.refuses(settings):
            settings = last
        self._candidate_for = settings
        self._candidate = self._chain.worker or self._spare.take(settings)
        if self._endpoint.realtime and (self._candidate is None or not self._interruption.owed):
            self._interruption.conceal_owed()
        if self._candidate is None and not self._builder.too_many_hang(settings):
            self._candidate = self._builder.start(settings)

    def poll(self) -> Event | None:
        """Let the candidate take over once it is ready."""
        worker = self._candidate
        if worker is None:
            return self._failures.fail("no response", THREADS_HANG, pause=True)
        if worker is self._chain.worker:
            return self._continue(worker)
        if not self._endpoint.wall_clock:
            worker.wait()
        if worker.ready.is_set():
            return self._take_over(worker)
        if worker.hangs:
            self._candidate = None
            worker.abandon()
            cause = f"The voice did not load within {LOAD_LIMIT_S:.0f} s."
            return self._failures.fail("no response", cause, pause=True)
        self._interruption.idle()
        changed = self._failures.settings_changed(shape_only=True)
        return Event.SETTINGS_CHANGED if changed else None

    def lack_voice(self, error: BaseException) -> Event:
        """Continue with the voice before, or wait: a file may come back, another one be chosen."""
        self._builder.note_failure(error)
        last = self._chain.built_for
        if last is not None and last.voice != self._candidate_for.voice:
            self._switch.refuse(sentence(error), self._candidate_for)
            return self._failures.fail(NO_VOICE, f"No voice: {sentence(error)}")
        if isinstance(error, MissingPackageError):
            return self._failures.fail("failed build", str(error), pause=True)
        if isinstance(error, RtvcError):
            cause = f"No voice: {error} Choose another voice."
            return self._failures.fail(NO_VOICE, cause, pause=True)
        cause = f"The engine failed: {sentence(error)}"
        return self._failures.fail("failed build", cause, pause=True)

    def drop(self) -> None:
        """Give the candidate up."""
        candidate, self._candidate = self._candidate, None
        if candidate is not None and candidate is not self._chain.worker:
            candidate.close()

    def _continue(self, worker: Worker) -> Event:
        """Let the present chain go on without the sound that it holds: the devices were away."""
        self._candidate = None
        chain = worker.chain
        assert chain is not None
        settings = self._voice_settings.use(chain.built_for, self._builder.effective())
        failure = self._ask(worker, lambda chain: chain.forget(settings))
        if isinstance(failure, Event):
            return failure
        self._chain.use(worker)
        return Event.CHAIN_READY

    def _ask(self, worker: Worker, use: Callable[[Chain], R]) -> R | Event:
        """Return the result of a call on the thread of a worker, or the event if it fails."""
        try:
            return self._chain.ask(worker, use)
        except NoResponseError as error:
            self._chain.abandon(worker)
            self._interruption.drop_input()
            return self._failures.fail("no response", str(error))
        except CallFailedError as error:
            self._builder.note_failure(error.__cause__)
            if worker is self._chain.worker:
                self._chain.drop()
            else:
                worker.close()
            return self._failures.fail("failed step", str(error))

    def _take_over(self, worker: Worker) -> Event:
        self._candidate = None
        if worker.chain is None:
            assert worker.error is not None
            return self.lack_voice(worker.error)
        built_for = worker.chain.built_for
        settings = self._voice_settings.use(built_for, self._builder.effective())
        blocks = recent_blocks(self._history, worker.chain)
        if self._chain.learned is not None:
            worker.chain.continue_with(self._chain.learned, sum(map(len, blocks)))
        self._chain.promote(worker)
        rendered = self._ask(worker, lambda chain: render_last(chain, blocks, settings))
        if isinstance(rendered, Event):
            return rendered
        self._interruption.end(rendered)
        self._chain.use(worker)
        return Event.CHAIN_READY
