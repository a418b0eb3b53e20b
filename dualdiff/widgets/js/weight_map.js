// A map of a score over the plane of weights, with a marker that the reader moves.
import { assign, element, fit, inks, keepDrawn, listen, picker } from "./ui.js";

// Cividis, from low to high: even steps to the eye, and the same for colour-blind readers.
const CIVIDIS = [
  [0, 34, 78], [0, 49, 112], [42, 63, 109], [67, 78, 108], [87, 93, 109], [106, 108, 113],
  [125, 124, 120], [145, 139, 120], [165, 156, 116], [188, 174, 108], [210, 192, 96],
  [233, 211, 78], [254, 232, 56],
];
const SCORES = {
  total_variation: {
    title: "total variation",
    legend: "total variation (0: the true law, 1: no overlap)",
    best: "Lowest",
    better: (a, b) => a < b,
  },
  accuracy: {
    title: "accuracy",
    legend: "accuracy (share of samples inside)",
    best: "Highest",
    better: (a, b) => a > b,
  },
};
const PLAIN = { general: 1, specialised: 1 };
const MARGIN = { left: 58, right: 8, top: 8, bottom: 44, legend: 50 };
const STEP = 0.05;
const REACH = 26; // how near to the marker a finger takes hold of it, in pixels
const KEYS = {
  ArrowLeft: ["general", -1],
  ArrowRight: ["general", 1],
  ArrowDown: ["specialised", -1],
  ArrowUp: ["specialised", 1],
};
const HINT =
  "Click the map or drag the marker; or focus the map and press the arrow keys, with Shift to go " +
  "to the next computed weight, Home to go back to the plain sum.";
let maps = 0;

const between = (value, low, high) => Math.min(high, Math.max(low, value));
const three = (value) => value.toFixed(3);
const pairText = (pair) => `(${+pair.general.toFixed(3)}, ${+pair.specialised.toFixed(3)})`;

/** The colour of a value from 0 to 1, and of ink that can be read on it. */
function shade(value) {
  const place = between(value, 0, 1) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(place), CIVIDIS.length - 2);
  const mixed = CIVIDIS[low].map((c, i) => Math.round(c + (place - low) * (CIVIDIS[low + 1][i] - c)));
  return { fill: `rgb(${mixed.join(",")})`, ink: value > 0.55 ? "#000000" : "#ffffff" };
}

/** Where a weight stands among the computed ones, counted in cells. */
function cellOf(weight, axis) {
  const last = axis.length - 1;
  if (weight <= axis[0]) return 0;
  if (weight >= axis[last]) return last;
  const next = axis.findIndex((other) => other > weight);
  return next - 1 + (weight - axis[next - 1]) / (axis[next] - axis[next - 1]);
}

/** The weight at a place counted in cells; close to a computed one it is that. */
function weightAt(cell, axis) {
  const place = between(cell, 0, axis.length - 1);
  if (Math.abs(place - Math.round(place)) < 0.15) return axis[Math.round(place)];
  const low = Math.floor(place);
  return Number((axis[low] + (place - low) * (axis[low + 1] - axis[low])).toFixed(2));
}

/** The computed weight after (`way` 1) or before (-1) a weight. */
function nextWeight(weight, axis, way) {
  const beyond = axis.filter((other) => (other - weight) * way > 1e-9);
  if (!beyond.length) return weight;
  return way > 0 ? beyond[0] : beyond[beyond.length - 1];
}

/** What the model says now: its maps, its marker, and the cells that matter. */
class Reading {
  constructor(model) {
    // A linked widget may know scenes and weights that the map does not.
    const [scene, recipe] = [model.get("scene"), model.get("recipe")];
    this.map = model.get("maps")[scene]?.[recipe] ?? {};
    this.metric = model.get("metric");
    this.axes = model.get("axes");
    this.weights = {}; // of the marker, which stays on the map
    this.reason = null; // why no number belongs to what is set
    for (const [name, axis] of Object.entries(this.axes)) {
      const [weight, low, high] = [model.get(`w_${name}`), axis[0], axis.at(-1)];
      this.weights[name] = between(Number.isFinite(weight) ? weight : 1, low, high);
      if (this.weights[name] === weight) continue;
      this.reason = `The weight ${weight} of the ${name} model is not on this map (${low} to ${high}).`;
    }
    if (!this.map[`${this.metric} value`]) {
      this.reason = `There is no map of “${scene}” (recipe “${recipe}”): choose another above.`;
    }
  }

