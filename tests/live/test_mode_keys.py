"""The two keys that decide what others hear, press by press."""

import pytest

from rtvc.live.mode_keys import ModeKeys


class Keys:
    """The keys, the mode that they have led to, and a clock that a test moves."""

    def __init__(self, **others) -> None:
        self.now = 100.0
        self.mode = "converted"
        self.keys = ModeKeys(clock=lambda: self.now, **others)

    def space(self, *, after: float = 1.0) -> str:
        self.now += after
        self.mode, message = self.keys.press_own_voice(self.mode)
        return message

    def m(self, *, after: float = 1.0) -> str:
        self.now += after
        self.mode, message = self.keys.press_mute(self.mode)
        return message

    def holds_space(self, seconds: float, first: float) -> None:
        """Press, and then what a terminal repeats after `first` seconds, 30 times a second."""
        self.space()
        self.space(after=first)
        for _ in range(round((seconds - first) * 30)):
            self.space(after=1 / 30)


def test_the_first_press_asks_and_later_ones_do_not():
    it = Keys()
    assert it.space() == ""
    assert it.mode == "converted"
    assert it.keys.question == "Your own voice on air? Press space again within 5 s; Escape: no."
    it.space()
    assert (it.mode, it.keys.question) == ("dry", "")
    it.space()
    assert it.mode == "converted"
    it.space()
    assert it.mode == "dry"


@pytest.mark.parametrize("after", [0.0, 0.03, 0.39])
def test_a_double_click_is_no_answer(after):
    it = Keys()
    it.space()
    it.space(after=after)
    assert it.mode == "converted"
    assert it.keys.question


def test_the_question_closes_by_itself_and_when_it_is_withdrawn():
    it = Keys()
    it.space()
    it.now += 5
    assert not it.keys.question
    it.space(after=0)
    assert it.mode == "converted"
    it.keys.withdraw()
    assert not it.keys.question
    it.space()
    assert it.mode == "converted"
    it.m()
    it.m()
    assert (it.mode, it.keys.question) == ("converted", ""), "a press of m is no answer"


@pytest.mark.parametrize("first", [0.2, 0.5, 0.7])
def test_holding_the_key_is_an_answer(first):
    it = Keys()
    it.holds_space(0.3, min(first, 0.3))
    assert it.mode == "converted"
    it.now += 10
    it.holds_space(2, first)
    assert it.mode == "dry"
    it.space()
    assert it.mode == "converted", "a held key leaves it as it is; a press later turns it back"


def test_it_never_unmutes():
    it = Keys(confirm=False, mute_key="k")
    it.m()
    for _ in range(3):
        assert it.space() == "The output is muted. Press k to unmute."
        assert it.mode == "muted"
    it.m()
    assert it.mode == "converted"


def test_without_the_question_and_without_the_key():
    it = Keys(confirm=False)
    it.space()
    assert it.mode == "dry"
    for confirm in (True, False):
        it = Keys(confirm=confirm, never=True)
        for _ in range(3):
            assert it.space() == (
                "Your own voice stays off: this run was started with --never-dry."
            )
            assert (it.mode, it.keys.question) == ("converted", "")


def test_mute_that_is_held_or_pressed_again_and_again_stays_mute():
    it = Keys()
    it.m()
    assert it.mode == "muted"
    for after in (0.1, 0.5, *[1 / 30] * 60, 0.2):
        assert it.m(after=after) == "The output stays muted. Press m again to unmute."
        assert it.mode == "muted"
    assert it.m() == ""
    assert it.mode == "converted"
    it.m(after=0.01)
    assert it.mode == "muted", "it mutes at any time"
    it.m()
    it.mode = "dry"
    it.m(after=0.01)
    assert it.mode == "muted"


@pytest.mark.parametrize("first", [0.2, 0.5, 0.69])
def test_holding_the_key_never_brings_your_own_voice_back(first):
    it = Keys(confirm=False)
    it.space()
    assert it.mode == "dry"
    it.holds_space(2, first)
    assert it.mode == "converted"
    it.space()
    assert it.mode == "dry"
    it.space(after=0.2)
    assert it.mode == "converted", "it leaves your own voice at any time"
    message = it.space(after=0.5)
    assert message == "Your own voice stays off. Press space again to let it through."
