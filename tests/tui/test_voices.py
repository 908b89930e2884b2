"""Voices chosen in the panel: the built-in one, and RVC voices out of a library."""

import dataclasses
import shutil
import threading

import pytest

from rtvc.library.adding import add_voice
from rtvc.library.finding import FoundVoice
from rtvc.library.home import voices_folder
from rtvc.library.open_voice import find_voice
from rtvc.library.setting_up import install_from_folder
from rtvc.live.badge import Badge, BadgeTracker
from rtvc.settings import Settings
from rtvc.stats import Latency, State, Stats, Times
from tests.engine.rvc.rvc_stack import GOLDEN, INDEX
from tests.support.voices import PlainVoice, finder
from tests.tui.conftest import START, in_loop, loudest

pytestmark = pytest.mark.slow

RVC = START.replace(pitch_method="dio", block=500, headroom=1000, context=500)


@pytest.fixture(autouse=True)
def library(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    install_from_folder("contentvec", GOLDEN / "hubert_small" / "model.safetensors")
    install_from_folder("rmvpe", GOLDEN / "rmvpe_small.pt")
    add_voice(FoundVoice(GOLDEN / "voice_v1_f0_40k.pth", INDEX, "Anna"))
    add_voice(FoundVoice(GOLDEN / "voice_v1_f0_48k.pth", None, "Bruno"))


def late(name: str, find):
    """Return `find` that gives one voice only when it is let, and what lets it."""
    let = threading.Event()

    def find_late(wanted: str):
        if wanted == name:
            assert let.wait(60)
        return find(wanted)

    return find_late, let


@pytest.mark.thorough
@in_loop
async def test_the_old_voice_plays_until_the_new_one_is_ready(open_panel):
    find, let = late("Bruno", finder(Anna=PlainVoice("Anna"), Bruno=PlainVoice("Bruno")))
    async with open_panel(size=(120, 30), find_voice=find) as it:
        await it.hears(State.CONVERTED)
        await it.reads("* world (voice)", "Anna (voice) RVC v1, 40 kHz", "Bruno (voice)")
        await it.find("anna")
        await it.until(lambda: it.stats.voice == "Anna")
        await it.find("bruno")
        await it.reads("* Anna (voice)", "Bruno (voice) LOADING")
        assert it.stats.voice == "Anna"
        since = len(it.provider.device.played)
        await it.until(lambda: loudest(it.provider.device, since) > 1e-3)
        assert it.stats.loading
        let.set()
        await it.until(lambda: it.stats.voice == "Bruno" and not it.stats.loading)
        await it.reads("* Bruno (voice)")


def test_the_badge_names_the_voice_that_loads_and_the_one_that_plays():
    stats = Stats(state=State.CONVERTED, voice="Anna", loading=True)
    badge = BadgeTracker().update(stats, Settings(voice="Bruno"), 0.0)
    assert badge.text == "Loading 'Bruno'; 'Anna' keeps playing."
    stats = dataclasses.replace(stats, reason="It failed.", loading=False)
    tracker = BadgeTracker()
    tracker.update(stats, Settings(), 0.0)
    badge = tracker.update(dataclasses.replace(stats, late_blocks=5), Settings(), 1.0)
    assert badge.word == "TOO SLOW"
    assert badge.text.startswith("It failed. 5 late blocks in 10 s."), "the other reason is hidden"


def test_the_badge_tells_a_failure_from_a_slow_machine():
    tracker = BadgeTracker()
    tracker.update(Stats(state=State.CONVERTED), Settings(), 0.0)
    failed = Stats(
        state=State.MUTED,
        reason="The engine failed: MemoryError. The next try follows in 1 s.",
        voice="world",
        restarting=True,
        late_blocks=5,
    )
    badge = tracker.update(failed, Settings(), 1.0)
    assert (badge.word, badge.text) == ("RESTARTING", failed.reason)
    back = dataclasses.replace(failed, state=State.CONVERTED, restarting=False, reason="")
    assert tracker.update(back, Settings(), 2.0).word == "CHANGED VOICE IS LIVE"
    behind = "The engine is behind; audio resumes shortly."
    late = dataclasses.replace(back, state=State.MUTED, late_blocks=6, reason=behind)
    assert tracker.update(late, Settings(), 3.0).word == "RESTARTING", "it has not settled yet"
    late = dataclasses.replace(late, late_blocks=7)
    assert tracker.update(late, Settings(), 7.0).word == "TOO SLOW"


def test_your_own_voice_keeps_its_words_on_a_slow_machine():
    for state, word in ((State.DRY, "YOUR OWN VOICE IS LIVE"), (State.UNCHANGED, "UNCHANGED")):
        tracker = BadgeTracker()
        tracker.update(Stats(state=state), Settings(), 0.0)
        badge = tracker.update(Stats(state=state, late_blocks=5), Settings(), 1.0)
        assert badge.word == word
        assert "your own voice" in badge.others_hear
        assert badge.text.startswith("5 late blocks in 10 s.")


def test_a_device_that_was_never_there_is_not_lost_and_none_that_comes_back_is_slow():
    tracker = BadgeTracker()
    gone = Stats(state=State.DEVICE_LOST, reason="There is no microphone.")
    assert tracker.update(gone, Settings(), 0.0).word == "NO DEVICE"
    runs = Stats(state=State.CONVERTED, voice="world", blocks=20)
    assert tracker.update(runs, Settings(), 9.0).word == "CHANGED VOICE IS LIVE"
    lost = dataclasses.replace(runs, state=State.DEVICE_LOST, reason="It was unplugged.")
    assert tracker.update(lost, Settings(), 10.0).word == "DEVICE LOST"
    for now, late in ((11.0, 4), (12.9, 9)):
        back = dataclasses.replace(runs, late_blocks=late)
        assert tracker.update(back, Settings(), now).word == "CHANGED VOICE IS LIVE"
    slow = dataclasses.replace(runs, late_blocks=12)
    assert tracker.update(slow, Settings(), 15.0).word == "TOO SLOW"


def test_a_remedy_sets_the_size_that_is_too_short():
    def badge(step: Times, settings: Settings) -> Badge:
        tracker = BadgeTracker()
        latency = Latency(block=0.1, headroom=0.08)
        stats = Stats(state=State.CONVERTED, voice="world", latency=latency, step=step)
        tracker.update(stats, settings, 0.0)
        return tracker.update(dataclasses.replace(stats, late_blocks=3), settings, 1.0)

    def remedy(step: Times, settings: Settings):
        return badge(step, settings).remedy

    assert remedy(Times(0.1, 0.131, 0.14), Settings()).changes == {"block": 160.0}
    assert remedy(Times(0.05, 0.09, 0.095), Settings()).changes == {"headroom": 120.0}
    assert remedy(Times(0.01, 0.02, 0.03), Settings()).changes == {"headroom": 100.0}
    # The last 12 ms of the headroom are the reserve, in which concealment begins.
    assert (
        "Steps take up to 72 ms of 80 ms headroom."
        in badge(Times(0.05, 0.07, 0.072), Settings()).text
    )
    assert "Another program" in badge(Times(0.05, 0.06, 0.067), Settings()).text
    assert remedy(Times(1.0, 1.1, 1.2), Settings(block=1000)) is None, "it cannot be longer"


@pytest.mark.thorough
@in_loop
async def test_rvc_voices_follow_one_another(open_panel):
    find, let = late("Bruno", find_voice)
    async with open_panel(settings=RVC, size=(120, 30), find_voice=find) as it:
        await it.reads("Anna (voice)")
        await it.find("anna")
        assert it.settings.voice == "Anna"
        await it.until(lambda: it.stats.voice == "Anna")
        await it.reads("* Anna (voice)")
        await it.find("bruno")
        await it.reads("* Anna (voice)", "Bruno (voice) LOADING")
        let.set()
        await it.until(lambda: it.stats.voice == "Bruno" and not it.stats.loading)
        await it.reads("* Bruno (voice)")
        await it.press("ctrl+z")
        assert it.settings.voice == "Anna"
        await it.until(lambda: it.stats.voice == "Anna")
        assert it.stats.failed_steps == 0


@pytest.mark.thorough
@in_loop
async def test_a_voice_that_vanished_is_told_and_the_old_one_plays_on(open_panel):
    async with open_panel(settings=RVC, size=(120, 30)) as it:
        await it.hears(State.CONVERTED)
        await it.press("slash", *"bruno")
        await it.reads("Bruno (voice)")
        shutil.rmtree(voices_folder() / "Bruno")
        await it.press("enter")
        await it.reads("There is no voice 'Bruno'", "The previous voice stays in use.")
        assert it.stats.voice == "world"
        await it.hears(State.CONVERTED)
        since = len(it.provider.device.played)
        await it.until(lambda: loudest(it.provider.device, since) > 1e-3)
        await it.until(lambda: "Bruno" not in it.controller.scanner.voices)
        await it.find("anna")
        await it.until(lambda: it.stats.voice == "Anna")
        await it.until(lambda: "stays in use" not in it.text())


@pytest.mark.thorough
@in_loop
async def test_a_voice_without_what_it_needs_says_what_to_run(open_panel, tmp_path):
    shutil.rmtree(tmp_path / "home" / "models" / "contentvec")
    async with open_panel(settings=RVC, size=(120, 30)) as it:
        await it.reads("Anna (voice)")
        await it.find("anna")
        await it.reads("ContentVec is not installed", "rtvc setup")
        assert it.stats.voice == "world"


@pytest.mark.thorough
@in_loop
async def test_what_shapes_an_rvc_voice_is_at_hand(open_panel):
    async with open_panel(settings=RVC.replace(voice="Anna"), size=(120, 30)) as it:
        await it.until(lambda: it.stats.voice == "Anna")
        await it.hears(State.CONVERTED)
        for name, key, wanted in (
            ("index_rate", "right", 0.6),
            ("protect", "left", 0.28),
            ("speaker", "right", 1),
            ("pitch_method", "left", "swift"),
            ("context", "right", 600),
            ("crossfade", "right", 50),
        ):
            await it.choose(name)
            await it.press(key)
            close = pytest.approx(wanted)
            await it.until(lambda name=name, close=close: getattr(it.settings, name) == close)
        await it.choose("pitch_method")
        await it.press("left")
        await it.reads("FCPE is not installed", "The previous voice stays in use.")
        await it.press("left")
        await it.until(lambda: it.settings.pitch_method == "rmvpe")
        engine = it.controller._session.session._engine
        await it.until(
            lambda: (
                (worker := engine._loop.chain.worker)
                and worker.chain.built_for.shape == it.settings.shape
            )
        )
        await it.until(lambda: "not installed" not in it.text())
        assert it.stats.voice == "Anna"
        assert it.stats.failed_steps == 0