  /** All computed pairs as `{ row, column, value }` of the present metric. */
  cells() {
    const rows = this.map[`${this.metric} value`] ?? [];
    return rows
      .flatMap((line, row) => line.map((value, column) => ({ row, column, value })))
      .filter((cell) => cell.value !== null);
  }

  /** Where the present metric is best: several cells where they tie. */
  best() {
    const cells = this.cells();
    if (!cells.length) return [];
    const { better } = SCORES[this.metric];
    const first = cells.reduce((best, cell) => (better(cell.value, best.value) ? cell : best));
    return cells.filter((cell) => cell.value === first.value);
  }

  nearest() {
    const column = cellOf(this.weights.general, this.axes.general);
    const row = cellOf(this.weights.specialised, this.axes.specialised);
    const away = (cell) => (cell.row - row) ** 2 + (cell.column - column) ** 2;
    return this.cells().reduce((best, cell) => (away(cell) < away(best) ? cell : best));
  }

  pair(cell) {
    return {
      general: this.axes.general[cell.column],
      specialised: this.axes.specialised[cell.row],
    };
  }

  /** A score at a cell with its interval, in words. */
  words(metric, cell) {
    const [value, low, high] = ["value", "low", "high"].map(
      (end) => this.map[`${metric} ${end}`][cell.row][cell.column],
    );
    const known = low !== null && high !== null && high > low;
    const interval = known ? ` (95 % interval ${three(low)} to ${three(high)})` : "";
    return `${SCORES[metric].title} ${three(value)}${interval}`;
  }
}

/** Height of the canvas over its width, so that cells are nearly square. */
function ratioAt(width) {
  const across = width - MARGIN.left - MARGIN.right;
  return (0.92 * across + MARGIN.top + MARGIN.bottom + MARGIN.legend) / Math.max(1, width);
}

/** Where the map lies on a canvas, and between cells and pixels. */
function layout(width, height, axes) {
  const columns = axes.general.length;
  const rows = axes.specialised.length;
  const cell = {
    width: (width - MARGIN.left - MARGIN.right) / columns,
    height: (height - MARGIN.top - MARGIN.bottom - MARGIN.legend) / rows,
  };
  const foot = MARGIN.top + rows * cell.height;
  return {
    cell,
    foot,
    columns,
    rows,
    x: (column) => MARGIN.left + (column + 0.5) * cell.width,
    y: (row) => foot - (row + 0.5) * cell.height,
    column: (x) => (x - MARGIN.left) / cell.width - 0.5,
    row: (y) => (foot - y) / cell.height - 0.5,
  };
}

function drawCells(context, place, reading) {
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.font = `${between(place.cell.width / 3.7, 8, 13)}px sans-serif`;
  for (const { row, column, value } of reading.cells()) {
    const { fill, ink } = shade(value);
    const [x, y] = [place.x(column), place.y(row)];
    context.fillStyle = fill;
    // A little larger than a cell: no seams where cells end between pixels.
    const { width, height } = place.cell;
    context.fillRect(x - width / 2, y - height / 2, width + 0.5, height + 0.5);
    context.fillStyle = ink;
    // In the upper part of the cell: marks are on the pairs of weights themselves.
    context.fillText(three(value).replace(/^0/, ""), x, y - height * 0.29);
  }
}

function drawAxes(context, place, axes, colours) {
  context.fillStyle = colours.ink;
  context.font = "12px sans-serif";
  context.textAlign = "center";
  context.textBaseline = "top";
  axes.general.forEach((weight, i) => context.fillText(`${weight}`, place.x(i), place.foot + 5));
  const middle = place.x((place.columns - 1) / 2);
  context.fillText("weight w_g, general", middle, place.foot + 22);
  context.textAlign = "right";
  context.textBaseline = "middle";
  axes.specialised.forEach((weight, i) => context.fillText(`${weight}`, MARGIN.left - 5, place.y(i)));
  context.save();
  context.translate(9, place.y((place.rows - 1) / 2));
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText("weight w_s, specialised", 0, 0);
  context.restore();
}

