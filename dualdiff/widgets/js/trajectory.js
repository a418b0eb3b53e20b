// Reverse chains step by step: points on the noised density that they should follow.
import { assign, element, fit, inks, keepDrawn, listen, picker } from "./ui.js";

const ALL = "all";
const SPEEDS = { 5: "slow", 12: "medium", 25: "fast" }; // steps per second
const TRAIL = { steps: 15, chains: 20 }; // of all chains they would be a tangle
const PANEL = { least: 200, most: 290, alone: 420, left: 30, right: 6, top: 24, bottom: 36, gap: 12 };
const SHADE = 0.5; // how dark the ink of a density is at its peak
const TICKS = [-2, -1, 0, 1, 2];

/** A trait of bytes as an array of its own: those of Jupyter may start at an odd address. */
function numbers(Type, view) {
  return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

/** The chains and densities of a model, unpacked once. */
class Chains {
  constructor(model) {
    const runs = model.get("runs");
    this.names = runs.map((run) => run.name);
    this.runs = Object.fromEntries(runs.map((run) => [run.name, run]));
    this.frames = model.get("steps").length;
    this.levels = numbers(Uint16Array, model.get("points"));
    this.count = this.levels.length / (this.names.length * this.frames * 2);
    this.span = model.get("span");
    this.side = model.get("side");
    this.shades = numbers(Uint8Array, model.get("shades"));
  }

  /** Coordinate 0 or 1 of a point in standardised units. */
  at(run, frame, point, coordinate) {
    const place = ((run * this.frames + frame) * this.count + point) * 2 + coordinate;
    return ((this.levels[place] / 65535) * 2 - 1) * this.span;
  }

  /** The density behind a run as a small picture in a colour, or null. */
  shade(name, frame, colour) {
    const number = this.runs[name].shade;
    if (number === null) return null;
    const size = this.side * this.side;
    const from = (number * this.frames + frame) * size;
    const picture = new ImageData(this.side, this.side);
    for (let i = 0; i < size; i++) {
      picture.data.set([...colour, this.shades[from + i] * SHADE], 4 * i);
    }
    const canvas = element("canvas", { width: this.side, height: this.side });
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return canvas;
  }
}

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/** Where panels go on a canvas of some width: what can be seen at once, two in a line at least. */
function arrange(width, count) {
  const fitting = Math.max(2, Math.floor((width + PANEL.gap) / (PANEL.least + PANEL.gap)));
  const lines = Math.ceil(count / fitting);
  const columns = Math.ceil(count / lines); // four are two and two, not three and one
  const most = count === 1 ? PANEL.alone : PANEL.most;
  const wide = Math.min(most, (width - (columns - 1) * PANEL.gap) / columns);
  const inner = wide - PANEL.left - PANEL.right;
  const high = inner + PANEL.top + PANEL.bottom;
  const place = (i) => ({
    left: (i % columns) * (wide + PANEL.gap) + PANEL.left,
    top: Math.floor(i / columns) * high + PANEL.top,
    inner,
  });
  return { place, height: lines * high };
}

/** From standardised units to pixels of a panel. */
function scales({ left, top, inner }, reach) {
  return {
    x: (value) => left + ((value + reach) / (2 * reach)) * inner,
    y: (value) => top + ((reach - value) / (2 * reach)) * inner,
  };
}

function drawFrame(context, panel, scale, title, colours) {
  const { left, top, inner } = panel;
  context.strokeStyle = colours.faint;
  context.lineWidth = 1;
  context.strokeRect(left, top, inner, inner);
  context.fillStyle = colours.ink;
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.font = "bold 12px sans-serif";
  context.fillText(title, left, top - 11, inner);
  context.font = "11px sans-serif";
  for (const value of TICKS) {
    const said = `${value}`.replace("-", "−");
    context.textAlign = "center";
    context.fillText(said, scale.x(value), top + inner + 9);
    context.textAlign = "right";
    context.fillText(said, left - 4, scale.y(value));
  }
  context.textAlign = "center";
  context.fillText("y₁ (standardised units)", left + inner / 2, top + inner + 24, inner);
  context.save();
  context.translate(left - 22, top + inner / 2);
  context.rotate(-Math.PI / 2);
  context.fillText("y₂", 0, 0);
  context.restore();
}

function drawTrails(context, chains, run, frame, scale, colour) {
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.globalAlpha = 0.7;
  context.beginPath();
  for (let point = 0; point < Math.min(chains.count, TRAIL.chains); point++) {
    const first = Math.max(0, frame - TRAIL.steps);
    for (let at = first; at <= frame; at++) {
      const [x, y] = [0, 1].map((i) => chains.at(run, at, point, i));
      if (at === first) context.moveTo(scale.x(x), scale.y(y));
      else context.lineTo(scale.x(x), scale.y(y));
    }
  }
  context.stroke();
  context.globalAlpha = 1;
}

function drawPoints(context, chains, run, frame, scale, colour, radius) {
  context.fillStyle = colour;
  context.globalAlpha = 0.85;
  for (let point = 0; point < chains.count; point++) {
    context.beginPath();
    const [x, y] = [0, 1].map((i) => chains.at(run, frame, point, i));
    context.arc(scale.x(x), scale.y(y), radius, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
}

function drawRun(context, panel, chains, name, { frame, reach, trails }) {
  const colours = inks();
  const run = chains.names.indexOf(name);
  const { title, colour: own } = chains.runs[name];
  const colour = own ?? colours.ink;
  const scale = scales(panel, reach);
  const shade = chains.shade(name, frame, rgb(colours.ink));
  context.save();
  context.beginPath();
  context.rect(panel.left, panel.top, panel.inner, panel.inner);
  context.clip();
  if (shade) context.drawImage(shade, panel.left, panel.top, panel.inner, panel.inner);
  if (trails) drawTrails(context, chains, run, frame, scale, colour);
  drawPoints(context, chains, run, frame, scale, colour, panel.inner > 260 ? 2.4 : panel.inner > 150 ? 1.7 : 1.3);
  context.restore();
  drawFrame(context, panel, scale, title, colours);
}

/** What the reader looks at, in words. */
function about(chains, run) {
  const grey = "Grey: the noised density that the points should follow at this step.";
  if (run === ALL) {
    return `Every dot is one of ${chains.count} chains on its way from noise to a sample; all panels have the same starts and the same noise. ${grey}`;
  }
  const { about: said, shade } = chains.runs[run];
  return `Every dot is one of ${chains.count} chains on its way from noise to a sample; it ${said}. ${shade === null ? "" : grey}`;
}

/** The frame that is shown; a linked widget may have more of them. */
function frameOf(model) {
  const last = model.get("steps").length - 1;
  return Math.min(last, Math.max(0, Math.round(model.get("frame")) || 0));
}

function level(model) {
  const frame = frameOf(model);
  const [t, signal, noise] = ["steps", "signal", "noise"].map((name) => model.get(name)[frame]);
  const factors = `noise σ = ${noise.toFixed(2)}, signal √ᾱ = ${signal.toFixed(2)}`;
  return t < 0 ? `Samples: ${factors}` : `Step t = ${t}: ${factors}`;
}

/** Buttons and slider for the frame; `stop` ends what plays. */
function transport(model) {
  const last = model.get("steps").length - 1;
  const bounded = (frame) => Math.min(last, Math.max(0, frame));
  const play = element("button", { type: "button", textContent: "Play" });
  const back = element("button", { type: "button", textContent: "◀", "aria-label": "One step back" });
  const on = element("button", { type: "button", textContent: "▶", "aria-label": "One step on" });
  const slider = element("input", { type: "range", min: 0, max: last, step: 1 });
  slider.style.flex = "1 1 9rem";
  const speed = element(
    "select",
    {},
    ...Object.entries(SPEEDS).map(([value, title]) => element("option", { value, textContent: title })),
  );
  speed.value = "12";
  let timer = 0;
  const pause = () => {
    if (!timer) return;
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
    model.save_changes();
  };
  const advance = () => {
    // Saved when it pauses: a kernel need not hear of every step.
    model.set("frame", bounded(frameOf(model) + 1));
    if (frameOf(model) === last) pause();
  };
  const start = () => {
    if (frameOf(model) === last) model.set("frame", 0);
    timer = setInterval(advance, 1000 / Number(speed.value));
    play.textContent = "Pause";
  };
  const jump = (frame) => {
    pause();
    assign(model, { frame: bounded(frame) });
  };
  const toggle = () => (timer ? pause() : start());
  play.addEventListener("click", toggle);
  back.addEventListener("click", () => jump(frameOf(model) - 1));
  on.addEventListener("click", () => jump(frameOf(model) + 1));
  slider.addEventListener("input", () => jump(Number(slider.value)));
  slider.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    toggle();
  });
  speed.addEventListener("change", () => {
    if (!timer) return;
    pause();
    start();
  });
  const show = () => {
    slider.value = frameOf(model);
    slider.setAttribute("aria-valuetext", level(model));
  };
  const label = element("label", {}, "noise to samples ", slider);
  label.style.flex = "1 1 14rem";
  const place = element(
    "div", { className: "dualdiff-row" }, play, back, on, label, element("label", {}, "speed ", speed),
  );
  return { place, show, stop: pause };
}

function render({ model, el }) {
  let chains = new Chains(model);
  const titles = Object.fromEntries(chains.names.map((name) => [name, chains.runs[name].title]));
  const list = picker(model, "run", "show", { [ALL]: "all, side by side", ...titles });
  const trails = element("input", { type: "checkbox" });
  const canvas = element("canvas", { role: "img" });
  const words = element("p", { className: "dualdiff-faint" });
  const reading = element("output");
  const controls = transport(model);
  const options = element(
    "div", { className: "dualdiff-row" }, list.place, element("label", {}, trails, "trails of some"),
  );
  const root = element(
    "div", { className: "dualdiff dualdiff-trajectory" }, options, words, controls.place, reading, canvas,
  );
  root.style.maxWidth = "56rem";
  el.append(root);

  const draw = () => {
    const run = model.get("run");
    const shown = chains.runs[run] ? [run] : chains.names;
    const frame = frameOf(model);
    const { place, height } = arrange(canvas.clientWidth, shown.length);
    const { context, width } = fit(canvas, height / Math.max(1, canvas.clientWidth));
    context.clearRect(0, 0, width, height);
    shown.forEach((name, i) =>
      drawRun(context, place(i), chains, name, {
        frame, reach: model.get("reach"), trails: trails.checked,
      }),
    );
  };
  const { again, stop } = keepDrawn(root, draw, model.get("pictured"));
  const show = () => {
    const run = model.get("run");
    words.textContent = about(chains, chains.runs[run] ? run : ALL);
    reading.textContent = level(model);
    canvas.setAttribute("aria-label", `${words.textContent} ${reading.textContent}`);
    controls.show();
    again();
  };
  trails.addEventListener("change", again);
  const renew = () => {
    chains = new Chains(model);
    show();
  };
  show();
  const stops = [
    stop,
    controls.stop,
    list.stop,
    listen(model, ["frame", "run"], show),
    listen(model, ["points", "shades", "runs"], renew),
  ];
  return () => stops.forEach((end) => end());
}

export default { render };
