"""What leaves the program: text made safe, files whole or as before, and a standard output that takes no more."""

import os
import resource
import subprocess
from pathlib import Path

import pytest

from helpers import REPRO, ROOT
from helpers.command import repro
from repro import output


def test_foreign_text_is_visible_and_on_one_line() -> None:
    text = output.safe("a\x1b[0m\u202eb\n\u200b\udcff\u2028é 中\u00a0!")
    assert text == "a\\x1b[0m\\u202eb\\n\\u200b\\xff\\u2028é 中\u00a0!"
    assert output.safe("a\nb\r", keep="\n") == "a\nb\\r"
    assert output.shown("9" * 5000) == "9" * 77 + "..."
    assert len(output.shown("\x1b" * 5000)) == 80


def test_a_file_is_whole_or_as_before(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(output.NotWritten, match=r"link\.json: cannot be written: file too large"):
            output.write(link, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert real.read_text() == "old"
    output.write(link, "new")
    assert link.is_symlink() and real.read_text() == "new" and real.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "real.json"]


def test_a_device_is_written_and_not_replaced() -> None:
    output.write(Path("/dev/null"), "text")
    assert not Path("/dev/null").is_file()
    with pytest.raises(output.NotWritten, match="/dev/full: cannot be written: no space left on device"):
        output.write(Path("/dev/full"), "text")


@pytest.mark.parametrize("how", ["name", "hard link", "symbolic link"])
def test_a_file_is_the_same_by_whatever_name(tmp_path: Path, how: str) -> None:
    file, other = tmp_path / "a.csv", tmp_path / "b.csv"
    file.write_text("ratio")
    if how == "name":
        other = tmp_path / ".." / tmp_path.name / "a.csv"
    elif how == "hard link":
        other.hardlink_to(file)
    else:
        other.symlink_to(file)
    for command in (["fit", "cmr", str(file)], ["plan", "--params", str(file)]):
        done = repro(*command, "--json", str(other))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "must be" in done.stderr
    assert file.read_text() == "ratio"


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    file = str(tmp_path / "o")
    done = repro("claims", "--json", file, "--csv", file)
    assert (done.returncode, done.stderr) == (2, "repro: --json and --csv: must be different files\n")


@pytest.mark.parametrize("command", ["--help", "data"])
def test_a_standard_output_that_takes_no_more_is_told_in_one_line(command: str) -> None:
    full = f"{REPRO} {command} > /dev/full"
    closed = f"{REPRO} {command} >&-"
    for shell, says in ((full, "no space left on device"), (closed, "it is closed")):
        done = subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, f"repro: standard output: {says}\n")


def test_a_terminal_of_ascii_alone_gets_what_it_can_show(tmp_path: Path) -> None:
    file = tmp_path / "é.csv"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([REPRO, "fit", "cmr", file], env=environment, capture_output=True, check=False)
    assert done.returncode == 2 and done.stderr.endswith(b"\\xe9.csv: no such file or directory\n")
    code = "import sys; from repro import cli; cli._ready_streams(); print('R\\u00b2', flush=True)"
    printed = subprocess.run(
        [Path(REPRO).with_name("python"), "-c", code], env=environment, capture_output=True, check=True
    )
    assert printed.stdout == b"R\\xb2\n"


def test_circles_of_links_and_long_names_are_told_in_one_line(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for command in (["fit", "cmr", str(loop)], ["plan", "--params", str(loop)], ["plan", "--json", str(loop)],
                    ["fit", "cmr", "9" * 5000], ["plan", "--params", "9" * 5000]):  # fmt: skip
        done = repro(*command, at=tmp_path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert len(done.stderr) < 600
