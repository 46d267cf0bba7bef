"use strict";
// Sorting by a click on a heading, and a field that filters rows by text. Without it the tables can be read all the same.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];

  // Numbers stand in data-order, or begin the text; cells with nothing to compare come last in either direction.
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.textContent.trim();
    if (text === "" || text === "–") return null;
    if (cell.dataset.order !== undefined) return Number(cell.dataset.order);
    return /^[-+]?[0-9]/.test(text) ? parseFloat(text) : text.toLowerCase();
  };
  const compare = (one, other) => {
    if (typeof one === "number" && typeof other === "number") return one - other;
    return String(one).localeCompare(String(other), "en", { numeric: true });
  };

  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const sign = heading.getAttribute("aria-sort") === "descending" ? 1 : -1;
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const keyed = [...body.rows].map((row) => [key(row, column), row]);
      keyed.sort(([one], [other]) => {
        if (one === null || other === null) return (one === null) - (other === null);
        return sign * compare(one, other);
      });
      body.append(...keyed.map(([, row]) => row));
    });
  });

  if (body.rows.length > 2) {
    const field = document.createElement("input");
    field.type = "search";
    field.className = "filter";
    field.placeholder = `filter ${body.rows.length} rows`;
    field.setAttribute("aria-label", "Filter rows by text");
    table.parentElement.before(field);
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of body.rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }
}
