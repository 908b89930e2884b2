"""What others hear is decided by two keys only: every key is pressed everywhere, and heard."""

import re
import signal
import string
from contextlib import contextmanager

import numpy as np
import pytest
from textual.screen import ModalScreen
from textual.widgets import Input

from rtvc.config.panel_state import keys_path
from rtvc.errors import RtvcError
from rtvc.settings import Settings
from rtvc.stats import State
from rtvc.tui.app import Panel
from rtvc.tui.keys import KEYS, mute_key
from rtvc.tui.reserved_keys import own_bindings, reserved_keys, widget_classes
from rtvc.tui.voice_list import VoiceList
from tests.support.material import more
from tests.support.patience import measured
from tests.support.voices import SilentVoice, finder
from tests.tui.conftest import in_loop, loudest, save_preset_with_a_mode
from tests.tui.listening import vowel
from tests.tui.places import PLACES, QUESTION, focusable, go, screens, where
from tests.tui.simulated_devices import SimulatedDevices
from tests.tui.test_pace import home, panel

pytestmark = pytest.mark.slow

__all__ = ["home"]
"""A fixture."""
SIZES = more([(80, 24), (40, 12), (200, 50)])
LIVE = Settings(formant=2.0, gate=-90.0)
FIRST = dict.fromkeys(("value",), ())
TYPED = dict.fromkeys(("palette, typed",), ())
"""Places for every run; the others are for thorough ones."""
_HEARD_WITHIN_S = 0.2


