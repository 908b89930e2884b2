"""The screen on which you choose microphone, speaker and monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from rtvc.device_choice import LOUDEST, MIX, SYSTEM_DEFAULT, ChannelChoice, channel_label
from rtvc.errors import escaped
from rtvc.live.controller import Controller
from rtvc.live.devices import (
    AvailableDevices,
    DeviceChoice,
    DeviceNames,
    DeviceSelection,
    device_label,
)
from rtvc.live.feedback import Side, feedback_advice
from rtvc.live.scanner import Scanner
from rtvc.tui.help import DEVICES_TOPIC, Topic
from rtvc.tui.panel_screen import PanelScreen, meters
from rtvc.tui.row_list import RowList
from rtvc.tui.snapshot import Snapshot
from rtvc.tui.text_pane import FlowPane

if TYPE_CHECKING:
    from rtvc.live.devices import Device, Direction

Kind = Literal["input", "output", "monitor"]

_RESCAN_S = 2.0
_LOW = 18
"""Rows from which there is room for a hint."""
_HINTS = (
    ("Enter", "select", ""),
    ("c", "input channel", "screen.next_channel"),
    ("Tab", "next", ""),
    ("Esc", "back", "app.close_screen"),
)
_TITLES = {
    "input": "MICROPHONE",
    "output": "SPEAKER",
    "monitor": "MONITOR, WHAT YOU HEAR",
}
_CABLE = (
    "{name!r} is a virtual cable to another program: choose it as the speaker here, and as the "
    "microphone in the call."
)
_HEAR_YOURSELF = " To hear yourself, choose your headphones as the monitor."


class DeviceRow(Option):
    """An option with its device: the list may show others before a selection is handled."""

    def __init__(self, line: Content, choice: DeviceChoice) -> None:
        super().__init__(line)
        self.choice = choice


class DeviceList(RowList):
    """The devices for one purpose; an asterisk marks the selected one.

    Parameters
    ----------
    kind
        The field of `DeviceSelection` that the list sets.
    """

    def __init__(self, kind: Kind) -> None:
        super().__init__(id=kind, compact=True, markup=False)
        self._title = self.border_title = _TITLES[kind]
        self.kind: Kind = kind
        self._rows: list[tuple[DeviceChoice, Device | None]] = []
        """The first row is "", the system's default or no monitor; `--monitor default` adds one."""
        self._used: tuple[DeviceChoice, str, str] | None = None
        self._default: Device | None = None
        self._scanned = False

    def put(self, devices: AvailableDevices, wanted: DeviceSelection, used: DeviceNames) -> None:
        """Show these devices; `wanted` are the selected ones, `used` those in use."""
        direction: Direction = "input" if self.kind == "input" else "output"
        there = devices.identities(direction)
        self._default = next((one for one in there.values() if one.is_default(direction)), None)
        rows: list[tuple[DeviceChoice, Device | None]] = [("", None), *there.items()]
        if self.kind == "monitor" and wanted.monitor == SYSTEM_DEFAULT:
            rows.insert(1, (SYSTEM_DEFAULT, None))
        channel = channel_label(wanted.channel) if self.kind == "input" else ""
        used_now = getattr(wanted, self.kind), getattr(used, self.kind), channel
        if (rows, used_now, devices.scanned) == (self._rows, self._used, self._scanned):
            return
        marked = self.choice if self._rows else used_now[0]
        self._rows, self._used, self._scanned = rows, used_now, devices.scanned
        options: list[Option] = [DeviceRow(self._line(*row), row[0]) for row in rows]
        if not there:
            what = "microphone" if self.kind == "input" else "speaker"
            found = f"No {what} is connected.\n It appears here when it is."
            options.append(
                Option(f" {found if devices.scanned else 'Looking for devices.'}", disabled=True)
            )
        self.set_options(options)
        self.highlighted = next((n for n, row in enumerate(rows) if row[0] == marked), 0)

    def show_title(self, *, brief: bool) -> None:
        """Show what the list is for; if it is `brief` and not in focus, also what is in use."""
        title = _TITLES[self.kind]
        if brief and not self.has_focus and self._used is not None:
            title = f"{title.partition(',')[0]}: {escaped(self._used[1]) or 'none'}"
        if title != self._title:
            self._title = title
            self.border_title = Content(title)

    @property
    def marked(self) -> Device | None:
        """The highlighted device; None on the row of the system's default."""
        return self._highlighted_row[1]

    @property
    def channels(self) -> int:
        """The number of channels of the highlighted microphone; 0 if unknown."""
        device = self.marked if self.choice else self._default
        return device.inputs if device is not None else 0

    @property
    def choice(self) -> DeviceChoice:
        """The highlighted device for a `DeviceSelection`."""
        return self._highlighted_row[0]

    @property
    def _highlighted_row(self) -> tuple[DeviceChoice, Device | None]:
        at = self.highlighted
        return self._rows[at] if at is not None and at < len(self._rows) else ("", None)

    def allow_focus(self) -> bool:
        """Return whether it is shown: the window that gets the focus back would return it."""
        return self.display and super().allow_focus()

    def change(self, selection: DeviceSelection, choice: DeviceChoice) -> DeviceSelection:
        """Return `selection` with a device in the field of the list."""
        if self.kind == "input":
            return selection.with_input(choice)
        if self.kind == "output":
            return selection._replace(output=choice)
        return selection._replace(monitor=choice)

    def _line(self, choice: DeviceChoice, device: Device | None) -> Content:
        wanted, used, channel = self._used or ("", "", "")
        mark = "*" if choice == wanted else " "
        if device is None and self.kind == "monitor" and not choice:
            return Content.assemble((f"{mark} none", "bold"))
        if device is None:
            about = f"now {escaped(used)}" if not wanted and used else "follows the system"
            about = f"{channel}, {about}" if channel and not wanted else about
            return Content.assemble((f"{mark} system default", "bold"), f"  {about}")
        facts = [f"{device.rate:.0f} Hz"]
        if channel and choice == wanted:
            facts.insert(0, channel)
        if device.virtual_cable:
            facts.insert(0, "virtual cable")
        if device.is_default("input" if self.kind == "input" else "output"):
            facts.append("default")
        return Content.assemble(
            (f"{mark} {device_label(choice)}", "bold"),
            f"  {', '.join(facts)}",
        )


