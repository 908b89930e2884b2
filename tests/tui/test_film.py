"""Pictures and recordings as SVG."""

import asyncio
import xml.etree.ElementTree as ET

import pytest

from tests.tui.conftest import in_loop
from tests.tui.film import CELL, LINE, Look, film
from tests.tui.pictures import Scene, pictures, recording, small_film

SVG = "{http://www.w3.org/2000/svg}"
WHITE, BLACK, RED, BLUE = (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 0, 255)
PLAIN = Look(WHITE, BLACK)


def row(text: str, look: Look = PLAIN):
    return ((text, look),)


def parsed(svg: str):
    return ET.fromstring(svg)


def rows_by_place(svg: str) -> dict[tuple[int, int], ET.Element]:
    """The drawn rows by frame, -1 for what all share, and by row of the frame."""
    tree = parsed(svg)
    drawn = {f"#{g.get('id')}": g for g in tree.iter(f"{SVG}g") if g.get("id")}
    screen = tree.find(f"{SVG}svg")
    strip = screen.find(f"{SVG}g")
    frames = [(-1, screen), *enumerate(strip)]
    return {
        (number, int(use.get("y")) // LINE): drawn[use.get("href")]
        for number, frame in frames
        for use in frame.findall(f"{SVG}use")
    }


def words(group: ET.Element) -> list[str]:
    return [text.text or "" for text in group.iter(f"{SVG}text")]


def test_rows_that_differ_are_in_the_strip_and_the_others_once():
    frames = [(row("same row"), row(f"<frame> {number}")) for number in range(3)]
    svg = film(frames, 0.2)
    places = rows_by_place(svg)
    width = 9 * CELL
    assert {place: words(drawn) for place, drawn in places.items()} == {
        (-1, 0): ["same row"],
        (0, 1): ["<frame> 0"],
        (1, 1): ["<frame> 1"],
        (2, 1): ["<frame> 2"],
    }
    assert f'<g transform="translate({2 * width})">' in svg
    assert "0.6s steps(3) infinite" in svg
    assert f"translateX({-3 * width}px)" in svg


def test_a_picture_has_no_animation():
    assert "@keyframes" not in film([(row("text"),)], 1.0)


def test_a_row_that_returns_is_drawn_once():
    frames = [(row("a"),), (row("b"),), (row("a"),)]
    assert film(frames, 1.0).count(">a<") == 1


def strokes(svg: str) -> dict[str, list[str]]:
    """Paths by colour and thickness."""
    tree = parsed(svg)
    style = next(tree.iter(f"{SVG}style")).text or ""
    found = {}
    for path in tree.iter(f"{SVG}path"):
        colour, _, thickness = (path.get("class") or "").partition(" ")
        rgb = style.split(f".{colour}{{color:")[1][:7]
        found[f"{rgb} {thickness or 'h4'}"] = [
            f"M{part}" for part in path.get("d", "").split("M")[1:]
        ]
    return found


@pytest.mark.parametrize(
    ("character", "thickness", "stroke"),
    [
        ("█", "h8", "M1 1h2"),
        ("▀", "h4", "M1 .5h2"),
        ("▄", "h4", "M1 1.5h2"),
        ("▂", "h2", "M1 1.75h2"),
    ],
)
def test_blocks_are_shapes_on_their_background(character, thickness, stroke):
    frame = ((" ", PLAIN), (character * 2, Look(RED, BLUE)), (" text     ", PLAIN))
    svg = film([(frame,)], 1.0)
    shapes = strokes(svg)
    assert shapes[f"#ff0000 {thickness}"] == [stroke]
    behind = {"▀": ("#0000ff h4", "M1 1.5h2")}.get(character, ("#0000ff h8", "M1 1h2"))
    assert shapes[behind[0]] == [behind[1]]
    assert [words(drawn) for drawn in rows_by_place(svg).values()] == [["text"]]


def test_parts_of_a_cell_and_shades_are_shapes_too():
    shapes = strokes(film([(((" ▌", Look(RED, BLACK)), ("░", Look(WHITE, BLACK))),)], 1.0))
    assert shapes["#ff0000 h8"] == ["M1 1h0.5"]
    assert shapes["#404040 h8"] == ["M2 1h1"]


@pytest.mark.thorough
@pytest.mark.slow
@in_loop
async def test_the_recording_shows_the_keys_and_is_small(monkeypatch):
    scenes = (
        Scene("Before.", 0.4),
        Scene("Up.", 0.8, ("]", "]")),
        Scene("Presets.", 1.0, ("p",)),
    )
    frames = await recording(scenes=scenes)
    svg = small_film(frames)
    assert "2.2s steps(11)" in svg
    fewer = small_film(frames, len(svg.encode()) - 1)
    assert len(fewer.encode()) < len(svg.encode())
    assert "2.4s steps(8)" in fewer
    text = " ".join(parsed(svg).itertext())
    assert "Before." in text
    assert "presets" in text
    assert all(len(frame) == len(frames[0]) for frame in frames)


@pytest.mark.thorough
@pytest.mark.slow
def test_the_pictures_are_those_of_the_pages():
    made = asyncio.run(pictures((80, 24)))
    assert set(made) == {"panel", "panel-light", "presets"}
    for frame in made.values():
        assert len(frame) == 24
        parsed(film([frame], 1.0))
    assert made["panel"] != made["panel-light"]
