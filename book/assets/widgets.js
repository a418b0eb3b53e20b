// On pages with widgets, between require.js and html-manager: see nb_ipywidgets_js in _config.yml.
"use strict";

const vendored = (path) => new URL(`vendor/${path}`, document.currentScript.src).href;

requirejs.config({
  paths: {
    // Loaded from there. Widgets of anywidget bring their own code in their stored state.
    anywidget: vendored("anywidget/index"),
    // In embed-amd.js, which is loaded already; they look beside these for the fonts of icons.
    "@jupyter-widgets/html-manager": vendored("html-manager/index"),
    "@jupyter-widgets/html-manager/dist/libembed-amd": vendored("html-manager/libembed-amd"),
  },
});

// The theme would put pictures in the place of the icons in widgets, which look for them again: a
// player breaks. With this setting it replaces those of the page only, which are there already.
window.FontAwesomeConfig = { observeMutations: false };

// html-manager hands the labels of widgets to MathJax as version 2 wanted it; the pages have
// version 3. This comes before html-manager's own listener, which makes the widgets.
window.addEventListener("load", () => {
  const mathjax = window.MathJax;
  if (!mathjax || mathjax.Hub) return;
  const typeset = async (element) => {
    await mathjax.startup.promise;
    // Version 3 knows formulas by these signs only.
    if (!element.children.length)
      element.textContent = element.textContent.replace(/\$([^$]+)\$/g, "\\($1\\)");
    await mathjax.typesetPromise([element]);
  };
  mathjax.Hub = { Queue: ([, , element]) => typeset(element) };
});

// Sliders and players have no name for those who do not see them: give them their label.
const name = () => {
  const label = (part) => part.closest(".jupyter-widgets")?.querySelector(".widget-label");
  for (const part of document.querySelectorAll(
    ".noUi-handle:not([aria-label]), .widget-colorpicker input:not([aria-label])"
  )) {
    part.setAttribute("aria-label", label(part)?.textContent || "value");
  }
  for (const player of document.querySelectorAll(".widget-play")) {
    [...player.querySelectorAll("button")].forEach((button, index) => {
      const action = ["Play or pause", "Stop", "Repeat"][index];
      if (!button.hasAttribute("aria-label")) button.setAttribute("aria-label", button.title ||= action);
    });
  }
};
new MutationObserver(name).observe(document.documentElement, { childList: true, subtree: true });
