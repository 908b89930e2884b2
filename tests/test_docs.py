"""The pages agree with one another and with the code."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtvc.system.mlx_environment import VARIABLES

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]


def anchors(text: str) -> set[str]:
    """Return what the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name}: there is no {target}"
        if anchor:
            assert anchor in anchors(file.read_text()), f"{page.name}: no heading for {target}"


def test_every_file_that_a_page_names_exists():
    for page in PAGES:
        pattern = r"`((?:rtvc|tests|docs|benchmarks|\.ci|\.github)/[\w/.-]+)`"
        for name in re.findall(pattern, page.read_text()):
            if page.name != "CHANGELOG.md":
                assert (ROOT / name).exists(), f"{page.name}: there is no {name}"


def test_the_architecture_names_threads_and_classes_that_exist():
    page = (ROOT / "docs/architecture.md").read_text()
    code = "\n".join(path.read_text() for path in (ROOT / "rtvc").rglob("*.py"))
    threads = re.findall(r"^\| `(rtvc[ -][a-z-]+)` \|", page, re.MULTILINE)
    assert len(threads) > 5
    for name in threads:
        assert f'"{name}"' in code, f"no thread is called {name}"
    for name in re.findall(r"`([A-Z]\w+)`", page):
        assert f"class {name}" in code, f"no class is called {name}"


def test_the_readme_is_short_shows_a_picture_first_and_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 120
    assert text.splitlines()[2].startswith("![")
    linked = set(re.findall(r"\]\((docs/\w[^)]*\.md)\)", text))
    assert linked == {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}


def names_read(tree: ast.AST) -> Iterator[str]:
    """Return the environment variables that a module reads."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(name)) if re.fullmatch(r"RTVC_[A-Z_]+", name):
                yield name
            case (
                ast.Call(
                    func=ast.Attribute(value=ast.Attribute(attr="environ"), attr="get"),
                    args=[ast.Constant(value=str(name)), *_],
                )
                | ast.Call(
                    func=ast.Attribute(attr="getenv"), args=[ast.Constant(value=str(name)), *_]
                )
                | ast.Subscript(
                    value=ast.Attribute(attr="environ"), slice=ast.Constant(value=str(name))
                )
                | ast.Compare(
                    left=ast.Constant(value=str(name)),
                    comparators=[ast.Attribute(attr="environ")],
                )
            ):
                yield name
            case ast.For(iter=ast.Tuple(elts=elements)) if "environ.get(" in ast.unparse(node):
                yield from (str(e.value) for e in elements if isinstance(e, ast.Constant))


def test_the_page_of_environment_variables_is_what_the_code_reads():
    read = {
        name
        for path in (ROOT / "rtvc").rglob("*.py")
        for name in names_read(ast.parse(path.read_text()))
    }
    page = (ROOT / "docs/environment.md").read_text()
    section = page.split("## Read by rtvc\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == read
    assert {"RTVC_HOME", "OMP_NUM_THREADS", "MLX_DISABLE_COMPILE", "TERM"} <= read


def test_the_page_of_environment_variables_has_those_that_rtvc_sets():
    page = (ROOT / "docs/environment.md").read_text()
    section = page.split("## Set by rtvc\n")[1].split("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", section, re.MULTILINE)) == VARIABLES


def test_the_changelog_is_dated_and_compares_versions():
    text = (ROOT / "CHANGELOG.md").read_text()
    unreleased, *versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert unreleased == "[Unreleased]"
    matches = [re.fullmatch(r"\[([\d.]+)\] - \d{4}-\d{2}-\d{2}", v) for v in versions]
    assert None not in matches
    numbers = [match[1] for match in matches if match]
    assert len(numbers) >= 1
    links = dict(re.findall(r"^\[([\w.]+)\]: (\S+)$", text, re.MULTILINE))
    newer = ["HEAD", *(f"v{number}" for number in numbers)]
    expected = {
        name: f"{REPOSITORY}/compare/v{older}...{new}"
        for name, older, new in zip(["Unreleased", *numbers], numbers, newer, strict=False)
    }
    assert links == {**expected, numbers[-1]: f"{REPOSITORY}/releases/tag/v{numbers[-1]}"}


def test_the_repository_has_one_address():
    for path in (*PAGES, ROOT / "pyproject.toml", *ROOT.glob(".github/**/*.yml")):
        for address in re.findall(r"https://[\w.-]+/[\w.-]+/rtvc\b", path.read_text()):
            assert address == REPOSITORY, path