class DevicesScreen(PanelScreen):
    """Three device lists, updated every two seconds, with advice on the highlighted device.

    Parameters
    ----------
    controller
        Opens the selected devices.
    scanner
        Lists the devices.
    keys
        The keys from keys.yaml, by id.
    """

    HINTS = _HINTS
    AUTO_FOCUS = "#input"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.close_screen", show=False),
        Binding("c", "next_channel", show=False),
    ]

    def __init__(self, controller: Controller, scanner: Scanner, keys: dict[str, str]) -> None:
        super().__init__(keys)
        self._controller = controller
        self._scanner = scanner

    def compose_body(self) -> ComposeResult:
        """Create the widgets between the state and the messages."""
        yield from meters()
        with Container(id="lists"):
            yield DeviceList("input")
            yield DeviceList("output")
            yield DeviceList("monitor")
        yield FlowPane("advice")

    def on_mount(self) -> None:
        """Scan for devices, now and every two seconds."""
        self._scanner.scan_devices()
        self.set_interval(_RESCAN_S, self._scanner.scan_devices)

    def hint(self, snapshot: Snapshot) -> str:
        """Return how the lists are used."""
        if self.size.height < _LOW:
            return ""
        return "Enter selects the marked device at once; an asterisk marks the selected ones."

    def help_topic(self) -> Topic:
        """Return the keys of the screen."""
        return DEVICES_TOPIC

    def show_body(self, snapshot: Snapshot) -> None:
        """Show the levels, the devices, and advice on the highlighted one."""
        self.show_levels(snapshot)
        for devices in self.query(DeviceList):
            devices.put(snapshot.available, self._controller.requested, snapshot.devices)
            devices.show_title(brief=self.has_class("-flat") and self.has_class("-thin"))
        # The reason of the state and the messages need the room first.
        news = snapshot.badge.text or snapshot.messages
        room = not (news and self.has_class("-flat"))
        advice = self._advice(snapshot.devices, snapshot.settings.echo) if room else ""
        self.query_one("#advice", FlowPane).put((advice, "bold"))

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        chosen, row = event.option_list, event.option
        if isinstance(chosen, DeviceList) and isinstance(row, DeviceRow):
            self._controller.select_devices(chosen.change(self._controller.requested, row.choice))

    def action_next_channel(self) -> None:
        """Select the highlighted microphone with its next channel: mix, loudest, 1, 2 and so on."""
        microphones = self.query_one("#input", DeviceList)
        if microphones.channels:
            selection = microphones.change(self._controller.requested, microphones.choice)
            channel = _next_channel(selection.channel, microphones.channels)
            self._controller.select_devices(selection._replace(channel=channel))

    def _advice(self, used: DeviceNames, echo: str) -> str:
        """Return advice on the highlighted device together with those in use."""
        marked, would_be = None, used
        for devices in self.query(DeviceList):
            if devices.has_focus and devices.marked is not None:
                marked = devices.marked
                would_be = used._replace(**{devices.kind: marked.name})
        known = self._scanner.devices
        microphone = Side.of(would_be.input, known.inputs)
        warning = feedback_advice(microphone, Side.of(would_be.output, known.outputs), echo)
        if not (would_be.input and would_be.output):
            warning = ""
        elif would_be.monitor and not warning:
            warning = feedback_advice(microphone, Side.of(would_be.monitor, known.outputs), echo)
        if marked is None or not marked.virtual_cable:
            return warning
        cable = _CABLE.format(name=marked.name) + ("" if would_be.monitor else _HEAR_YOURSELF)
        return f"{cable}\n{warning}".strip()


def _next_channel(channel: ChannelChoice, channels: int) -> ChannelChoice:
    choices: list[ChannelChoice] = [MIX, LOUDEST, *range(1, channels + 1)]
    at = choices.index(channel) if channel in choices else -1
    return choices[(at + 1) % len(choices)]
