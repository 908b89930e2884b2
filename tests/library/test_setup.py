"""Base models are installed from a server, a mirror or a folder, verified, and completely."""

import dataclasses
import hashlib
import shutil
import signal
import time
from collections import namedtuple

import platformdirs
import pytest

from rtvc import library
from rtvc.cli import options
from rtvc.cli.main import main
from rtvc.config.paths import config_folder
from rtvc.errors import RtvcError, UsageError
from rtvc.library import base_models, setting_up
from rtvc.library.base_models import BASE_MODELS, installed_model, is_intact, model_kind
from rtvc.library.finding import find_voices
from rtvc.library.home import move_into_place
from rtvc.library.setting_up import install_from_folder, install_from_url
from rtvc.settings import Settings
from tests.support.file_server import serving
from tests.support.library_files import GOLDEN, MRF, V1, V2, make_index, make_zip, ran, rtvc, tree
from tests.support.unprivileged import unprivileged

ENCODER = GOLDEN / "hubert_small_fairseq.pt"
ENCODER_FOLDER = GOLDEN / "hubert_small"
RMVPE = GOLDEN / "rmvpe_small.pt"


def facts_of(path):
    data = path.read_bytes()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


SMALL = {
    "contentvec": dataclasses.replace(BASE_MODELS["contentvec"], **facts_of(ENCODER)),
    "rmvpe": dataclasses.replace(BASE_MODELS["rmvpe"], **facts_of(RMVPE)),
    "fcpe": BASE_MODELS["fcpe"],
}

