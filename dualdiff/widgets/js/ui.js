// What all widgets share: colours that follow the page, a sharp canvas, elements.

/** Whether the page around an element is dark: the book's switch, JupyterLab's theme, the system. */
export function isDark() {
  const theme = document.documentElement.dataset.theme;
  if (theme) return theme === "dark";
  const lab = document.body.dataset.jpThemeLight;
  if (lab) return lab === "false";
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Call `change` whenever the page turns dark or light; returns a function that stops that. */
export function onTheme(change) {
  const observer = new MutationObserver(change);
  const what = { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light"] };
  observer.observe(document.documentElement, what);
  observer.observe(document.body, what);
  return () => observer.disconnect();
}

/** Ink, faint ink, grid and paper of the mode the page is in. */
export function inks() {
  return isDark()
    ? { ink: "#e8e8e8", faint: "#a8adb4", grid: "#3a3f46", paper: "#14181e" }
    : { ink: "#222222", faint: "#5c6370", grid: "#e3e5e8", paper: "#ffffff" };
}

/** An element with properties, attributes (what has a dash or is `role`) and children. */
export function element(tag, properties = {}, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") found.setAttribute(name, value);
    else found[name] = value;
  }
  found.append(...children);
  return found;
}

/** The 2-D context of a canvas as wide as its place, `ratio` high, sharp on every screen. */
export function fit(canvas, ratio) {
  const width = Math.max(1, canvas.clientWidth);
  const height = Math.round(width * ratio);
  const scale = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return { context, width, height };
}
