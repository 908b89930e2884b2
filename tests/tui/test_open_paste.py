"""A paste whose end never comes."""

from textual import events
from textual._xterm_parser import XTermParser

from rtvc.tui.open_paste import END, START, OpenPaste


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_keys_act_again_after_a_paste_without_an_end():
    clock = Clock()
    paste, parser = OpenPaste(clock), XTermParser()
    seen: list[str] = []

    def arrives(text: str, seconds: float = 0.1) -> None:
        clock.now += seconds
        if completed := paste.complete(text):
            seen.extend(
                message.text if isinstance(message, events.Paste) else message.key
                for message in parser.feed(completed)
                if isinstance(message, (events.Paste, events.Key))
            )

    arrives(f"{START}one{END}")
    arrives("", 9.0)
    assert seen == ["one"]
    for piece in ("\x1b[20", "0~two", "", " three"):  # in pieces, as over a slow line
        arrives(piece, 1.5)
    assert seen == ["one"]
    arrives("", 1.9)
    assert seen == ["one"]
    arrives("", 0.2)
    arrives("m")
    assert seen == ["one", "two three", "m"]
    arrives("", 9.0)
    arrives(END)  # which comes late
    arrives("m")
    assert seen[3:] == ["m"]
