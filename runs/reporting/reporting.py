"""`simulate report`: from directories to a page, or to tables alone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from runs import stopping
from runs.recording import results
from runs.recording.files import making, write_text
from runs.reporting.gathering import Gathered, gather
from runs.showing import formats, terminal
from scenarios.errors import UserError, nearest, shortened

ENDINGS = {"html": "html", "markdown": "md", "csv": "csv", "latex": "tex", "json": "json"}
"""Format to the ending of a file."""


def report(directories: Sequence[Path], out: Path | None, form: str, *, recorded: bool) -> None:
    """Report runs.

    Args:
        directories: runs' directories, or folders with runs inside.
        out: the file; None for `report` with the format's ending.
        form: of `ENDINGS`.
        recorded: whether the results of the repository's records are reported as well.

    Raises:
        UserError: nothing was named, there is no such format, the format has no recorded results, or the file is a directory.
    """
    if form not in ENDINGS:
        raise UserError(f"--format {shortened(form)} does not exist{nearest(form, ENDINGS)}")
    if not directories and not recorded:
        raise UserError("nothing to report; name runs' directories or folders of runs, or add --records")
    if recorded and form not in ("html", "markdown"):
        raise UserError(f"--records is written as html or markdown, not as {form}; leave it out, or choose one of them")
    path = out or Path(f"report.{ENDINGS[form]}")
    if path.is_dir():
        raise UserError(f"{path} is a directory; name a file, as in -o {path / 'report.html'}")
    with making(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with stopping.as_written(", ".join(map(str, directories))):
        found = gather(directories) if directories else None
        text = _text(found, results.everything() if recorded else None, form, directories, path)
    write_text(path, text)
    console = terminal.console()
    for line in found.left_out if found else ():
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print(f"report {path}", soft_wrap=True, markup=False, highlight=False)


def _text(found: Gathered | None, recorded: str | None, form: str, named: Sequence[Path], out: Path) -> str:
    if form == "html":
        from runs.reporting import page

        return page.render(found, recorded, named, out)
    tables = [part.table for part in found.parts] if found else []
    if form == "csv":
        return _csv([(table.title, formats.to_csv(table)) for table in tables])
    if form == "json":
        return json.dumps([json.loads(formats.to_json(table)) for table in tables], indent=2) + "\n"
    write = formats.FORMATS[form][1]
    return "\n".join([*map(write, tables), *([recorded] if recorded else [])])


def _csv(tables: Sequence[tuple[str, str]]) -> str:
    # One table of all: what the runs met stands first, and a number that a part does not have is empty.
    rows = [{"scenario": title, **row} for title, text in tables for row in csv.DictReader(io.StringIO(text))]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
