"""What the plots of pitch and spectrum draw, at any size, of known sounds."""

import asyncio
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.color import Color
from textual.geometry import Size

from rtvc.audio.spectrum import BANDS, Spectrum
from rtvc.settings import Settings
from rtvc.stats import SPECTRUM_HZ, Latency, Stats
from rtvc.tui.colour_map import LEVELS, Rgb, grey, viridis, viridis_256
from rtvc.tui.note_names import note_name
from rtvc.tui.picture import AXIS, CELL_S, MAX_COLUMNS
from rtvc.tui.pitch_trace import PitchTrace, target_pitches_hz
from rtvc.tui.spectrogram import LEVEL_DB, QUIET_DB, SHADES, Spectrogram
from rtvc.tui.themes import THEMES
from tests.tui.conftest import in_loop
from tests.tui.plots import (
    PlotApp,
    axis_of,
    dots_of,
    halves_of,
    rows_of,
    spectrogram_levels,
)

BLOCK_S = CELL_S


def hz(note: float) -> float:
    return 440 * 2 ** ((note - 69) / 12)


def block(number: int, note: float | None, output: float | None = None, *, seconds=BLOCK_S):
    return Stats(
        blocks=number,
        gate_open=True,
        input_f0_hz=hz(note) if note is not None else 0.0,
        output_f0_hz=hz(output) if output is not None else 0.0,
        latency=Latency(block=seconds),
    )


def plot_pitch(notes, size=(66, 12), *, seconds=BLOCK_S, targets_hz=(), start=1):
    """A pitch plot of blocks with these notes of input, or of input and output."""

    async def run():
        trace = PitchTrace("trace")
        async with PlotApp(trace).run_test(size=size):
            for number, note in enumerate(notes, start):
                pair = note if isinstance(note, tuple) else (note, None)
                trace.show(
                    block(number, *pair, seconds=seconds), (number + 0.5) * CELL_S, targets_hz
                )
            trace.draw()
        return trace

    return asyncio.run(run())


def touch(before: list[int], after: list[int]) -> bool:
    """Whether two neighbouring columns of dots are one line, and each has no hole."""
    whole = all(column == list(range(column[0], column[-1] + 1)) for column in (before, after))
    return whole and before[0] - 1 <= after[-1] and after[0] <= before[-1] + 1


@pytest.mark.thorough
@given(
    low=st.floats(40, 60),
    rise=st.floats(0.5, 30),
    blocks=st.integers(2, 60),
    seconds=st.sampled_from([0.02, 0.05, 0.07, 0.1, 0.25, 0.5]),
    rows=st.integers(1, 20),
)
@settings(max_examples=25, deadline=None)
def test_a_rising_sweep_is_a_rising_line_without_holes(low, rise, blocks, seconds, rows):
    notes = np.linspace(low, low + rise, blocks)
    trace = plot_pitch(notes.tolist(), (AXIS + 130, rows + 1), seconds=seconds)
    dots = dots_of(rows_of(trace))
    assert len(dots) == pytest.approx(min(2 * blocks * seconds / CELL_S, 260), abs=2)
    columns = list(dots.values())
    assert list(dots) == list(range(260 - len(dots), 260)), "the newest is at the right"
    for before, after in pairwise(columns):
        assert touch(before, after)
        assert after[0] <= before[0], "it rises"


