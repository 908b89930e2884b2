"""Settings as a flat YAML mapping, the format of presets and of the remembered run.

The file is parsed to YAML nodes, and each value is converted according to its setting. YAML's
implicit types (octal ``012``, ``1:30`` as ninety, ``off`` as false) therefore never change a
value: it is read as it is written, or refused.

Each file that rtvc writes ends with a comment with the version of rtvc. A file that cannot be read
and has a newer version is not damaged: it is kept, and never replaced.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from rtvc._version import __version__
from rtvc.errors import RtvcError, UsageError, did_you_mean
from rtvc.setting import Setting, SettingError, Value
from rtvc.settings import SETTINGS

MAX_BYTES = 64 * 1024
"""Maximum size of a settings file in bytes."""

MAX_MEASURED_BYTES = 1024 * 1024
"""Maximum size of a file of measurements in bytes."""

_DECIMAL = re.compile(r"[-+]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
_LIKE_A_NUMBER = re.compile(r"[-+]?[.,]?\d")
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "timestamp", "value")
}
_NULL_TAG = "tag:yaml.org,2002:null"
_SAVED_BY = re.compile(r"^# Saved by rtvc (\S+)\.[ \t\r]*$", re.MULTILINE)
_VERSION = re.compile(r"\d{1,6}(?:\.\d{1,6}){0,3}")
_PROSE = "description"
"""The text of which white space does not matter; other texts are read as they are written."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a settings file; `line` counts from 1, and 0 means the whole file."""

    line: int
    message: str


class SettingsFileError(UsageError):
    """A settings file is not valid.

    Attributes
    ----------
    path
        The path, as it was given.
    problems
        All problems, in the order of the lines.
    """

    def __init__(self, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(self.lines))

    @property
    def lines(self) -> list[str]:
        """A line for each problem."""
        return [
            f"{self.path}:{p.line}: {p.message}" if p.line else f"{self.path}: {p.message}"
            for p in self.problems
        ]


class UnreadableFileError(SettingsFileError):
    """The system does not let a settings file be read, whatever is in it."""


class NewerFileError(SettingsFileError):
    """A settings file was written by a newer version of rtvc, and cannot be read by this one."""


