// On every page.
"use strict";

// The search shows where it found a word by reading that page, which browsers refuse to pages from
// the disk.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// A formula wider than its line can be reached with the keyboard, so that it can be scrolled with
// it. The theme sees to code, tables and the outputs of cells.
const reachable = () => {
  for (const formula of document.querySelectorAll(".bd-article .math mjx-container")) {
    const box = formula.hasAttribute("display") ? formula : formula.parentElement;
    const wide = formula.firstElementChild.getBoundingClientRect().width > box.clientWidth + 1;
    formula.classList.toggle("wide", wide);
    if (wide) formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
  }
};
window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  // Widths change with the window, when a folded part is opened, and when fonts arrive.
  const sizes = new ResizeObserver(reachable);
  document.querySelectorAll(".bd-article .math").forEach((one) => sizes.observe(one));
  document.fonts.addEventListener("loadingdone", reachable);
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