@pytest.mark.thorough
@given(note=st.integers(36, 84), rows=st.integers(4, 24))
@settings(max_examples=20, deadline=None)
def test_a_note_is_on_the_row_of_its_name(note, rows):
    trace = plot_pitch([note] * 20, (60, rows + 1))
    labels, dots = axis_of(trace), dots_of(rows_of(trace))
    assert sum(map(bool, labels)) >= min(rows, 4) // 2
    (row,) = {y // 4 for column in dots.values() for y in column}
    if note_name(note) in labels:
        assert labels.index(note_name(note)) == row


@in_loop
async def test_unvoiced_sound_is_a_gap_of_its_length():
    trace = PitchTrace("trace")
    async with PlotApp(trace).run_test(size=(46, 8)):
        for number, note in enumerate([57] * 10 + [None] * 5 + [57] * 10, 1):
            trace.show(block(number, note), (number + 0.5) * CELL_S)
        trace.draw()
        assert list(dots_of(rows_of(trace))) == [*range(30, 50), *range(60, 80)]


@in_loop
async def test_nothing_is_drawn_of_a_time_in_which_nothing_was_seen():
    trace = PitchTrace("trace")
    async with PlotApp(trace).run_test(size=(46, 8)):
        for number in (*range(1, 6), *range(20, 25)):
            trace.show(block(number, 57), (number + 0.5) * CELL_S)
        assert list(dots_of(rows_of(trace))) == [*range(32, 42), *range(70, 80)]


@in_loop
async def test_the_output_is_the_thick_line_and_both_keep_their_distance():
    trace = PitchTrace("trace")
    async with PlotApp(trace).run_test(size=(46, 13)):
        for number in range(1, 21):
            trace.show(block(number, 48, 60), (number + 0.5) * CELL_S)
        columns = list(dots_of(rows_of(trace)).values())
        assert len(columns) == 40
        for column in columns:
            upper, below, lower = column
            assert below == upper + 1
            # The plot of 48 dots is 15 semitones high: 48 to 63.
            assert lower - upper == pytest.approx(12 / 15 * 48, abs=1)
        assert "C3 +0 131 Hz" in trace.text
        assert "C4 +0 262 Hz" in trace.text


def test_a_fixed_pitch_is_a_guide_with_its_name():
    assert target_pitches_hz(Settings()) == ()
    assert target_pitches_hz(Settings(pitch_fixed=110)) == (110.0,)
    assert target_pitches_hz(Settings(pitch_fixed=110, whisper=True)) == ()
    without = plot_pitch([43, 47] * 10, (80, 13))
    trace = plot_pitch([43, 47] * 10, (80, 13), targets_hz=(110.0,))
    labels, rows = axis_of(trace), rows_of(trace)
    row = labels.index("A2")
    guide = set(rows[row]) - set(rows_of(without)[row])
    assert guide, "a guide over the whole width"
    assert " " not in rows[row]
    assert "target A2 +0 110 Hz" in trace.text
    assert [text for y, text in enumerate(rows) if y != row] == [
        text for y, text in enumerate(rows_of(without)) if y != row
    ]


@given(seconds=st.floats(0.01, 0.5))
@settings(max_examples=15, deadline=None)
def test_the_plot_scrolls_at_one_speed_with_any_block(seconds):
    blocks = round(6 / seconds)
    trace = plot_pitch([57] * blocks, (AXIS + 100, 6), seconds=seconds)
    assert len(dots_of(rows_of(trace))) == pytest.approx(2 * blocks * seconds / CELL_S, abs=2)


@in_loop
async def test_another_session_continues_the_plot():
    trace = PitchTrace("trace")
    async with PlotApp(trace).run_test(size=(46, 8)):
        for number in (*range(101, 111), *range(1, 6)):
            trace.show(block(number, 57), (number + 0.5) * CELL_S)
        trace.draw()
        dots = dots_of(rows_of(trace))
        assert list(dots)[-30:] == list(range(50, 80))


@in_loop
async def test_the_linux_console_has_half_blocks(monkeypatch):
    monkeypatch.setenv("TERM", "linux")
    trace = PitchTrace("trace")
    async with PlotApp(trace).run_test(size=(46, 8)):
        for number in range(1, 31):
            trace.show(block(number, 45 + number / 3), (number + 0.5) * CELL_S, (hz(45.0),))
        assert set("".join(rows_of(trace))) <= set(" ▀▄█─")
        assert all(any(row[x] in "▀▄█" for row in rows_of(trace)) for x in range(11, 40))


def feed(plot, number: int) -> None:
    if isinstance(plot, PitchTrace):
        plot.show(block(number + 1, 57 + 5 * np.sin(number / 7), 60), (number + 0.5) * CELL_S)
    else:
        plot.show(tuple(np.linspace(-80, -20 - number % 10, BANDS)), (number + 1.5) * CELL_S)


@pytest.mark.parametrize("looks_a_second", [3, 4, 15, 30, 60])
@pytest.mark.parametrize("kind", [PitchTrace, Spectrogram])
@in_loop
async def test_a_plot_is_drawn_four_times_a_second_at_any_frame_rate(
    monkeypatch, kind, looks_a_second
):
    plot, drawn = kind("plot"), []
    async with PlotApp(plot).run_test(size=(46, 8)):
        monkeypatch.setattr(plot, "plot", lambda *_: drawn.append(1))
        for look in range(10 * looks_a_second):
            now = (look + 0.9) / looks_a_second
            if kind is PitchTrace:
                plot.show(block(int(now * 10), 57), now)
            else:
                plot.show((-20.0,) * BANDS, now)
    assert len(drawn) == pytest.approx(10 * min(looks_a_second, 4), abs=1)


class Resizable:
    """A plot that has the size `shape`, without a terminal and its messages."""

    shape = Size(200, 12)

    @property
    def size(self) -> Size:
        return self.shape


class ResizableTrace(Resizable, PitchTrace):
    pass


class ResizableSpectrogram(Resizable, Spectrogram):
    pass


@pytest.mark.thorough
@pytest.mark.parametrize("columns", [0, 30, MAX_COLUMNS + 50])
@pytest.mark.parametrize("kind", [ResizableTrace, ResizableSpectrogram])
@in_loop
async def test_a_plot_fills_its_room_at_every_width(kind, columns):
    plot = kind("plot")
    async with PlotApp(plot).run_test(size=(200, 12)):
        for number in range(columns):
            feed(plot, number)
        for width in range(200, 0, -1):
            height = 1 + width % 30
            plot.shape = Size(width, height)
            plot.draw()
            assert [plot.render_line(y).cell_length for y in range(height)] == [width] * height
            if width > AXIS and height > 1:
                drawn = rows_of(plot)
                assert len(drawn) == height - 1
                assert {len(row) for row in drawn} == {width - AXIS}
                assert any(row.strip() for row in drawn) == (columns > 0)
            if columns:
                feed(plot, columns + 200 - width)


@in_loop
async def test_a_narrow_spectrogram_is_the_newest_part_of_a_wide_one():
    plot = ResizableSpectrogram("plot")
    plot.shape = Size(AXIS + 80, 12)
    async with PlotApp(plot).run_test():
        for number in range(60):
            feed(plot, number)
        wide = spectrogram_levels(plot)
        assert [half[:20] for half in wide] == [[0] * 20] * 22
        plot.shape = Size(AXIS + 30, 12)
        plot.draw()
        assert spectrogram_levels(plot) == [half[-30:] for half in wide]


@pytest.mark.parametrize("tone_hz", [120.0, 440.0, 1000.0, 3000.0, 9000.0])
@in_loop
async def test_a_sine_is_one_bright_row_at_its_frequency(tone_hz):
    spectrum = Spectrum()
    sine = 0.1 * np.sin(2 * np.pi * tone_hz * np.arange(24_000) / 48_000)
    spectrum.push(sine.astype(np.float32))
    plot = ResizableSpectrogram("plot")
    async with PlotApp(plot).run_test():
        for number in range(1, 5):
            plot.show(spectrum.bands(0), number * CELL_S)
        for rows in (3, 4, 11, 24, 30):
            plot.shape = Size(AXIS + 10, rows + 1)
            plot.draw()
            levels = np.array(spectrogram_levels(plot))
            assert levels.shape == (2 * rows, 10)
            assert not levels[:, :6].any(), "nothing was there before"
            assert (levels[:, 6:] == levels[:, -1:]).all()
            column = levels[:, -1]
            low, high = SPECTRUM_HZ
            expected = int((1 - np.log(tone_hz / low) / np.log(high / low)) * 2 * rows)
            assert abs(int(column.argmax()) - expected) <= 1 + rows // 30
            # A band is two rows high if there are more rows than bands.
            assert np.count_nonzero(column >= LEVELS - 2) <= 1 + (2 * rows > BANDS)
            assert column.max() == LEVELS
            far = np.abs(np.arange(2 * rows) - column.argmax()) > 1 + rows / 2
            assert not column[far].any()


@in_loop
async def test_frequencies_on_the_axis_are_where_they_sound():
    plot = Spectrogram("plot")
    async with PlotApp(plot).run_test(size=(AXIS + 10, 25)):
        labels = axis_of(plot)
        assert [label for label in labels if label] == [
            *("10k", "5k", "2k", "1k", "500", "200", "100"),
        ]
        low, high = SPECTRUM_HZ
        for label in filter(None, labels):
            value = float(label.replace("k", "000"))
            row = 23 - int(np.log(value / low) / np.log(high / low) * 24)
            assert labels.index(label) == row
        assert "output, in Hz" in plot.text


def lightness(rgb) -> float:
    """L* of CIELAB."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.divide(rgb, 255)
    ]
    y = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


@pytest.mark.parametrize("colours", [viridis(), grey()])
def test_each_level_is_lighter_than_the_one_before_by_the_same(colours):
    assert len(colours) == LEVELS
    steps = np.diff([lightness(colour) for colour in colours])
    assert steps.min() > 2.5
    assert steps.max() < 1.6 * steps.mean()


def test_the_colours_of_256_are_these_and_never_darker():
    colours = viridis_256()
    assert len(colours) == LEVELS
    assert {value for colour in colours for value in colour} <= {0, 95, 135, 175, 215, 255}
    assert (np.diff([lightness(colour) for colour in colours]) >= 0).all()
    assert len(set(colours)) >= 7


async def shown_ramp(theme: str) -> list[Rgb]:
    """The colours of levels from silence to the loudest, as a plot in this terminal has them."""
    plot = Spectrogram("plot")
    async with PlotApp(plot, theme).run_test(size=(AXIS + LEVELS + 1, 3)):
        for level in range(LEVELS + 1):
            plot.show((QUIET_DB + LEVEL_DB * (level - 0.5),) * BANDS, (level + 1) * CELL_S)
        plot.draw()
        return halves_of(plot)[0]


@in_loop
async def test_louder_is_further_from_the_background_in_every_theme():
    for theme in ("dark", "light", "contrast"):
        ramp = [lightness(rgb) for rgb in await shown_ramp(theme)]
        steps = np.diff(ramp[1:])
        assert (steps > 0).all() if theme != "light" else (steps < 0).all()
        assert abs(ramp[-1] - ramp[0]) > 50


@in_loop
async def test_the_high_contrast_theme_is_grey():
    assert all(len(set(rgb)) == 1 for rgb in await shown_ramp("contrast"))
    assert any(len(set(rgb)) > 1 for rgb in await shown_ramp("dark"))


@in_loop
async def test_a_terminal_of_256_colours_gets_its_own(monkeypatch):
    monkeypatch.delenv("COLORTERM")
    ramp = await shown_ramp("dark")
    assert ramp[1:] == list(viridis_256())


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
@in_loop
async def test_without_colours_density_is_level(monkeypatch, variable):
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv(variable, {"NO_COLOR": "1", "TERM": "xterm"}[variable])
    plot = Spectrogram("plot")
    async with PlotApp(plot).run_test(size=(AXIS + LEVELS + 1, 3)):
        for level in range(LEVELS + 1):
            plot.show((QUIET_DB + LEVEL_DB * (level - 0.5),) * BANDS, (level + 1) * CELL_S)
        plot.draw()
        for row in rows_of(plot):
            assert "".join(dict.fromkeys(row)) == SHADES
        assert {style and style.bgcolor for _, style, _ in plot.render_line(0)} == {
            plot.rich_style.bgcolor
        }


@in_loop
async def test_another_theme_and_another_size_apply_while_nothing_plays():
    plot = Spectrogram("plot")
    app = PlotApp(plot)
    async with app.run_test(size=(AXIS + 20, 12)) as pilot:
        for number in range(30):
            feed(plot, number)
        dark = halves_of(plot)[0]
        app.use("light")
        await until(lambda: halves_of(plot)[0] != dark)
        await pilot.resize_terminal(AXIS + 25, 8)
        await until(lambda: [len(row) for row in rows_of(plot)] == [25] * 7)


@in_loop
async def test_the_lines_have_the_colours_of_the_theme_also_of_a_new_one():
    plot = PitchTrace("trace")
    app = PlotApp(plot)
    async with app.run_test(size=(AXIS + 20, 12)):
        for number in range(30):
            plot.show(block(number + 1, 48, 60), (number + 0.5) * CELL_S)
        for theme in ("dark", "light"):
            app.use(theme)
            colours = {
                Color.parse(getattr(THEMES[theme], part)) for part in ("foreground", "success")
            }
            await until(lambda colours=colours: colours_of_lines(plot) == colours)


def colours_of_lines(plot) -> set[Color]:
    """The colours of Braille characters."""
    return {
        Color.from_rich_color(style.color)
        for y in range(plot.size.height - 1)
        for text, style, _ in list(plot.render_line(y))[1:]
        if style and style.color and text.strip()
    }


async def until(condition) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")
