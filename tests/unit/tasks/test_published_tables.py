"""The verb that makes every table of a repository from the records in it."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ablate.cli import main as cli
from ablate.report.sources.records import write
from ablate.tasks.classify import published_tables as tables
from tests.unit.tasks.test_published import recorded


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    write(recorded(), tmp_path / "records" / "ours.jsonl")
    return tmp_path / "records", tmp_path / "tables"


def _tables(folders: tuple[Path, Path], *words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(["tables", f"records={folders[0]}", f"out={folders[1]}", *words])
    return int(str(stop.value.code))


def test_tables_are_made_once_and_checked(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert _tables(folders, "check=true") == 1
    assert _tables(folders) == 0
    assert "16 pages" in capsys.readouterr().out
    assert _tables(folders, "check=true") == 0
    assert _tables(folders) == 0
    assert "0 changed" in capsys.readouterr().out
    page = folders[1] / "paper_table1.md"
    page.write_text(page.read_text("utf-8").replace("-0.23", "+0.23"), "utf-8")
    assert _tables(folders, "check=true") == 1
    assert "ablate tables: paper_table1.md" in capsys.readouterr().out


def test_tables_remove_their_own_pages_and_nobody_elses(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write(recorded(), folders[0] / "gone.jsonl")
    assert _tables(folders) == 0
    (folders[0] / "gone.jsonl").unlink()
    page = (folders[1] / "paper_table1.md").read_text("utf-8")
    (folders[1] / "paper_gone.md").write_text(page, "utf-8")
    data = json.loads((folders[1] / "paper_table1.json").read_text("utf-8"))
    (folders[1] / "paper_gone.json").write_text(json.dumps({**data, "name": "gone"}), "utf-8")
    own = {"thesis.md": "# mine", "settings.json": "{}", "list.json": "[1]", "notes.json": '{"notes": ["a"]}'}
    own |= {"broken.json": "{", "paper_draft.md": "# mine", "gone.txt": "x"}
    for name, text in own.items():
        (folders[1] / name).write_text(text, "utf-8")
    capsys.readouterr()
    assert _tables(folders, "check=true") == 1
    assert "tables: gone.json, gone.md, paper_gone.json, paper_gone.md, paper_table1.json" in capsys.readouterr().out
    assert _tables(folders) == 0
    assert "6 changed" in capsys.readouterr().out
    assert {path.name for path in folders[1].iterdir()} == {*own, *tables.pages(folders[0])}
    assert {name: (folders[1] / name).read_text("utf-8") for name in own} == own


def test_tables_write_over_no_file_that_is_not_theirs(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folders[1].mkdir()
    (folders[1] / "ours.md").write_text("# mine", "utf-8")
    assert _tables(folders) == 2
    assert "ours.md is free" in capsys.readouterr().err
    assert [path.name for path in folders[1].iterdir()] == ["ours.md"]
    (folders[1] / "file").write_text("")
    assert _tables((folders[0], folders[1] / "file" / "tables")) == 2
    assert "must be a folder that can be written to" in capsys.readouterr().err


def test_tables_say_what_is_wrong(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert _tables(folders, "chekc=true") == 2
    assert "check" in capsys.readouterr().err
    assert _tables(folders, "check=maybe") == 2
    assert _tables(folders, "out=") == 2  # and not the working directory
    assert _tables((folders[1], folders[1])) == 2
    assert "python -m ablate export" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((("data=mnist",),), ["28x28x1"]),
        ((("data=mnist",), ("data=fashion_mnist",)), ["28x28x1"]),
        ((("data=mnist5k", "data.image_size=16"), ("data=mnist5k",)), ["16x16x1", "28x28x1"]),
        ((("data=folder", "data.root=photos", "data.image_size=[32, 48]"),), ["32x48"]),
        ((("data=folder", "data.root=photos"),), []),
    ],
)
def test_pages_of_studies_say_at_which_image_size_their_costs_are(
    words: tuple[tuple[str, ...], ...], said: list[str], tmp_path: Path
) -> None:
    costs = {"metrics.cost.params": 280651.0, "metrics.cost.macs": 25779200.0}
    each = [recorded(base=("model=cct_7_3x1", *some), seeds=1, **costs) for some in words]
    frames = [one.frame.assign(run_id=str(n), **{"tags.ablate.point": f'[["model", "cct_7_3x1"], ["seed", {n}]]'})
              for n, one in enumerate(each)]  # fmt: skip
    study = replace(each[0], frame=pd.concat(frames, ignore_index=True))
    study.definition["seeds"] = list(range(len(each)))
    write(study, tmp_path / "ours.jsonl")
    notes = json.loads(tables.pages(tmp_path)["ours.json"])["notes"]
    several = "each row's size: " * (len(said) > 1)
    order = (
        "height x width, and as many channels as the files have" if said == ["32x48"] else "height x width x channels"
    )
    wanted = f"params and MACs are for images of {several}{', '.join(said)} ({order})"
    assert (wanted in notes) == bool(said) and notes[-1].startswith("study ")
    assert said or not any("params and MACs" in note for note in notes)


def test_tables_of_the_repository_are_current() -> None:
    root = Path(__file__).parents[3]
    made = tables.pages(root / tables.RECORDS)
    here = {
        name: text.replace((root / tables.RECORDS).as_posix(), tables.RECORDS.as_posix()) for name, text in made.items()
    }
    assert tables.stale(here, root / tables.TABLES) == [], "python -m ablate tables"