function drawLegend(context, place, width, metric, colours) {
  const top = place.foot + MARGIN.bottom;
  const long = width - MARGIN.left - MARGIN.right;
  for (let i = 0; i < long; i++) {
    context.fillStyle = shade(i / long).fill;
    context.fillRect(MARGIN.left + i, top, 1.5, 10);
  }
  context.fillStyle = colours.ink;
  context.font = "11px sans-serif";
  context.textBaseline = "top";
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    context.textAlign = value === 0 ? "left" : value === 1 ? "right" : "center";
    context.fillText(`${value}`, MARGIN.left + value * long, top + 13);
  }
  context.textAlign = "center";
  context.fillText(SCORES[metric].legend, MARGIN.left + long / 2, top + 28, long);
}

/** A line that can be seen on every colour of the map: white, with black inside. */
function outlined(context, path, width = 1.5) {
  context.beginPath();
  path();
  for (const [colour, thick] of [["#ffffff", width + 2.5], ["#000000", width]]) {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.stroke();
  }
}

function drawMarks(context, place, reading) {
  const { width, height } = place.cell;
  for (const best of reading.best()) {
    const [left, top] = [place.x(best.column) - width / 2, place.y(best.row) - height / 2];
    outlined(context, () => context.rect(left + 2, top + 2, width - 4, height - 4));
  }
  drawPlainSum(context, place, reading.axes);
  const x = place.x(cellOf(reading.weights.general, reading.axes.general));
  const y = place.y(cellOf(reading.weights.specialised, reading.axes.specialised));
  if (reading.reason) context.setLineDash([3, 3]); // it is not where the weights are
  outlined(context, () => context.arc(x, y, between(width / 7, 6, 8), 0, 2 * Math.PI), 2);
  context.setLineDash([]);
  return { x, y };
}

/** The thesis's choice: a diamond in the colour that the book gives it, and its name. */
function drawPlainSum(context, place, axes) {
  const x = place.x(cellOf(PLAIN.general, axes.general));
  const y = place.y(cellOf(PLAIN.specialised, axes.specialised));
  const path = () => {
    context.moveTo(x, y - 5);
    for (const [dx, dy] of [[5, 0], [0, 5], [-5, 0]]) context.lineTo(x + dx, y + dy);
    context.closePath();
  };
  outlined(context, path, 1);
  context.fillStyle = COLOURS.joint;
  context.fill();
  context.font = "10px sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const below = y + place.cell.height * 0.35;
  const long = context.measureText("thesis").width + 6;
  context.fillStyle = "#ffffff";
  context.fillRect(x - long / 2, below - 5.5, long, 11);
  context.fillStyle = "#000000";
  context.fillText("thesis", x, below);
}

/** Move the marker with keys; true if the key was one of them. */
function moveByKey(model, event) {
  const { weights, axes } = new Reading(model);
  if (event.key === "Home") {
    assign(model, { w_general: PLAIN.general, w_specialised: PLAIN.specialised });
    return true;
  }
  if (!KEYS[event.key]) return false;
  const [name, way] = KEYS[event.key];
  const axis = axes[name];
  const moved = event.shiftKey
    ? nextWeight(weights[name], axis, way)
    : Number((weights[name] + way * STEP).toFixed(3));
  assign(model, { [`w_${name}`]: between(moved, axis[0], axis[axis.length - 1]) });
  return true;
}

