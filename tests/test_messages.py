"""Every error that a user can see is a whole sentence, where it is raised."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from rtvc.errors import close_matches, did_you_mean

ROOT = Path(__file__).parents[1]
HOLE = "\N{OBJECT REPLACEMENT CHARACTER}"


@cache
def nodes() -> list[tuple[Path, ast.AST]]:
    """Return all nodes of rtvc's files with the files."""
    files = sorted((ROOT / "rtvc").rglob("*.py"))
    return [(path, node) for path in files for node in ast.walk(ast.parse(path.read_text()))]


def message_at() -> dict[str, int]:
    """Return which argument is the message, for each class of errors."""
    at = dict.fromkeys(error_classes(), 0) | {"SettingError": 1, "Problem": 1}
    del at["SettingsFileError"]  # its message is made of its problems
    return at


def error_classes() -> set[str]:
    """Return the names of `RtvcError` and of all classes derived from it."""
    found = {"RtvcError"}
    classes = [node for _, node in nodes() if isinstance(node, ast.ClassDef)]
    while more := {
        node.name
        for node in classes
        if node.name not in found and any(ast.unparse(base) in found for base in node.bases)
    }:
        found |= more
    return found


def text_of(node: ast.expr) -> str:
    """Return a message as far as it is written there, with `HOLE` for each value put in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(text_of(part) for part in parts)
        case _:
            return HOLE


def messages() -> Iterator[tuple[str, str]]:
    at = message_at()
    for path, node in nodes():
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in at and len(node.args) > at[name]:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", text_of(node.args[at[name]])


def test_every_error_is_raised_with_a_sentence():
    found = list(messages())
    assert len(found) > 150
    wrong = [
        f"{where}: {text}"
        for where, text in found
        if not (text[:1].isupper() or text[:1] in f"'{HOLE}-" or text.startswith("rtvc "))
        or text[-1:] not in f".!?{HOLE}"
        or "nearest:" in text
    ]
    assert not wrong, "\n".join(["Each must begin with a capital and end with a stop:", *wrong])


def test_nobody_repairs_the_punctuation_of_an_error():
    for path, node in nodes():
        if isinstance(node, ast.Call) and ast.unparse(node).startswith("str(error).rstrip("):
            pytest.fail(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("pich", "pitch"),
        ("PITCH", "pitch"),
        ("Ptich", "pitch"),
        ("formnat", "formant"),
        ("Straße", "STRASSE"),
        ("foo", ""),
        ("", ""),
        ("x" * 1000, ""),
    ],
)
def test_a_similar_word_is_suggested_and_no_other(word: str, near: str):
    known = ("pitch", "pitch_fine", "formant", "STRASSE")
    assert close_matches(word, known) == ([near] if near else [])
    wanted = f"Did you mean {near!r}?" if near else "See the list."
    assert did_you_mean(word, known, "See the list.") == wanted
    assert did_you_mean(word, (), "See the list.") == "See the list."


def test_the_most_similar_words_come_first():
    assert close_matches("anna", ("Hanna", "Anna 2", "Bert", "Anna"), n=3) == [
        "Anna",
        "Hanna",
        "Anna 2",
    ]
