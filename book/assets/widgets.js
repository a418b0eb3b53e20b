// On pages with widgets, between require.js and html-manager: see nb_ipywidgets_js in _config.yml.
"use strict";

// Where anywidget's module is. Its widgets bring their own code in their stored state.
requirejs.config({
  paths: { anywidget: new URL("vendor/anywidget/index", document.currentScript.src).href },
});

// html-manager hands the labels of widgets to MathJax as version 2 wanted it; the pages have
// version 3. This comes before html-manager's own listener, which makes the widgets.
window.addEventListener("load", () => {
  const mathjax = window.MathJax;
  if (!mathjax || mathjax.Hub) return;
  const typeset = (element) => mathjax.startup.promise.then(() => mathjax.typesetPromise([element]));
  mathjax.Hub = { Queue: ([, , element]) => typeset(element) };
});
