"""Builds chains for the requested settings, with sizes and degradation applied."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from weakref import WeakKeyDictionary

from rtvc.audio.endpoint import Endpoint
from rtvc.calibration.sizing import Sizing
from rtvc.engine.auto_sizes import AutoSizes
from rtvc.engine.chain import Chain, Observer
from rtvc.engine.degradation import Degradation
from rtvc.engine.degradation_levels import NOT_DEGRADED, DegradationLevel, make_levels
from rtvc.engine.first_chain import measured_chain
from rtvc.engine.output_guard import FallsBack, OutputGuard
from rtvc.engine.voice import Voice, VoiceError
from rtvc.engine.worker import Worker
from rtvc.settings import Settings

_MOST_HANGING = 4
"""Threads of a voice that hang from which on no more are started: another one would hang too."""
THREADS_HANG = (
    "Several threads of the engine do not respond. Choose another voice, or restart rtvc."
)


class ChainBuilder:
    """Knows the settings in use, and starts workers that build chains.

    Parameters
    ----------
    endpoint
        The endpoint of the engine. Sizes and degradation are applied only if it has deadlines.
    settings
        The requested settings.
    find_voice, sizing, preload_estimator, observer
        As for `rtvc.engine.engine.Engine`.

    Attributes
    ----------
    requested
        The requested settings. Any thread may exchange them.
    degradation
        Selects the degradation level.
    auto
        Decides block and headroom with ``Settings.latency`` ``auto``.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        find_voice: Callable[[str], Voice],
        sizing: Sizing,
        *,
        preload_estimator: Callable[[Settings], AbstractContextManager[object]] = nullcontext,
        observer: Observer | None = None,
    ) -> None:
        self._realtime, self._wall_clock = endpoint.realtime, endpoint.wall_clock
        self._find_voice = find_voice
        self._sizing = sizing
        self._preload_estimator = preload_estimator
        self._observer = observer
        self._guard = OutputGuard()
        self.requested = settings
        self.degradation = Degradation()
        self.auto = AutoSizes(sizing)
        self._voice_kinds: dict[str, str] = {}
        """Voice kind by voice name, for the voices loaded so far."""
        self._workers: WeakKeyDictionary[Worker, str] = WeakKeyDictionary()
        """The workers that were started, with the voice of each."""
        self._levels: tuple[DegradationLevel, ...] = (NOT_DEGRADED,)
        self._levels_for: tuple[object, ...] = ()
        """Shape settings, voice kind, automatic and chosen sizes that `_levels` was made for."""

    def choose_sizes(self, names: frozenset[str]) -> None:
        """Use these sizes as they are requested, also at their default; any thread may call it."""
        self._sizing = replace(self._sizing, chosen=names)
        self.auto.use(self._sizing)

    def effective(self) -> Settings:
        """Return the settings to use: the requested ones with sizes and degradation applied."""
        requested = self.requested
        # Levels depend on shape settings only, so other changes do not rebuild them.
        shape, kind = requested.shape, self.kind(requested)
        sizes = self.auto.sizes(requested, kind) if self._realtime else {}
        made_for = shape, kind, tuple(sizes.values()), self._sizing.chosen
        if self._realtime and self._levels_for != made_for:
            self._levels_for = made_for
            self._levels = self._make_levels(requested)
        return self.degradation.effective(requested, self._levels)

    def effective_for(self, requested: Settings) -> Settings:
        """Return the settings to use if these were requested, while no step is late."""
        if not self._realtime:
            return requested
        # Not by `Degradation.effective`, which would leave the level in use.
        return requested.replace(**self._make_levels(requested)[0].changes)

    def start(self, settings: Settings, *, background: bool = False) -> Worker:
        """Start a worker that builds a chain for these effective settings.

        Parameters
        ----------
        settings
            The settings of the chain.
        background
            Whether another chain converts meanwhile, which must not be disturbed.
        """
        requested = self.requested
        worker = Worker(
            lambda: self._build(settings, requested, measured=not background),
            background=background and self._wall_clock,
        )
        self._workers[worker] = settings.voice_to_load
        return worker

    def too_many_hang(self, settings: Settings) -> bool:
        """Whether too many threads of this voice hang to start another one; see `THREADS_HANG`."""
        voice = settings.voice_to_load
        hanging = (worker.hangs for worker, its in self._workers.items() if its == voice)
        return sum(hanging) >= _MOST_HANGING

    def _build(self, settings: Settings, requested: Settings, *, measured: bool) -> Chain:
        """Load the voice and build its chain.

        Parameters
        ----------
        settings
            Settings for the chain, derived from `requested` for the voice kind known so far.
        requested
            The requested settings. If loading reveals another voice kind, the sizes that are
            not set explicitly are derived from these again.
        measured
            Whether the sizes may follow from the first steps. While another chain converts these
            take longer than later ones.
        """
        with self._preload_estimator(settings):
            voice = self._load(settings.voice_to_load)
            if self._voice_kinds.get(settings.voice) != voice.kind:
                self._voice_kinds[settings.voice] = voice.kind
                if self._realtime:
                    requested = requested if requested.voice == settings.voice else settings
                    settings = requested.replace(**self._make_levels(requested)[0].changes)
                if measured and self._realtime and self._wall_clock:
                    return self._measured(voice, settings, requested)
            return Chain(voice, settings, self._observer, self._guard)

    def _measured(self, voice: Voice, settings: Settings, requested: Settings) -> Chain:
        """Return the chain, at sizes that its first steps ask for if nothing else tells them."""
        if not (free := self.auto.unknown(requested, voice.kind)):
            return Chain(voice, settings, self._observer, self._guard)
        try:
            first = measured_chain(voice, settings, self._sizing.profile, free)
        except Exception:  # whatever it is, it is dealt with when the first block fails
            return Chain(voice, settings, self._observer, self._guard)
        block, headroom = first.block, first.headroom
        self.auto.start_with(requested, voice.kind, first.points, block, headroom)
        settings = settings.replace(block=block, headroom=headroom)
        same = first.chain if first.chain.built_for.block == block else None
        return Chain(voice, settings, self._observer, self._guard, like=same)

    @property
    def auto_state(self) -> str:
        """Whether the sizes are "settling" or "settled", "" if they are not automatic."""
        requested = self.requested
        return self.auto.state(requested, self.kind(requested)) if self._realtime else ""

    def kind(self, settings: Settings) -> str:
        """Return the kind of a voice that was loaded, "" if it was not."""
        return self._voice_kinds.get(settings.voice, "")

    def _make_levels(self, requested: Settings) -> tuple[DegradationLevel, ...]:
        kind = self.kind(requested)
        sizes = self.auto.sizes(requested, kind)
        return make_levels(requested, self._sizing, kind, sizes)

    def note_failure(self, error: BaseException | None) -> None:
        """Note why there is no output; if it is the computation twice, another way is used."""
        self._guard.note_failure(error)

    def _load(self, name: str) -> Voice:
        """Load a voice, after wrong output or failures to compute in another way."""
        try:
            voice = self._find_voice(name)
        except VoiceError:
            if not self._falls_back(name, _step_down):
                raise
            return self._find_voice(name)
        if isinstance(voice, FallsBack):
            if self._falls_back(name, voice.fall_back):
                return self._find_voice(name)
            self.degradation.notify(voice.notice)
        return voice

    def _falls_back(self, name: str, fall_back: Callable[[], str]) -> bool:
        """Compute in another way if that is due; return whether there is one."""
        why, self._guard.falls_back = self._guard.falls_back, ""
        done = fall_back() if why else ""
        if done:
            self.degradation.notify(f"{why.format(name)}: {done}")
        return bool(done)


def _step_down() -> str:
    from rtvc.engine.selftest.ladder import step_down

    return step_down()