class NewerFormatError(RtvcError):
    """A newer version of rtvc has written a file of measurements."""

    def __init__(self, source: str) -> None:
        super().__init__(f"{source} cannot be used: a newer version of rtvc has written it.")


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a settings file: texts, such as the description, and settings.

    Attributes
    ----------
    version
        The version of rtvc that wrote the file, "" if it has none.
    """

    texts: dict[str, str]
    values: dict[str, Value]
    version: str = ""
    notes: list[Problem] = field(default_factory=list, compare=False)
    """Values that were rounded or are ignored; the file is valid."""


def is_there(path: Path) -> bool:
    """Return whether a settings file exists; True where the system does not say.

    `read_text` then raises the error that says why.
    """
    try:
        return path.exists()
    except OSError:
        return True


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """Return the text of a settings file of at most `limit` bytes.

    Raises
    ------
    SettingsFileError
        If it is missing, too large or not UTF-8.
    UnreadableFileError
        If the system does not let it be read.
    """
    try:
        if _is_named_pipe(path):
            raise SettingsFileError(str(path), [Problem(0, "It is a pipe, not a file.")])
        with path.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            reason = f"It is larger than {limit // 1024} KiB, so it cannot be a settings file."
        else:
            return data.decode("utf-8-sig")
    except FileNotFoundError:
        reason = "There is no such file."
    except IsADirectoryError:
        reason = "It is a folder, not a file."
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problem = Problem(line, "This is not UTF-8 text; save the file as UTF-8.")
        raise SettingsFileError(str(path), [problem]) from None
    except OSError as error:
        problem = Problem(0, f"It cannot be read: {error.strerror}.")
        raise UnreadableFileError(str(path), [problem]) from None
    raise SettingsFileError(str(path), [Problem(0, reason)])


def _is_named_pipe(path: Path) -> bool:
    """Return whether a path leads to a pipe with a name, at which a reader may wait for ever.

    Pipes of the shell, such as /dev/stdin and those of <(...), have none and come to an end.
    """
    real = os.path.realpath(path)
    try:
        return stat.S_ISFIFO(os.stat(real).st_mode) and not real.startswith(("/dev/", "/proc/"))
    except OSError:
        return False


def parse(
    text: str,
    source: str,
    text_keys: tuple[str, ...],
    listing: str = "'rtvc run --help' lists all settings.",
) -> Document:
    """Parse a settings file.

    Parameters
    ----------
    text
        Contents of the file.
    source
        Name of the file, for messages.
    text_keys
        Keys with free text instead of a setting.
    listing
        A sentence that says where all keys are listed, for a key that is not known.

    Raises
    ------
    SettingsFileError
        If the file is not valid; lists all problems.
    NewerFileError
        If it is not valid, and a newer version of rtvc has written it.
    """
    found = _SAVED_BY.findall(text)
    version = found[-1] if found else ""
    try:
        return _parse(text, source, text_keys, listing, version)
    except SettingsFileError as error:
        raise file_error(source, version, error.problems) from None


def _parse(
    text: str, source: str, text_keys: tuple[str, ...], listing: str, version: str
) -> Document:
    problems: list[Problem] = []
    document = Document({}, {}, version)
    first_lines: dict[str, int] = {}
    for key_node, node in _key_value_nodes(text, source):
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(Problem(line, "The name of a setting must be one word."))
            continue
        key = str(key_node.value)
        if key in first_lines:
            problems.append(Problem(line, f"{key!r} is already set in line {first_lines[key]}."))
            continue
        first_lines[key] = line
        if key not in SETTINGS and key not in text_keys:
            known = [*text_keys, *SETTINGS]
            hint = did_you_mean(key, known, listing)
            problems.append(Problem(line, f"There is no setting {key!r}. {hint}"))
            continue
        try:
            if key in SETTINGS:
                value, note = _value(SETTINGS[key], node), SETTINGS[key].rounding(node.value)
                if SETTINGS[key].stored:
                    document.values[key] = value
                else:
                    note = f"{key!r} is ignored: files do not change it. Choose it in each run."
                if note:
                    document.notes.append(Problem(line, note))
            else:
                content = str(_scalar(key, node).value)
                document.texts[key] = " ".join(content.split()) if key == _PROSE else content
        except SettingError as error:
            problems.append(Problem(line, str(error)))
    if problems:
        raise SettingsFileError(source, problems)
    return document


def file_error(source: str, version: str, problems: list[Problem]) -> SettingsFileError:
    """Return the error for a file that is not valid, and that a version of rtvc has written."""
    if _release(version) <= _release(__version__):
        return SettingsFileError(source, problems)
    message = f"rtvc {version} has saved it, and this is rtvc {__version__}. Update rtvc to use it."
    return NewerFileError(source, [Problem(0, message), *problems])


def is_newer_format(document: object, known: int) -> bool:
    """Return whether a file of measurements has a format newer than the one that is `known`."""
    form = document.get("format") if isinstance(document, dict) else None
    return type(form) is int and form > known


def refuse_newer_format(path: Path, known: int) -> None:
    """Refuse to replace a file of measurements whose format is newer than the one that is `known`.

    Raises
    ------
    RtvcError
        If it is one.
    """
    try:
        document = yaml.safe_load(read_text(path, MAX_MEASURED_BYTES))
    except (SettingsFileError, yaml.YAMLError, RecursionError, ValueError):
        return  # missing or damaged
    if is_newer_format(document, known):
        raise RtvcError(
            f"{path} is not replaced: a newer version of rtvc has written it. Update rtvc to use "
            "it, or remove it."
        )


def refuse_newer(path: Path, text_keys: tuple[str, ...]) -> None:
    """Refuse to replace a settings file that only a newer version of rtvc can read.

    Raises
    ------
    RtvcError
        If it is one.
    """
    try:
        parse(read_text(path), str(path), text_keys)
    except NewerFileError as error:
        raise RtvcError(f"{path} is not replaced: {error.problems[0].message}") from None
    except SettingsFileError:
        return


def render(texts: Mapping[str, str], values: Mapping[str, Value]) -> str:
    """Return the text of a new settings file, with a comment about each setting."""
    lines = [f"{key}: {_to_yaml(text)}" for key, text in texts.items()]
    for name, value in values.items():
        if SETTINGS[name].stored:
            lines += ["", *_setting_lines(SETTINGS[name], value)]
    return "\n".join([*lines, _saved_by()])


def update_text(
    text: str, source: str, texts: Mapping[str, str], values: Mapping[str, Value]
) -> str:
    """Return `text` with new values; comments and order stay.

    Settings in the file that are not in `values` get their default. New settings are added at
    the end.

    Raises
    ------
    SettingsFileError
        If `text` is not a valid settings file with these texts.
    """
    old = parse(text, source, tuple(texts))
    values = {name: value for name, value in values.items() if SETTINGS[name].stored}
    wanted: dict[str, Value] = {**texts, **values}
    edits: list[tuple[int, int, str]] = []
    for key_node, node in _key_value_nodes(text, source):
        key = str(key_node.value)
        if key in SETTINGS and not SETTINGS[key].stored:
            edits.append((*_lines_of(text, key_node, node), ""))
            continue
        new = wanted.pop(key) if key in wanted else SETTINGS[key].default
        if {**old.texts, **old.values}[key] == new:
            continue
        start, end = node.start_mark.index, node.end_mark.index
        # The span of a block scalar or a flow-style value may include the end of the line.
        rest = text[start:end]
        tail = rest[len(rest.rstrip()) :]
        edits.append((start, end, _to_yaml(new) + tail))
    for start, end, new_text in reversed(edits):
        text = text[:start] + new_text + text[end:]
    text = _SAVED_BY.sub("", text)
    for key, new in wanted.items():
        lines = (
            _setting_lines(SETTINGS[key], new) if key in SETTINGS else [f"{key}: {_to_yaml(new)}"]
        )
        text = "\n".join([text.rstrip("\n"), "", *lines, ""])
    text = text.rstrip("\n") + "\n" + _saved_by()
    expected = Document(
        dict(texts),
        {**{key: SETTINGS[key].default for key in old.values}, **values},
        __version__,
    )
    try:
        if parse(text, source, tuple(texts)) == expected:
            return text
    except SettingsFileError:
        pass
    # Anchors, flow style and the like cannot be updated value by value.
    return render(texts, values)


def _key_value_nodes(text: str, source: str) -> list[tuple[yaml.Node, yaml.Node]]:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        problem = Problem(line, f"The character {error.character!r} is not allowed in YAML.")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "unreadable"
        problem = Problem(mark.line + 1 if mark else 0, f"This is not valid YAML: {reason}.")
    except RecursionError:
        problem = Problem(0, "It is nested too deeply; settings are lines such as 'pitch: 4'.")
    except (ValueError, OverflowError):  # such as "\UFFFFFFFF", which PyYAML does not check
        problem = Problem(0, "This is not valid YAML: a number in it is too large.")
    else:
        if isinstance(root, yaml.MappingNode):
            return list(root.value)
        what = "It is empty" if root is None else "This is not a list of settings"
        line = 0 if root is None else root.start_mark.line + 1
        problem = Problem(line, f"{what}; settings are lines of the form 'name: value'.")
    raise SettingsFileError(source, [problem])


def _scalar(key: str, node: yaml.Node) -> yaml.ScalarNode:
    if not isinstance(node, yaml.ScalarNode):
        raise SettingError(key, f"{key!r} must be one value, not a list or a mapping.")
    if node.tag == _NULL_TAG:
        raise SettingError(key, f"{key!r} has no value; give one, or remove the line.")
    if node.tag not in _PLAIN_TAGS:
        raise SettingError(key, f"{key!r} has the tag {node.tag!r}; remove the tag.")
    return node


def _value(setting: Setting, node: yaml.Node) -> Value:
    scalar = _scalar(setting.name, node)
    text = str(scalar.value)
    if setting.kind is str:
        return setting.check(text)
    if scalar.style is not None:
        raise SettingError(
            setting.name,
            f"{setting.name!r} is the text {text!r}, but must be {setting.allowed}; "
            "leave the quotes out.",
        )
    if setting.kind is bool or _DECIMAL.fullmatch(text):
        return setting.parse(text)
    hint = ""
    if scalar.tag.endswith((":int", ":float")) or _LIKE_A_NUMBER.match(text):
        hint = "; write it as a plain decimal number, such as -2.5 or 12"
    raise SettingError(
        setting.name, f"{setting.name!r} is {text!r}, but must be {setting.allowed}{hint}."
    )


def _to_yaml(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = value.isprintable()
        style = None if plain else '"'  # with escapes
        dumped = yaml.safe_dump(value, width=10**6, allow_unicode=plain, default_style=style)
        return dumped.removesuffix("\n").removesuffix("\n...")
    return repr(value).removesuffix(".0")


def _lines_of(text: str, key_node: yaml.Node, node: yaml.Node) -> tuple[int, int]:
    """Return the span of the lines of a setting, with the comment that `render` writes."""
    start = text.rfind("\n", 0, key_node.start_mark.index) + 1
    comment = _setting_lines(SETTINGS[str(key_node.value)], "")[0] + "\n"
    if text[:start].endswith(comment):
        start -= len(comment)
    end = text.find("\n", node.end_mark.index)
    return start, len(text) if end < 0 else end + 1


def _setting_lines(setting: Setting, value: Value) -> list[str]:
    allowed = setting.allowed[0].upper() + setting.allowed[1:]  # capitalize() would write "db"
    return [
        f"# {setting.help} {allowed}.",
        f"{setting.name}: {_to_yaml(value)}",
    ]


def _saved_by() -> str:
    """Return the end of a file that rtvc writes."""
    return f"\n# Saved by rtvc {__version__}.\n"


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, () if it has none."""
    found = _VERSION.match(version)
    return tuple(map(int, found[0].split("."))) if found else ()
