"""What waits in the spool is delivered in its order, once the store is back."""

import sqlite3
from pathlib import Path

import pytest

from ablate.tracking import Store, TrackingSpec, read_curves
from tests.stores import entries, start_run


def test_what_waits_is_delivered_in_order_by_the_next_run_and_kept_until_then(store_uri: str, tmp_path: Path) -> None:
    where = TrackingSpec(uri=store_uri, spool=str(tmp_path / "spool"))
    run = start_run(Store(where))
    journal = run._journal
    for entry in entries():
        journal.add(entry)
    with (journal.folder / "said.jsonl").open("a") as said:
        said.write('{"kind": "tags", "ta')  # a crash cut it off
    assert Store(where).deliver().told == 0  # this process holds it
    journal.release()
    assert Store(TrackingSpec(uri=store_uri, spool=where.spool, experiment="other")).deliver().waiting == 1
    start_run(Store(where), "next")
    assert not journal.waits
    assert list(read_curves(where, [run.run_id], "x")["value"]) == [1.0, 2.0]


@pytest.mark.full
def test_a_database_that_is_locked_meanwhile_loses_nothing(store_uri: str, tmp_path: Path) -> None:
    where = TrackingSpec(uri=store_uri + "?timeout=0.1", spool=str(tmp_path / "spool"))
    run = start_run(Store(where))
    holder = sqlite3.connect(store_uri.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("begin exclusive")
    run.log({"x": 1.0}, step=1)
    assert run._journal.waits
    holder.close()
    run._again = 0.0  # as if its time to look again had come
    run.log({"x": 2.0}, step=2)
    assert not run._journal.waits
    assert list(read_curves(where, [run.run_id], "x")["value"]) == [1.0, 2.0]
