"""All tables of a repository from the records in it: one page a study, one page a published table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.report.pages.text import content, render
from ablate.report.sources import records
from ablate.report.sources.records import Records
from ablate.report.table.rows import records_table
from ablate.report.table.runs import attempts, counted
from ablate.tasks.classify import published, published_text
from ablate.tasks.classify.published_numbers import TITLES

RECORDS, TABLES = Path("docs/records"), Path("docs/tables")
_PAPER = {"name", "title", "labels", "columns", "lines", "further"}
"""What the JSON of a published table has held since the first version."""


class TablesError(ValueError):
    """No records to make tables of, or no place for them; one sentence."""


def pages(folder: Path) -> dict[str, str]:
    """Every page by its file name, from the records files in a folder.

    Raises:
        RecordsError: A file cannot be read.
        TablesError: There is no such folder, or no records in it.
    """
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise TablesError(f"records must be a folder with files that python -m ablate export wrote, got {folder}.")
    studies = {path.stem: records.read(path) for path in files}
    out: dict[str, str] = {}
    for stem, study in studies.items():
        table, (*notes, _) = records_table(study)
        notes += _cost_images(study)
        notes.append(f"study {study.study}, from {folder.as_posix()}/{stem}.jsonl")
        out[f"{stem}.md"] = render(table, "md", notes, full=True)
        out[f"{stem}.json"] = json.dumps(content(table, notes), indent=1, ensure_ascii=False)
    for name in TITLES:
        mine = [study for study in studies.values() if study.definition.get("table") == name]
        found = published.layout(name, mine)
        out[f"paper_{name}.md"] = published_text.markdown(found)
        out[f"paper_{name}.json"] = json.dumps(published_text.content(found), indent=1, ensure_ascii=False)
    return {name: text + "\n" for name, text in sorted(out.items())}


def _cost_images(study: Records) -> list[str]:
    """At which size of images parameters and MACs are counted, for a study whose runs have any; one note or none."""
    runs = [run for run in counted(attempts(study.frame)) if run.cost]
    sizes = published.image_sizes(runs)
    if not sizes:
        return []
    several = "each row's size: " * (len(sizes) > 1)
    whole = all(size.count("x") == 2 for size in sizes)
    order = "height x width x channels" if whole else "height x width, and as many channels as the files have"
    return [f"params and MACs are for images of {several}{', '.join(sizes)} ({order})"]


def write(made: Mapping[str, str], folder: Path) -> list[str]:
    """Writes pages, and removes those of ours that nothing makes any more; returns the names of what changed.

    Raises:
        TablesError: A file that is not ours stands where a page would, or the folder cannot be written to.
    """
    changed = stale(made, folder)
    for path in (folder / name for name in changed):
        if path.exists() and not _is_ours(path):
            raise TablesError(
                f"out must be a folder where {path.name} is free for a page, but {path} was not made by tables; "
                "rename it, or name another folder."
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in changed:
            if name in made:
                (folder / name).write_text(made[name], "utf-8")
            else:
                (folder / name).unlink()
    except OSError as error:
        raise TablesError(f"out must be a folder that can be written to, but {folder}: {error.strerror}.") from None
    return changed


def stale(made: Mapping[str, str], folder: Path) -> list[str]:
    """Names of pages that are missing, differ from what is made, or are ours and made by nothing.

    Raises:
        TablesError: A page cannot be read.
    """
    try:
        changed = [name for name, text in made.items() if _text(folder / name) != text]
        gone = [path.name for path in folder.glob("*") if path.name not in made and _is_ours(path)]
    except OSError as error:
        raise TablesError(f"out must be a folder that can be read, but {folder}: {error.strerror}.") from None
    return sorted([*changed, *gone])


def _text(path: Path) -> str | None:
    """None where there is no such file, or none of text."""
    try:
        return path.read_text("utf-8") if path.is_file() else None
    except UnicodeDecodeError:
        return None


def _is_ours(path: Path) -> bool:
    """Whether ``pages`` made a file, by what it says: the same folder may hold what people wrote."""
    text = _text(path) if path.suffix in (".md", ".json") else None
    if text is None:
        return False
    if path.suffix == ".md":
        last = text.rstrip().rpartition("\n")[2]
        return _is_source(last.removeprefix("- "), path.stem) or (
            path.stem.startswith("paper_") and published_text.SUBTITLE in text
        )
    try:
        found: Any = json.loads(text)
    except ValueError:
        return False
    if not isinstance(found, dict):
        return False
    notes = found.get("notes") or [""]
    paper = found.keys() >= _PAPER
    return (paper and path.stem == f"paper_{found['name']}") or _is_source(str(notes[-1]), path.stem)


def _is_source(note: str, stem: str) -> bool:
    """Whether a study's page of this name ends in the note."""
    return note.startswith("study ") and note.endswith(f"/{stem}.jsonl")