# The same for a subprocess, since the published files are too large for a test.
SMALL_TABLE = f"""
import dataclasses
from rtvc.library import base_models
for kind, facts in (("contentvec", {facts_of(ENCODER)!r}), ("rmvpe", {facts_of(RMVPE)!r})):
    small = dataclasses.replace(base_models.BASE_MODELS[kind], **facts)
    base_models.BASE_MODELS[kind] = small
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def small(monkeypatch):
    for kind, model in SMALL.items():
        monkeypatch.setitem(base_models.BASE_MODELS, kind, model)
    return SMALL


@pytest.fixture
def server():
    with serving() as server:
        server.put("/hubert_base.pt", ENCODER.read_bytes())
        server.put("/rmvpe.pt", RMVPE.read_bytes())
        yield server


def quiet(done, total):
    pass


def from_web(model, server, **how):
    return install_from_url(model, quiet, mirror=server.url + "/", retry_delays_s=(0.01,), **how)


def test_the_urls_are_pinned_to_a_commit():
    for model in BASE_MODELS.values():
        assert model.url.startswith("https://")
        assert any(len(part) == 40 for part in model.url.split("/")), "no commit"
        assert len(model.sha256) == 64
        assert model.matches(model.size, model.sha256)
        assert not model.matches(model.size + 1, model.sha256)
        assert all(model.matches(*other) for other in model.other_files)
    assert sum(m.size for m in BASE_MODELS.values() if m.required) == 370_692_181


def test_a_base_model_is_installed_and_found(small, server, home):
    model = from_web(small["rmvpe"], server)
    assert library.base_model_path("rmvpe") == home / "models" / "rmvpe" / "rmvpe.pt" == model.path
    assert model.path.read_bytes() == RMVPE.read_bytes()
    assert model.known
    assert is_intact(model)
    assert model == installed_model("rmvpe")
    assert model.source == f"{server.url}/rmvpe.pt"
    assert tree(home) == [
        "downloads",
        "models",
        "models/rmvpe",
        "models/rmvpe/model.json",
        "models/rmvpe/rmvpe.pt",
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (RMVPE.read_bytes()[::-1], "SHA-256"),
        (RMVPE.read_bytes()[:-1], "bytes and should have"),
        (b"<html>Sign in</html>", "bytes and should have"),
        (b"", "should have"),
    ],
)
def test_a_wrong_file_is_not_installed(small, server, home, data, message):
    server.put("/rmvpe.pt", data, kind="text/html" if data.startswith(b"<") else "x/y")
    with pytest.raises(RtvcError, match=message):
        from_web(small["rmvpe"], server)
    assert tree(home) == ["downloads"]
    with pytest.raises(RtvcError, match=r"RMVPE is not installed. Run 'rtvc setup' once"):
        library.base_model_path("rmvpe")


def test_an_unpublished_file_needs_a_flag(server, home):
    with pytest.raises(RtvcError, match="should have 181184272"):
        from_web(BASE_MODELS["rmvpe"], server)
    model = from_web(BASE_MODELS["rmvpe"], server, unverified=True)
    assert not model.known
    assert is_intact(model)
    server.put("/hubert_base.pt", V2.read_bytes())
    with pytest.raises(RtvcError, match=r"hubert_base.pt cannot be read as a content encoder"):
        from_web(BASE_MODELS["contentvec"], server, unverified=True)
    assert tree(home / "downloads") == []
    assert sorted(p.name for p in (home / "models").iterdir()) == ["rmvpe"]


def test_a_full_disk_is_reported_before_the_download(server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 2 * 10**8))
    with pytest.raises(RtvcError, match=r"ContentVec in .* takes 190 MB, and 200 MB are free"):
        from_web(BASE_MODELS["contentvec"], server)
    assert server.requests == []


def test_a_failed_replacement_keeps_the_old_model(small, server, monkeypatch):
    from_web(small["rmvpe"], server)

    def no_rename(prepared, target):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("rtvc.library.setting_up.move_into_place", no_rename)
    with pytest.raises(RtvcError, match="Input/output error"):
        from_web(small["rmvpe"], server)
    installed = installed_model("rmvpe")
    assert installed is not None
    assert is_intact(installed)


def copy_files(folder, files):
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)
    return folder


def test_models_are_found_in_the_folders_of_other_programs(tmp_path, small):
    place = copy_files(
        tmp_path / "RVC",
        {
            "assets/hubert/hubert_base.pt": ENCODER,
            "assets/rmvpe/rmvpe.pt": RMVPE,
            "assets/weights/Anna.pth": V2,
            "pytorch_model.bin.txt": V2,
        },
    )
    for kind, source in (("contentvec", ENCODER), ("rmvpe", RMVPE)):
        model = install_from_folder(kind, place)
        assert model.known
        assert model.path.read_bytes() == source.read_bytes()
    with pytest.raises(UsageError, match="no pitch estimator FCPE"):
        install_from_folder("fcpe", place)


@pytest.mark.parametrize(
    "folder", ["embedders/contentvec", "content-vec-best", "hubert_base", "hubert_small"]
)
def test_an_encoder_in_the_layout_of_hugging_face(tmp_path, folder):
    place = shutil.copytree(ENCODER_FOLDER, tmp_path / "x" / folder)
    shutil.copytree(ENCODER_FOLDER, tmp_path / "x" / "other" / "spin")
    # A folder with another name must be given itself.
    model = install_from_folder("contentvec", place if folder == "hubert_small" else tmp_path / "x")
    assert not model.known
    assert model.source.startswith(str(place))
    path = library.base_model_path("contentvec")
    assert path.with_name("config.json").read_bytes() == (place / "config.json").read_bytes()
    with pytest.raises(UsageError):
        install_from_folder("contentvec", tmp_path / "x" / "other")


def test_another_content_encoder_is_installed_by_its_name(tmp_path):
    shutil.copytree(ENCODER_FOLDER, tmp_path / "embedders" / "chinese_hubert_base")
    kind = model_kind("chinese-hubert-base")
    install_from_folder(kind, tmp_path / "embedders")
    assert library.base_model_path("chinese-hubert-base").name == "model.safetensors"
    with pytest.raises(RtvcError, match=r"'spin' is not installed. .*'rtvc setup spin --from FOLD"):
        library.base_model_path("spin")


@pytest.mark.parametrize("name", ["", "hubert", "ContentVec", "content-vec", "hubert_base"])
def test_aliases_of_contentvec(name):
    assert model_kind(name) == "contentvec"


def test_an_encoder_name_is_never_a_path():
    for name in ("../../etc", "/etc", "a/b", "..", "a\\b"):
        assert "/" not in model_kind(name)
        assert model_kind(name) not in (".", "..")


def test_a_single_file(small):
    assert install_from_folder("rmvpe", RMVPE).known
    with pytest.raises(UsageError, match="There is no folder"):
        install_from_folder("rmvpe", GOLDEN / "gone")


def test_a_published_file_takes_precedence(tmp_path, small):
    place = copy_files(
        tmp_path / "many",
        {"rmvpe.pt": V2, "a/rmvpe_20231006.pt": RMVPE, "a/RMVPE.pth": V1, "a/rmvpe.onnx": V1},
    )
    assert install_from_folder("rmvpe", place).file == "rmvpe_20231006.pt"


def test_files_with_the_right_name_and_other_content_are_reported(tmp_path, home):
    cut = tmp_path / "cut.pt"
    cut.write_bytes(RMVPE.read_bytes()[:-100])
    place = copy_files(tmp_path / "many", {"rmvpe.pt": MRF, "rmvpe_2.pt": cut})
    with pytest.raises(RtvcError, match=r"No file in .*rmvpe.pt cannot be read as.*rmvpe_2.pt"):
        install_from_folder("rmvpe", place)
    assert tree(home) == []
    # A right file next to them is found.
    copy_files(place, {"deep/er/rmvpe_3.pt": RMVPE})
    assert install_from_folder("rmvpe", place).file == "rmvpe_3.pt"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 1}',
        '{"format": 1, "file": "../x", "source": "", "size": 1, "sha256": "", "known": true}',
        '{"format": 1, "file": 3, "source": "", "size": 1, "sha256": "", "known": true}',
        "[" * 100_000,
    ],
)
def test_a_damaged_manifest_counts_as_missing(small, server, home, text):
    from_web(small["rmvpe"], server)
    (home / "models" / "rmvpe" / "model.json").write_text(text)
    assert installed_model("rmvpe") is None
    assert not base_models.is_newer("rmvpe")


def test_setup_downloads_once_and_replaces_a_damaged_model(server, home):
    def setup(*words):
        return ran("setup", "--source", server.url, *words, home=home, code=SMALL_TABLE)

    code, output, _ = setup()
    assert code == 0
    assert output.splitlines() == [
        "content encoder ContentVec: installed (published file, SHA-256 verified).",
        "pitch estimator RMVPE: installed (published file, SHA-256 verified).",
        "All base models are installed. Now add a voice: rtvc voices add FILE",
    ]
    assert len(server.requests) == 2
    code, output, _ = setup()
    assert code == 0
    assert output.count("already installed") == 2
    assert len(server.requests) == 2
    path = home / "models" / "rmvpe" / "rmvpe.pt"
    raw = bytearray(path.read_bytes())
    raw[5000] ^= 1
    path.write_bytes(raw)
    listed = ran("setup", "--list", home=home, code=SMALL_TABLE)[1]
    assert "rmvpe        pitch estimator RMVPE: damaged; 'rtvc setup' downloads it again" in listed
    assert "contentvec   content encoder ContentVec: installed" in listed
    code, output, errors = setup()
    assert (code, len(server.requests)) == (0, 3)
    assert "is damaged and will be replaced" in errors
    assert path.read_bytes() == RMVPE.read_bytes()


def test_setup_resumes_after_an_interruption(server, home):
    server.put("/hubert_base.pt", ENCODER.read_bytes(), cuts=[10**6, 10], statuses=[0, 403])
    command = ("setup", "--source", server.url)
    code, output, errors = ran(*command, home=home, code=SMALL_TABLE)
    assert (code, output) == (1, "")
    assert errors.splitlines()[-1].startswith("rtvc: ")
    assert "signing in" in errors
    assert not (home / "models").exists()
    assert ran(*command, home=home, code=SMALL_TABLE)[0] == 0
    assert "bytes=1000000-" in server.ranges()[2]
    assert tree(home / "downloads") == []


OFFLINE = """
import socket
def no_network(*arguments, **named):
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
socket.getaddrinfo = no_network
"""


def test_a_mirror_on_hugging_face_is_no_page_of_a_repository(home):
    mirror = "https://huggingface.co/lj1995/VoiceConversionWebUI/resolve/main"
    code, _, errors = ran("setup", "rmvpe", "--source", mirror, home=home, code=OFFLINE)
    assert code == 1
    assert "The server huggingface.co cannot be found" in errors


def test_setup_offline_prints_one_error(home):
    code, output, errors = ran("setup", home=home, code=OFFLINE)
    assert (code, output) == (1, "")
    assert errors.splitlines() == [
        "content encoder ContentVec: downloading 190 MB.",
        "rtvc: The server huggingface.co cannot be found. Check the URL, and that this "
        "machine is online.",
    ]
    assert tree(home) == ["downloads"]


def test_an_interrupted_setup_says_how_to_resume(server, home):
    server.put("/hubert_base.pt", ENCODER.read_bytes(), delay_s=20)
    with rtvc("setup", "--source", server.url, home=home, code=SMALL_TABLE) as process:
        assert process.stderr.readline().endswith("downloading 2.4 MB.\n")
        while not server.requests:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (130, "")
    assert errors == "Interrupted. Run the same command again to resume.\n"
    assert not (home / "models").exists()


def test_an_unwritable_folder_is_reported(small, server, home, monkeypatch):
    home.write_text("in the way")
    with pytest.raises(RtvcError, match="home cannot be written to: Not a directory"):
        from_web(small["rmvpe"], server)
    with pytest.raises(RtvcError, match="home cannot be written to: File exists"):
        install_from_folder("rmvpe", RMVPE)
    assert server.requests == []


def test_rtvc_home_moves_data_and_configuration(home, monkeypatch):
    assert config_folder() == library.data_folder() == home
    monkeypatch.setenv("RTVC_CONFIG_DIR", str(home / "config"))
    assert config_folder() == home / "config"
    monkeypatch.delenv("RTVC_HOME")
    assert library.data_folder() == platformdirs.user_data_path("rtvc", appauthor=False)


def test_setup_reports_invalid_arguments(tmp_path, home):
    code, _, errors = ran("setup", "rmvp", home=home)
    assert code == 2
    assert "Did you mean 'rmvpe'?" in errors
    assert ran("setup", "--unverified", home=home)[0] == 2
    code, output, errors = ran("setup", "--from", str(GOLDEN), home=home)
    assert code == 1
    assert "pitch estimator RMVPE: installed from" in output
    assert "unknown file" in output
    assert "holds no content encoder ContentVec" in errors
    assert "missing (190 MB)" in ran("setup", "--list", home=home)[1]


@pytest.mark.parametrize("present", [False, True])
def test_two_processes_that_install_at_once_leave_one_model(small, home, monkeypatch, present):
    if present:
        install_from_folder("rmvpe", RMVPE)

    def after_another(*paths):
        monkeypatch.setattr(setting_up, "move_into_place", move_into_place)
        install_from_folder("rmvpe", RMVPE)
        move_into_place(*paths)

    monkeypatch.setattr(setting_up, "move_into_place", after_another)
    with pytest.raises(RtvcError, match="Another rtvc process has installed the pitch estimator"):
        install_from_folder("rmvpe", RMVPE)
    found = installed_model("rmvpe")
    assert found is not None
    assert is_intact(found)
    assert [path.name for path in home.iterdir()] == ["models"]


def listed(capsys, *words):
    code = main(["setup", "--list", *words])
    printed = capsys.readouterr()
    return code, printed.out.partition("\n\n")[0].splitlines(), printed.err


def test_the_list_has_the_models_that_are_named(capsys, tmp_path):
    shutil.copytree(ENCODER_FOLDER, tmp_path / "spin")
    install_from_folder("spin", tmp_path / "spin")
    assert [row.split()[0] for row in listed(capsys)[1]] == ["contentvec", "rmvpe", "fcpe", "spin"]
    fcpe = "fcpe         pitch estimator FCPE: not installed, optional (43 MB)"
    assert listed(capsys, "fcpe") == (0, [fcpe], "")
    assert [row.split()[0] for row in listed(capsys, "Spin", "hubert")[1]] == ["spin", "contentvec"]
    code, rows, errors = listed(capsys, "fcpe", "rmvp")
    assert (code, rows) == (2, [])
    assert "There is no base model 'rmvp'. Did you mean 'rmvpe'?" in errors


@pytest.mark.parametrize(
    "words", [["--force"], ["--from", "."], ["--source", "https://a.example"], ["--unverified"]]
)
def test_a_list_that_is_to_install_is_refused(capsys, words):
    code, rows, errors = listed(capsys, *words)
    assert (code, rows) == (2, [])
    assert f"{words[0]} is for installing" in errors


def test_a_damaged_model_is_listed_with_what_replaces_it(capsys, tmp_path):
    for kind, replacement in (
        ("rmvpe", "'rtvc setup' downloads it again"),
        ("fcpe", "'rtvc setup fcpe' downloads it again"),
        ("spin", "'rtvc setup spin --from FOLDER' replaces it"),
    ):
        shutil.copytree(ENCODER_FOLDER, tmp_path / kind)
        folder = install_from_folder("spin", tmp_path / kind).path.parent
        if kind != "spin":
            folder = folder.rename(folder.with_name(kind))
        raw = bytearray((folder / "model.safetensors").read_bytes())
        raw[-1] ^= 1
        (folder / "model.safetensors").write_bytes(raw)
        assert listed(capsys, kind)[1][0].endswith(f": damaged; {replacement}")


@pytest.mark.parametrize("mode", [0, 0o744])
def test_models_that_may_not_be_read_are_not_called_missing(capsys, small, server, home, mode):
    from_web(small["rmvpe"], server)
    readable(home)
    (home / "models").chmod(mode)
    with unprivileged():
        code, rows, errors = listed(capsys)
    assert (code, rows) == (1, [])
    assert errors == f"rtvc: Cannot read the folder {home / 'models'}: Permission denied.\n"


def readable(path):
    """Let every user enter the folders of a test, which pytest makes for its own user only."""
    for folder in (path, *path.parents):
        if folder.name.startswith(("pytest-", "popen-")) or folder in (path, path.parent):
            folder.chmod(0o755)


def test_a_folder_without_permission_is_not_called_empty(tmp_path):
    for folder in (tmp_path, *tmp_path.parents):  # pytest makes them readable for its user only
        if folder.name.startswith(("pytest-", "popen-", tmp_path.name)):
            folder.chmod(0o755)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    with unprivileged():
        with pytest.raises(RtvcError, match=r"Cannot read the folder .*locked: Permission denied"):
            install_from_folder("rmvpe", locked)
        with pytest.raises(RtvcError, match=r"Cannot read the folder .*locked: Permission denied"):
            find_voices(locked, "locked")


@pytest.mark.parametrize("linked", [True, False])
def test_a_file_that_may_not_be_looked_at_is_left_out(tmp_path, linked):
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("pytest-", "popen-", tmp_path.name)):
            folder.chmod(0o755)
    source, locked = tmp_path / "source", tmp_path / "source" / "locked"
    locked.mkdir(parents=True)
    (locked / "Bert.pth").write_bytes(V1.read_bytes())
    (locked / "rmvpe.pt").write_bytes(RMVPE.read_bytes())
    locked.chmod(0o744)  # its names can be listed, and that is all
    if linked:
        locked = locked.rename(tmp_path / "locked")
        for name in ("Bert.pth", "rmvpe.pt"):
            (source / name).symlink_to(locked / name)
    with unprivileged():
        with pytest.raises(RtvcError, match=r"Cannot read /.*/Bert\.pth: Permission denied"):
            find_voices(source, "source")
        with pytest.raises(RtvcError, match=r"Cannot read /.*/rmvpe\.pt: Permission denied"):
            install_from_folder("rmvpe", source)
    (source / "Anna.pth").write_bytes(V1.read_bytes())
    with unprivileged():
        assert [voice.name for voice in find_voices(source, "source")] == ["Anna"]
    locked.chmod(0o755)


def test_setup_and_add_are_enough_to_use_a_voice(tmp_path, home):
    index = make_index(tmp_path / "added_IVF1_Flat_nprobe_1_Anna_v1.index", 256)
    archive = make_zip(tmp_path / "Anna.zip", {"Anna.pth": V1, "added_x.index": index})
    with serving() as server:
        server.put("/hubert_base.pt", ENCODER.read_bytes())
        server.put("/rmvpe.pt", RMVPE.read_bytes())
        url = server.put("/Anna.zip", archive.read_bytes())
        code, output, _ = ran("setup", "--source", server.url, home=home, code=SMALL_TABLE)
        assert code == 0
        assert output.splitlines()[-1].startswith("All base models are installed.")
        code, output, _ = ran("voices", "add", url, "--no-level", home=home)
        assert code == 0
        assert output.splitlines()[-1] == "Use it: rtvc --voice Anna"
    options.require_voice(Settings(voice="anna"))
    voice = library.installed_voice("anna")
    assert voice.index is not None
    assert library.missing_models(voice.manifest) == []
