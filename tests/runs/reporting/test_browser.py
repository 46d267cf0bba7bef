"""The page in a real browser without a window: its script runs under its own policy, sorts and filters, and nothing is complained of."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from tests.runs.command import call
from tests.runs.plots.synthetic import make_run
from tests.runs.reporting.test_report import HOSTILE, study

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
TRY = """<script>
const errors = []; window.addEventListener("error", (event) => errors.push(String(event.message)));
window.addEventListener("load", () => {
  const table = document.querySelector("table.sortable"), found = {};
  const labels = () => [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
  const press = (column) => { table.tHead.rows[0].cells[column].querySelector("button").click(); return labels(); };
  found.given = labels();
  found.down = press(2);
  found.up = press(2);
  found.sort = table.tHead.rows[0].cells[2].getAttribute("aria-sort");
  found.text = press(0);
  const field = document.querySelector("input.filter");
  const filter = (words) => { field.value = words; field.dispatchEvent(new Event("input")); return labels(); };
  found.one = filter("ResCL");
  found.none = filter("nothing such");
  found.all = filter("");
  found.scroll = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  found.errors = errors;
  document.body.setAttribute("data-found", JSON.stringify(found));
});
</script>"""


def browse(page: Path, profile: Path, *, width: int = 1200) -> tuple[str, str]:
    """Open a page; returns its elements after its script has run, and what the console said."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={profile}"]
    command = [str(BROWSER), *flags, f"--window-size={width},900", "--virtual-time-budget=3000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_tables_sort_and_filter_on_a_phone_and_the_console_is_silent(tmp_path: Path) -> None:
    study(tmp_path / "runs", seeds=2)
    make_run(tmp_path / "runs" / "hostile", strategy="ewc", options={"train.note": HOSTILE})
    out = tmp_path / "report.html"
    assert call("report", tmp_path / "runs", "-o", out)[0] == 0
    dumped, console = browse(out, tmp_path / "profile")
    assert not console
    assert 'class="filter"' in dumped, "the page's own policy has barred its script"

    tried = tmp_path / "tried.html"
    text = re.sub(r"<meta http-equiv=[^>]*>", "", out.read_text(encoding="utf-8"))
    tried.write_text(text.replace("</body>", f"{TRY}</body>"), encoding="utf-8")
    dumped, console = browse(tried, tmp_path / "profile", width=500)
    told = re.search(r'data-found="([^"]*)"', dumped)
    assert told is not None and not console
    found = json.loads(unescape(told[1]))
    assert found["errors"] == []
    assert found["down"][0] == "rescl" and found["down"] == found["up"][::-1] and found["sort"] == "ascending"
    assert found["text"] == sorted(found["given"], reverse=True)
    assert found["one"] == ["rescl"] and found["none"] == [] and len(found["all"]) == 4
    assert found["scroll"] <= 0, "the page is wider than a phone"
