"""The page of a report: one file that needs nothing else. All text of the user's is escaped, and the page's own policy bars the network."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from runs.reporting import figures, words
from runs.reporting.gathering import Gathered, Part
from runs.reporting.grids import grids

FOLDER = Path(__file__).parent


def render(found: Gathered | None, recorded: str | None, named: Sequence[Path], out: Path) -> str:
    """Write a page.

    Args:
        found: the runs; None where there are none to be shown.
        recorded: results of recorded runs in Markdown; None to leave them out.
        named: the directories that the user named.
        out: where the page will lie.

    Returns:
        HTML.
    """
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    parts = [_shown(part) for part in found.parts] if found else []
    command = ["simulate", "report", *map(str, named), *(["--records"] if recorded else []), "-o", str(out)]
    title = "Results of recorded runs" if not parts else parts[0]["title"] if len(parts) == 1 else "Report of runs"
    return environment.get_template("page.html").render(
        title=title,
        parts=parts,
        left_out=found.left_out if found else (),
        recorded=Markup(from_markdown(recorded)) if recorded else "",
        command=shlex.join(command),
        style=Markup(style),
        style_hash=_digest(style),
        script=Markup(script),
        script_hash=_digest(script),
    )


def from_markdown(text: str) -> str:
    r"""Turn our own Markdown into HTML: tables can be sorted, and links to files of the repository are their text alone.

    Args:
        text: Markdown; HTML in it is shown as text.

    Returns:
        HTML with headings one level down.

    Example:
        >>> from_markdown("# A [b](c.md) <i>")
        '<h2>A b &lt;i&gt;</h2>\n'
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1]) + 1}"
        elif token.type == "table_open":
            token.attrSet("class", "sortable")
        elif token.type == "inline" and token.children:
            token.children = [child for child in token.children if child.type not in ("link_open", "link_close", "image")]
    html = str(parser.renderer.render(tokens, parser.options, {}))
    # Wide tables scroll by themselves; their columns are aligned by the page's style.
    opened = '<div class="wide" tabindex="0" role="region" aria-label="results"><table '
    return html.replace("<table ", opened).replace("</table>", "</table></div>")


def _shown(part: Part) -> dict[str, Any]:
    return {
        "title": part.table.title,
        "opening": words.opening(part),
        "grids": grids(part),
        "compared": figures.compared(part),
        "singles": figures.of_each(part),
    }


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