/** Let pointers move the marker; `where()` gives the layout and the marker's place. */
function pointers(canvas, model, where) {
  const moveTo = (event) => {
    const { axes } = new Reading(model);
    const { place } = where();
    assign(model, {
      w_general: weightAt(place.column(event.offsetX), axes.general),
      w_specialised: weightAt(place.row(event.offsetY), axes.specialised),
    });
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" && !near(canvas, event, where().marker)) return;
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    moveTo(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) moveTo(event);
  });
  // A finger elsewhere on the map may be about to scroll the page: only a tap moves the marker.
  canvas.addEventListener("click", moveTo);
  const hold = (event) => {
    if (near(canvas, event.touches[0], where().marker)) event.preventDefault();
  };
  canvas.addEventListener("touchstart", hold, { passive: false });
}

function near(canvas, point, marker) {
  const corner = canvas.getBoundingClientRect();
  const away = Math.hypot(point.clientX - corner.left - marker.x, point.clientY - corner.top - marker.y);
  return away < REACH;
}

/** The row of lists; those without a choice are left out. */
function choices(model) {
  const recipes = Object.keys(Object.values(model.get("maps"))[0]);
  const scores = Object.entries(SCORES).map(([name, score]) => [name, score.title]);
  const lists = [
    ["scene", "scenario", model.get("titles")],
    ["recipe", "recipe", Object.fromEntries(recipes.map((recipe) => [recipe, recipe]))],
    ["metric", "colour", Object.fromEntries(scores)],
  ].filter(([, , titles]) => Object.keys(titles).length > 1);
  return lists.map(([trait, label, titles]) => picker(model, trait, label, titles));
}

/** What stands under the map: here, and where it is best. */
function sentences(reading) {
  const [best, ...ties] = reading.best();
  if (!best) return [reading.reason, ""];
  const where = pairText(reading.pair(best));
  const score = SCORES[reading.metric];
  const top =
    `${score.best} ${score.title} of this map (framed): ${three(best.value)} at ` +
    (ties.length ? `${ties.length + 1} pairs, such as ${where}.` : `${where}.`);
  if (reading.reason) return [reading.reason, top];
  const here = reading.nearest();
  const both = Object.keys(SCORES).map((metric) => reading.words(metric, here));
  return [
    `Marker at ${pairText(reading.weights)}; nearest computed pair ${pairText(reading.pair(here))}: ` +
      `${both.join(", ")}.`,
    top,
  ];
}

function render({ model, el }) {
  const lists = choices(model);
  const name = `dualdiff-map-hint-${maps++}`;
  const canvas = element("canvas", {
    tabIndex: 0,
    role: "application",
    "aria-roledescription": "map of weights",
    "aria-describedby": name,
  });
  const here = element("output", { "aria-live": "polite" });
  const best = element("output");
  const row = element("div", { className: "dualdiff-row" }, ...lists.map((list) => list.place));
  const hint = element("p", { id: name, className: "dualdiff-faint", textContent: HINT });
  const root = element("div", { className: "dualdiff dualdiff-map" }, row, canvas, here, best, hint);
  root.style.maxWidth = "35rem";
  el.append(root);

  let seen = null;
  const draw = () => {
    const reading = new Reading(model);
    const { context, width, height } = fit(canvas, ratioAt(canvas.clientWidth));
    const place = layout(width, height, reading.axes);
    const colours = inks();
    context.clearRect(0, 0, width, height);
    drawCells(context, place, reading);
    drawAxes(context, place, reading.axes, colours);
    if (SCORES[reading.metric]) drawLegend(context, place, width, reading.metric, colours);
    seen = { place, marker: drawMarks(context, place, reading) };
  };
  const { again, stop } = keepDrawn(root, draw, model.get("pictured"));
  const show = () => {
    const reading = new Reading(model);
    [here.textContent, best.textContent] = sentences(reading);
    const label = reading.reason ?? `Weights of general and specialised ${pairText(reading.weights)}`;
    canvas.setAttribute("aria-label", label);
    again();
  };
  canvas.addEventListener("keydown", (event) => {
    if (moveByKey(model, event)) event.preventDefault();
  });
  pointers(canvas, model, () => seen);
  show();
  const traits = ["w_general", "w_specialised", "scene", "recipe", "metric", "maps"];
  const unlisten = listen(model, traits, show);
  return () => {
    stop();
    unlisten();
    lists.forEach((list) => list.stop());
  };
}

export default { render };
