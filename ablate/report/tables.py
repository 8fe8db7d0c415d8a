"""All tables of a repository from the records in it: one page a study, one page a published table."""

import json
from collections.abc import Mapping
from pathlib import Path

from ablate.report import published, records
from ablate.report.rendering import content, render
from ablate.report.rows import records_table

RECORDS, TABLES = Path("docs/records"), Path("docs/tables")


class TablesError(ValueError):
    """No records to make tables of; one sentence."""


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
        notes.append(f"study {study.study}, from {folder.as_posix()}/{stem}.jsonl")
        out[f"{stem}.md"] = render(table, "md", notes)
        out[f"{stem}.json"] = json.dumps(content(table, notes), indent=1, ensure_ascii=False)
    for name in published.TITLES:
        mine = [study for study in studies.values() if study.definition.get("table") == name]
        found = published.layout(name, mine)
        out[f"paper_{name}.md"] = published.markdown(found)
        out[f"paper_{name}.json"] = json.dumps(published.content(found), indent=1, ensure_ascii=False)
    return {name: text + "\n" for name, text in sorted(out.items())}


def write(made: Mapping[str, str], folder: Path) -> list[str]:
    """Writes pages, and removes those that nothing makes any more; returns the names of what changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = stale(made, folder)
    for name in changed:
        if name in made:
            (folder / name).write_text(made[name], "utf-8")
        else:
            (folder / name).unlink()
    return changed


def stale(made: Mapping[str, str], folder: Path) -> list[str]:
    """Names of pages that are missing, differ from what is made, or that nothing makes."""
    there = {path.name: path.read_text("utf-8") for path in folder.glob("*") if path.suffix in (".md", ".json")}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))
