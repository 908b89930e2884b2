"""Keys that are held down act once."""

from rtvc.live.held_keys import HeldKeys


class Key:
    """A key with a clock of its own; `press` presses it, `after` some seconds."""

    def __init__(self) -> None:
        self.now = 100.0
        self.acted = 0
        self.lasts = 0.0
        self.keys = HeldKeys(lambda: self.now)

    def act(self) -> str:
        self.acted += 1
        self.now += self.lasts
        return "done"

    def press(self, after: float) -> str:
        self.now += after
        return self.keys.press("r", self.act, "Press r again.")


def test_a_key_that_is_held_acts_once():
    key = Key()
    said = [key.press(0), key.press(0.5), *(key.press(1 / 30) for _ in range(100))]
    assert said[:2] == ["done", "Press r again."]
    assert set(said[2:]) == {""}
    assert key.acted == 1
    assert key.press(0.8) == "done"
    assert key.keys.press("w", key.act, "") == "done"


def test_repetitions_that_come_during_the_action_do_not_act():
    key = Key()
    key.lasts = 2.0
    assert key.press(0) == "done"
    assert key.press(0.01) == ""
    assert key.acted == 1
