// On every page.
"use strict";

// The search shows where it found a word by reading that page, which browsers refuse to pages from
// the disk.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// A formula wider than its line is set smaller, and where that is not enough it scrolls in itself: then
// it can be reached with the keyboard, too. The theme sees to code, tables and the outputs of cells.
const SMALLEST = 0.65;
const fitFormulas = () => {
  for (const formula of document.querySelectorAll(".bd-article .math mjx-container")) {
    const math = formula.closest(".math");
    const box = formula.hasAttribute("display") ? formula : formula.parentElement;
    const room = () => box.clientWidth / formula.firstElementChild.getBoundingClientRect().width;
    math.style.fontSize = "";
    if (room() < 1) math.style.fontSize = `${Math.max(SMALLEST, 0.98 * room())}em`;
    const wide = box.clientWidth > 0 && box.clientWidth * (1 / room() - 1) > 1;
    formula.classList.toggle("wide", wide);
    if (wide) formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
  }
};
// A table that does not fit although its texts wrap is set smaller, then its numbers wrap, too, then
// its words are broken (dualdiff.css: on a phone it scrolls instead).
const SHORT = 18; // characters: a number with its interval, a word
const fitTables = () => {
  for (const table of document.querySelectorAll(".bd-article table")) {
    const box = getComputedStyle(table.parentElement);
    const padding = parseFloat(box.paddingLeft) + parseFloat(box.paddingRight);
    const room = table.parentElement.clientWidth - padding;
    table.classList.remove("small", "wrapped", "broken");
    for (const step of ["small", "wrapped", "broken"])
      if (room > 0 && table.offsetWidth > room + 1) table.classList.add(step);
  }
};
window.addEventListener("load", async () => {
  for (const cell of document.querySelectorAll(".bd-article table.dataframe td"))
    cell.classList.toggle("short", cell.textContent.trim().length <= SHORT);
  await window.MathJax?.startup?.promise;
  // Widths change with the window, when a folded part is opened, and when fonts arrive.
  const formulas = new ResizeObserver(fitFormulas), tables = new ResizeObserver(fitTables);
  document.querySelectorAll(".bd-article .math").forEach((one) => formulas.observe(one));
  document.querySelectorAll(".bd-article table").forEach((one) => tables.observe(one.parentElement));
  document.fonts.addEventListener("loadingdone", () => { fitFormulas(); fitTables(); });
});

// Browsers let no page from the disk say that a link is a download, so the page carries what the
// link leads to, and saves it.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-notebook]");
  const carried = link && document.getElementById(link.dataset.notebook);
  if (!carried) return;
  event.preventDefault();
  const saved = document.createElement("a");
  const data = new Blob([carried.textContent], { type: "application/x-ipynb+json" });
  saved.href = URL.createObjectURL(data);
  saved.download = `${link.dataset.notebook}.ipynb`;
  saved.click();
  URL.revokeObjectURL(saved.href);
});
