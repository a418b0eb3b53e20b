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

/** Give a widget's outermost element (class `dualdiff`) the colours of the page. */
export function dress(root) {
  const colours = inks();
  for (const [name, colour] of Object.entries(colours)) root.style.setProperty(`--dd-${name}`, colour);
  root.style.colorScheme = isDark() ? "dark" : "light";
}

/**
 * Hide the picture that stands before a view for where no script runs (`Pictured` in base.py), with
 * what holds nothing else. Returns a function that shows it again.
 */
function hidePicture(root, id) {
  let [place, picture] = [root, null];
  while (place && !picture) {
    place = place.parentElement;
    picture = place?.querySelector(`img[data-widget="${id}"]`);
  }
  if (!picture) return () => {};
  let box = picture;
  const alone = (outer) =>
    outer !== place && outer.querySelectorAll("img, svg, canvas, table").length === 1 &&
    !outer.textContent.trim();
  while (alone(box.parentElement)) box = box.parentElement;
  const before = box.style.display;
  box.style.display = "none";
  return () => (box.style.display = before);
}

/** A page's shortcuts (JupyterLab's arrows move between cells) do not take a widget's keys. */
function keepKeys(event) {
  if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
}

/**
 * Call `draw` before the next frame whenever asked to, and when the widget's width or the page's
 * mode changes. Once it is drawn, its static picture `pictured` is gone. Returns `{ again, stop }`:
 * ask for a drawing, and end it all.
 */
export function keepDrawn(root, draw, pictured) {
  let asked = 0;
  let showPicture = null;
  const now = () => {
    asked = 0;
    if (!root.isConnected) return; // the size of its place is not known yet
    dress(root);
    draw();
    showPicture ??= hidePicture(root, pictured);
  };
  const again = () => {
    asked ||= requestAnimationFrame(now);
  };
  const size = new ResizeObserver(again);
  size.observe(root);
  const untheme = onTheme(again);
  dress(root);
  root.addEventListener("keydown", keepKeys);
  const stop = () => {
    cancelAnimationFrame(asked);
    size.disconnect();
    untheme();
    showPicture?.();
  };
  return { again, stop };
}

/** Call `change` when one of the model's traits changes; returns a function that stops that. */
export function listen(model, names, change) {
  const events = names.map((name) => `change:${name}`);
  for (const event of events) model.on(event, change);
  return () => events.forEach((event) => model.off(event, change));
}

/** Set traits of the model, and tell whoever is linked to them. */
export function assign(model, values) {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  model.save_changes();
}

/** A labelled list of choices (an object of values and titles) bound to a trait of the model. */
export function picker(model, trait, label, titles) {
  const options = Object.entries(titles).map(([value, title]) =>
    element("option", { value, textContent: title }),
  );
  const list = element("select", {}, ...options);
  const show = () => (list.value = model.get(trait));
  list.addEventListener("change", () => assign(model, { [trait]: list.value }));
  show();
  const place = element("label", {}, `${label} `, list);
  return { trait, place, stop: listen(model, [trait], show) };
}