@contextmanager
def limit(seconds: int):
    """Fail what takes longer, whatever it waits for."""

    def late(*_):
        raise TimeoutError(f"it is not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


async def silent_within(it, seconds: float) -> bool:
    """Let time pass, and return whether all that is played after `seconds` is silence."""
    await it.passes(seconds)
    since = len(it.provider.device.played)
    await it.passes(0.15)
    assert len(it.provider.device.played) > since, "the device has stopped"
    return bool(loudest(it.provider.device, since) == 0)


@pytest.mark.thorough
@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_mute_is_heard_at_once_everywhere(open_panel, columns, rows):
    @in_loop
    async def walk():
        seen = set()
        devices = SimulatedDevices()
        devices.source = vowel(120)  # without pauses, in which anything is silent
        async with open_panel(
            size=(columns, rows), settings=LIVE, find_voice=finder(), provider=devices
        ) as it:
            for name in (*PLACES, QUESTION):
                await go(it, name)
                seen |= set(where(it))
                typing = isinstance(it.panel.focused, Input)
                await it.until(lambda: loudest(it.provider.device, -4800) > 0.01)
                before = it.panel.screen, it.panel.focused
                # Not with `press`: that lets time pass.
                await it.pilot.press("ctrl+g" if typing else "m")
                assert mute_key(it.panel.screen) == ("^g" if typing else "m")
                assert (it.panel.screen, it.panel.focused) == before, name
                assert await silent_within(it, _HEARD_WITHIN_S), name
                assert it.stats.state is State.MUTED
                await go(it, "settings")
                await it.passes(0.7)
                await it.press("m")
        assert seen >= screens() | focusable(), "a screen or widget is missing in tests/tui/places"

    with limit(300):
        walk()


@pytest.mark.parametrize("place", more(TYPED | PLACES, keep=len(TYPED)))
@in_loop
async def test_the_key_that_mutes_is_shown_in_the_smallest_terminal(open_panel, place):
    async with open_panel(size=(40, 12)) as it:
        await it.hears(State.CONVERTED)
        await go(it, place)
        key = "^g" if isinstance(it.panel.focused, Input) else "m"
        word = "mutes" if isinstance(it.panel.screen, ModalScreen) else "MUTE"
        shown = re.compile(rf"(^|[\s┃│]){re.escape(key)}[\s┃│]+{word}")
        await it.until(lambda: shown.search(it.text()))


@pytest.mark.parametrize("place", more(FIRST | PLACES, keep=len(FIRST)))
def test_no_key_but_the_deliberate_act_lets_your_own_voice_out(open_panel, place):
    @in_loop
    async def press_all():
        modes: list[str] = []
        async with open_panel(
            settings=LIVE,
            find_voice=finder(world=SilentVoice()),
            provider=SimulatedDevices(),
            report=modes.append,
        ) as it:
            await it.hears(State.CONVERTED)
            await it.passes(1)
            await press_everything(it, place)
            await it.passes(0.5)
            assert "dry" not in modes
            assert not any(own_voice_in(device, it) for _, device in it.provider.opened)
            # The same is heard if it is wanted, so it would have been heard.
            await go(it, "settings")
            if it.settings.mode == "muted":
                await it.passes(1)
                await it.press("m")
            await it.hears(State.CONVERTED)
            await it.own_voice()
            await it.passes(1)
            assert "dry" in modes
            assert own_voice_in(it.provider.device, it)

    with limit(300):
        press_all()


async def press_everything(it, place: str) -> None:
    """Press every key in a place; once the key for your own voice; and click on the state."""
    left_out = {"quit", "app.quit", "help_quit", "mute"}
    bound = [
        binding
        for kind in (*widget_classes(), *Panel.__mro__)
        for binding in (own_bindings(kind) if hasattr(kind, "BINDINGS") else ())
    ]
    others = {binding.key for binding in bound if binding.action in left_out}
    keys = dict.fromkeys(
        (*(b.key for b in bound), *string.ascii_lowercase, *string.digits, "enter", "f9")
    )
    await go(it, place)
    at = where(it)
    for key in (*keys, "space"):
        if key in others:
            continue
        if where(it) != at:
            await go(it, place)
        await it.press(key)
        if key == "space":
            await it.passes(0.5)
            # Whatever is pressed next is not its answer.
            await it.press("a", "enter", "escape")
    await go(it, place)
    if it.panel.screen.query("#state"):
        await it.passes(6)
        await it.pilot.click("#state")
        await it.pilot.click("#state")
        await it.passes(0.5)
        await it.press("x", "escape")


def own_voice_in(device, it) -> bool:
    """Return whether a speaker has played what the microphone heard, late but as it was.

    The voice is silent, so only chirps are heard otherwise, of a measurement.
    """
    played, source = np.asarray(device.played), it.provider.source
    loud = np.flatnonzero(np.abs(played) > 1e-3)
    if not len(loud):
        return False
    for start in range(loud[0], loud[-1] + 1, 24_000):
        piece = played[start : start + 24_000]
        heard = source[max(start - 48_000, 0) : start + len(piece)]
        if np.abs(piece).max() > 1e-3 and likeness(piece, heard) > 0.5:
            return True
    return False


def likeness(piece, source) -> float:
    """Return the largest correlation of a piece with any part of a source, from 0 to 1."""
    size = 1 << (len(piece) + len(source)).bit_length()
    product = np.fft.irfft(np.fft.rfft(source, size) * np.conj(np.fft.rfft(piece, size)), size)
    lags = len(source) - len(piece) + 1
    power = np.cumsum(np.concatenate([[0.0], source.astype(float) ** 2]))
    energy = (power[len(piece) :] - power[: -len(piece)])[:lags]
    return float((product[:lags] / np.sqrt(energy * np.sum(piece**2) + 1e-9)).max())


@in_loop
async def test_your_own_voice_is_asked_for_once_in_a_run(open_panel):
    async with open_panel(settings=LIVE, find_voice=finder(world=SilentVoice())) as it:
        await it.hears(State.CONVERTED)
        await it.press("space")
        await it.reads("Your own voice on air? Press space again within 5 s; Escape: no.")
        await it.press("escape")
        await it.reads("Your own voice stays off.")
        await it.passes(0.5)
        await it.press("space")
        await it.reads("on air?")
        await it.passes(5)
        assert "on air?" not in it.text()
        assert loudest(it.provider.device) == 0
        await it.own_voice()
        await it.hears(State.DRY)
        await it.until(lambda: loudest(it.provider.device) > 0.01)
        await it.press("space")
        await it.hears(State.CONVERTED)
        await it.passes(0.7)
        await it.press("space")
        await it.hears(State.DRY)


@pytest.mark.thorough
@in_loop
async def test_text_typed_into_the_wrong_window_answers_nothing(open_panel):
    async with open_panel(settings=LIVE) as it:
        await it.hears(State.CONVERTED)
        for key in ["space", "i", "space", "a", "i", "space", "h", "enter", "space", "z", "enter"]:
            await it.press(key)
            await it.passes(0.45)
        assert it.settings.mode == "converted"


@pytest.mark.thorough
@in_loop
async def test_a_click_on_the_footer_asks_too(open_panel):
    async with open_panel(settings=LIVE) as it:
        await it.hears(State.CONVERTED)
        place = it.text().splitlines()[-1].index("own voice"), it.panel.size.height - 1
        await it.pilot.click(offset=place, times=2)
        await it.passes(0.5)
        await it.reads("on air?")
        assert it.settings.mode == "converted"
        await it.pilot.click(offset=place)
        await it.hears(State.DRY)
        await it.passes(0.5)
        await it.pilot.click(offset=place)
        await it.hears(State.CONVERTED)


@in_loop
async def test_space_never_unmutes(open_panel):
    async with open_panel(settings=LIVE) as it:
        await it.hears(State.CONVERTED)
        await it.press("m")
        await it.hears(State.MUTED)
        for _ in range(3):
            await it.press("space")
            await it.passes(0.5)
        await it.reads("The output is muted. Press m to unmute.")
        assert await silent_within(it, 0)
        await it.press("m")
        await it.hears(State.CONVERTED)


@in_loop
async def test_a_run_without_your_own_voice(open_panel):
    save_preset_with_a_mode()
    silent = finder(world=SilentVoice())
    async with open_panel(settings=LIVE, find_voice=silent, never_dry=True) as it:
        await it.hears(State.CONVERTED)
        for key in ("space", "space", "1", "ctrl+z", "ctrl+y"):
            await it.press(key)
            await it.passes(0.5)
        await it.press("space")
        await it.reads("Your own voice stays off: this run was started with --never-dry.")
        await it.pilot.click("#state")
        with pytest.raises(RtvcError, match="--never-dry"):
            it.controller.apply(it.settings.replace(mode="dry"))
        await it.passes(1)
        assert it.settings.mode == "muted"
        assert loudest(it.provider.device) == 0


@in_loop
async def test_a_run_without_your_own_voice_offers_it_nowhere(open_panel):
    async with open_panel(size=(120, 60), never_dry=True) as it:
        for keys, word, offer in (
            ([], "MUTE", "space own voice"),
            (["question_mark"], "mute at once", "your own voice (asks first)"),
            (["ctrl+p", *"own"], "Pitch down", "Your own voice (asks first)"),
            ([*"gnnn"], "Put headphones on", "switches between your own voice"),
        ):
            await it.press(*keys)
            await it.reads(word)
            assert offer not in " ".join(re.split(r"[\s┃│]+", it.text()))
            await it.press("escape")


@pytest.mark.parametrize("size", [(40, 12), pytest.param((80, 24), marks=pytest.mark.thorough)])
@in_loop
async def test_a_search_is_visible_and_left_again(open_panel, size):
    async with open_panel(size=size, settings=LIVE) as it:
        await it.hears(State.CONVERTED)
        await it.press("slash", *"robo")
        assert isinstance(it.panel.focused, Input)
        assert it.panel.focused.value == "robo"
        await it.reads("robot")
        await it.until(lambda: it.panel.screen.query_one(VoiceList).marked.name == "robot")
        await it.press("enter")
        assert it.settings.pitch_fixed > 0
        await it.press("escape", "home", "down", "right")
        assert it.settings.pitch == 1
        await it.reads("pitch")


@measured  # a machine that is too busy says so in place of the state
def test_your_own_voice_is_asked_for_unless_a_flag_says_otherwise(home):
    live = "YOUR OWN VOICE IS LIVE"
    texts = {"": "on air?", "--never-dry": "Your own voice stays off", "--no-confirm-dry": live}
    for flags, text in texts.items():
        with panel(home, flags=flags) as terminal:
            terminal.type("Space")
            terminal.reads(text)
            assert (live in terminal.text()) == (text == live)


@pytest.mark.parametrize(
    ("text", "typing", "elsewhere", "shown"),
    more([("mute: k\n", "ctrl+g", "k", "^g"), ("mute: f5\n", "f5", "f5", "f5")]),
)
@in_loop
async def test_other_keys_mute_everywhere_too(open_panel, text, typing, elsewhere, shown):
    keys_path().parent.mkdir(parents=True, exist_ok=True)
    keys_path().write_text(text)
    async with open_panel(settings=LIVE) as it:
        await it.press("ctrl+s", "k", "m")
        await it.reads(f"{shown} mutes.")
        assert it.panel.focused.value.endswith("km")
        await it.press(typing)
        await it.hears(State.MUTED)
        await it.passes(1)
        await it.press("escape", "question_mark")
        await it.reads(f"Esc closes, {elsewhere} mutes")
        await it.press(elsewhere)
        await it.hears(State.CONVERTED)


def test_no_key_of_a_screen_or_widget_can_be_chosen():
    reserved = reserved_keys(Panel)
    kinds = {*screens(), *focusable()}
    assert len(kinds) >= 10
    for base in {base for kind in kinds for base in kind.__mro__ if hasattr(base, "BINDINGS")}:
        for binding in own_bindings(base):
            assert_refused(binding.key, reserved)
    for key in (*"123456789", "ctrl+c", "ctrl+q", "ctrl+m", "ctrl+i"):
        assert_refused(key, reserved)
    assert not [key.id for key in KEYS if key.key in reserved], "a default is used twice"


def assert_refused(key: str, reserved: dict[str, str]) -> None:
    from rtvc.tui.keys import chosen_keys, key_name

    for id in ("mute", "record"):
        keys, message = chosen_keys({id: key}, reserved)
        assert keys == {}
        user = reserved[key_name(key)]  # or a key that no terminal sends
        assert f"and a key of {user}." in message or f"{key!r}, which is not a key." in message
