"use strict";
// Sorting: a table of class "sortable" gets a button in every heading.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") !== "descending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => {
        const [left, right] = [key(a), key(b)];
        // Cells without a number stay at the end in both directions.
        if (left === "" || right === "") return (left === "") - (right === "");
        const numeric = !isNaN(left) && !isNaN(right);
        const order = numeric ? left - right : left.localeCompare(right);
        return descending ? -order : order;
      });
      body.append(...rows);
    });
  });
}
// Filters: a select or search field with data-filters="<id>" hides children of that element. A
// select compares data-<key> as a list of words, a search field the text.
const fields = [...document.querySelectorAll("[data-filters]")];
function applyFilters(id) {
  const mine = fields.filter((field) => field.dataset.filters === id && field.value !== "");
  let shown = 0;
  for (const item of document.getElementById(id).children) {
    const fits = mine.every((field) =>
      field.type === "search"
        ? item.textContent.toLowerCase().includes(field.value.toLowerCase())
        : (item.dataset[field.dataset.key] ?? "").split(" ").includes(field.value));
    item.hidden = !fits;
    shown += fits;
  }
  const count = document.querySelector(`[data-count="${id}"]`);
  if (count) count.textContent = shown;
}
for (const field of fields) {
  for (const event of ["input", "change"]) {
    field.addEventListener(event, () => applyFilters(field.dataset.filters));
  }
}
for (const id of new Set(fields.map((field) => field.dataset.filters))) applyFilters(id);
// Check boxes with data-hides="<class>" hide the boxes of all images.
for (const box of document.querySelectorAll("[data-hides]")) {
  box.addEventListener("change", () =>
    document.body.classList.toggle(box.dataset.hides, !box.checked));
}
