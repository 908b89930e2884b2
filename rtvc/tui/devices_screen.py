"""Choose microphone and speaker, while the program goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from rtvc.advice import feedback_advice
from rtvc.rig import SoundDevice
from rtvc.tui.footer import KeyLine
from rtvc.tui.meter import Meter
from rtvc.tui.pane import Pane
from rtvc.tui.view import View

if TYPE_CHECKING:
    from rtvc.tui.app import Panel

_RESCAN_S = 2.0
_HINTS = (("Enter", "use", ""), ("Tab", "other side", ""), ("Esc", "back", "app.close_screen"))
_DEFAULT = SoundDevice("", "follows the system's choice")
CABLE = (
    "{name!r} is a virtual cable: what goes in at one program comes out at another. "
    "As the speaker it carries your new voice: choose the same cable as the microphone in the "
    "call. You do not hear yourself then."
)


class DeviceList(OptionList):
    """The devices of one direction, the one in use marked.

    Parameters
    ----------
    output
        Whether these are speakers.
    """

    def __init__(self, *, output: bool) -> None:
        super().__init__(id="outputs" if output else "inputs", compact=True, markup=False)
        self.border_title = "SPEAKER" if output else "MICROPHONE"
        self._devices: tuple[SoundDevice, ...] = ()
        self._used: tuple[str, str] | None = None

    def put(self, devices: tuple[SoundDevice, ...], wanted: str, used: str) -> None:
        """Show these devices; `wanted` is the chosen name, `used` what it stands for."""
        devices = (_DEFAULT, *devices)
        if (devices, (wanted, used)) == (self._devices, self._used):
            return
        marked = self.marked
        self._devices, self._used = devices, (wanted, used)
        self.set_options([Option(_line(device, wanted, used)) for device in devices])
        name = marked.name if marked is not None else wanted
        names = [device.name for device in devices]
        self.highlighted = names.index(name) if name in names else 0

    @property
    def marked(self) -> SoundDevice | None:
        """The marked device."""
        at = self.highlighted
        return self._devices[at] if at is not None and at < len(self._devices) else None


class DevicesScreen(Screen[None]):
    """Two lists, looked for anew every two seconds, and what there is to know of the choice."""

    app: Panel
    AUTO_FOCUS = "#inputs"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.close_screen", show=False)]

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield Pane("badge")
        yield Pane("message")
        yield Meter("IN", "input-meter")
        yield Meter("OUT", "output-meter")
        with Horizontal():
            yield DeviceList(output=False)
            yield DeviceList(output=True)
        with Vertical(id="advice-box"):
            yield Static("", id="advice", markup=False)
        yield KeyLine(_HINTS)

    def on_mount(self) -> None:
        """Look for devices, now and again and again."""
        self.app.studio.rescan()
        self.set_interval(_RESCAN_S, self.app.studio.rescan)

    def show(self, view: View) -> None:
        """Show a moment."""
        badge = view.badge
        self.query_one("#badge", Pane).put(
            (f" {badge.sign} {badge.word} ", f"bold reverse {badge.style}"), ("  DEVICES", "bold")
        )
        text = view.message or badge.text or f"In use: {view.devices[0]} > {view.devices[1]}"
        self.query_one("#message", Pane).put((text, ""))
        self.query_one("#input-meter", Meter).show(view.stats.input, view.now)
        self.query_one("#output-meter", Meter).show(view.stats.output, view.now)
        studio = self.app.studio
        wanted, used = studio.wanted, studio.names
        inputs, outputs = self._lists()
        inputs.put(studio.devices.inputs, wanted[0], used[0])
        outputs.put(studio.devices.outputs, wanted[1], used[1])
        self.query_one("#advice", Static).update(self._advice(inputs, outputs, used))

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        chosen = event.option_list
        assert isinstance(chosen, DeviceList)
        if chosen.marked is None:
            return
        input, output = self.app.studio.wanted
        if chosen.id == "inputs":
            input = chosen.marked.name
        else:
            output = chosen.marked.name
        self.app.studio.use(input, output)

    def _lists(self) -> tuple[DeviceList, DeviceList]:
        return self.query_one("#inputs", DeviceList), self.query_one("#outputs", DeviceList)

    def _advice(self, inputs: DeviceList, outputs: DeviceList, used: tuple[str, str]) -> str:
        marked = (outputs if outputs.has_focus else inputs).marked
        names = [
            devices.marked.name if devices.has_focus and devices.marked else name
            for devices, name in zip((inputs, outputs), used, strict=True)
        ]
        warning = feedback_advice(*names)
        if marked is not None and marked.cable:
            cable = CABLE.format(name=marked.name)
            return f"{cable}\n{warning}".strip()
        return warning


def _line(device: SoundDevice, wanted: str, used: str) -> Content:
    mark = "*" if device.name == wanted else " "
    if not device.name:
        about = f"{device.host_api}{f', now {used}' if not wanted and used else ''}"
        return Content.assemble((f"{mark} system default", "bold"), (f"  {about}", "dim"))
    facts = [f"{device.rate:.0f} Hz"]
    if device.cable:
        facts.insert(0, "virtual cable")
    if device.default:
        facts.append("default")
    return Content.assemble(
        (f"{mark} {device.name}", "bold" if mark == "*" else ""), (f"  {', '.join(facts)}", "dim")
    )
