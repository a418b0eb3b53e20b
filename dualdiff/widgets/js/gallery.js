// Pictures of a class in a style, sampled anew while the weights of both are dragged.
import { openStage, reverse } from "./core.js";
import { assign, element, fit, inks, keepDrawn, listen, picker } from "./ui.js";

const ROUGH = 8; // pictures while something moves
const COLUMNS = 8;
const GAP = 0.12; // of a picture's side
const SLICE = 10; // ms of sampling before the page has its turn
const REFINE_AFTER = 150; // ms of rest
const SLIDERS = { w_class: "weight of the class", w_style: "weight of the style" };
const ASKED = ["digit", "concept", "w_class", "w_style", "seed"];

/** Weights and conditions of the three members: a network untold, told the class, and a style's. */
export function settings(model, points) {
  const [digit, style] = [model.get("digit"), model.get("concept")];
  const [wClass, wStyle] = [model.get("w_class"), model.get("w_style")];
  const size = model.get("stage").process.c_mean.length;
  const only = (place) => Array.from({ length: size }, (_, k) => (k === place ? 1 : 0));
  return {
    weights: { untold: 1 - wClass - wStyle, class: wClass, [style]: wStyle },
    told: { untold: only(-1), class: only(Number(digit)), [style]: only(size - 1) },
    condition: only(-1),
    ancestral: true,
    steps: model.get("steps"),
    seed: model.get("seed"),
    points,
  };
}

function slider(model, trait, label) {
  const { min, max } = { min: 0, max: 5 };
  const range = element("input", { type: "range", min, max, step: 0.05, "aria-label": label });
  const value = element("span");
  const show = () => {
    range.value = model.get(trait);
    value.textContent = Number(model.get(trait)).toFixed(2);
  };
  range.addEventListener("input", () => assign(model, { [trait]: Number(range.value) }));
  show();
  const place = element("label", {}, `${label} `, range, value);
  return { place, stop: listen(model, [trait], show) };
}

/** Pictures [n, side * side] from -1 (paper) to 1 (ink) in rows, black on white. */
function paint(canvas, pictures, n, side) {
  const rows = Math.ceil(n / COLUMNS);
  const { context, width, height } = fit(canvas, rows / COLUMNS);
  context.fillStyle = inks().paper;
  context.fillRect(0, 0, width, height);
  const cell = width / COLUMNS;
  const pixel = (cell * (1 - GAP)) / side;
  for (let i = 0; i < n; i++) {
    const [left, top] = [(i % COLUMNS) * cell, Math.floor(i / COLUMNS) * cell];
    for (let k = 0; k < side * side; k++) {
      const paper = Math.min(1, Math.max(0, (1 - pictures[i * side * side + k]) / 2));
      const grey = Math.round(255 * paper); // also on a dark page: a style may be white on black
      context.fillStyle = `rgb(${grey},${grey},${grey})`;
      const [x, y] = [left + (k % side) * pixel, top + Math.floor(k / side) * pixel];
      context.fillRect(x, y, pixel + 0.5, pixel + 0.5);
    }
  }
}

function render({ model, el }) {
  const stage = openStage({ ...model.get("stage"), numbers: model.get("numbers"), framed: false });
  const side = Math.sqrt(stage.process.y_mean.length);
  const lists = [
    picker(model, "digit", "class", model.get("digits")),
    picker(model, "concept", "style", model.get("styles")),
  ];
  const sliders = Object.entries(SLIDERS).map(([trait, label]) => slider(model, trait, label));
  const noise = element("button", { type: "button", textContent: "new noise" });
  noise.addEventListener("click", () => assign(model, { seed: (model.get("seed") + 1) % 1000 }));
  const canvas = element("canvas", { role: "img", "aria-label": "pictures" });
  const note = element("output", { "aria-live": "polite" });
  const root = element(
    "div",
    { className: "dualdiff dualdiff-gallery" },
    element("div", { className: "dualdiff-row" }, ...lists.map((list) => list.place), noise),
    element("div", { className: "dualdiff-row" }, ...sliders.map((one) => one.place)),
    canvas,
    note,
  );
  root.style.maxWidth = "40rem";
  el.append(root);

  let [id, timer, pictures, shown] = [0, 0, new Float32Array(0), 0];
  const drawn = keepDrawn(root, () => paint(canvas, pictures, shown, side), model.get("pictured"));

  /** Sample in slices; a newer wish ends an older one. */
  function sampled(points) {
    const own = ++id;
    const began = performance.now();
    const chain = reverse(stage, settings(model, points));
    const slice = () => {
      if (own !== id) return;
      const from = performance.now();
      let step = chain.next();
      while (!step.done && performance.now() - from < SLICE) step = chain.next();
      if (!step.done) {
        setTimeout(slice, 0);
        return;
      }
      [pictures, shown] = [step.value.last, points];
      const finite = pictures.every(Number.isFinite);
      note.textContent = finite
        ? `${points} pictures in ${(performance.now() - began).toFixed(0)} ms.`
        : "These weights lead beyond all numbers: make them smaller.";
      canvas.setAttribute("aria-label", `${points} pictures of ${model.get("digit")}`);
      root.dataset.done = JSON.stringify(ASKED.map((name) => model.get(name)));
      drawn.again();
    };
    slice();
  }

  const changed = () => {
    clearTimeout(timer);
    sampled(ROUGH);
    timer = setTimeout(() => sampled(model.get("count")), REFINE_AFTER);
  };
  const unlisten = listen(model, ASKED, changed);
  root.pictures = () => pictures;
  changed();
  return () => {
    id++;
    clearTimeout(timer);
    drawn.stop();
    unlisten();
    [...lists, ...sliders].forEach((one) => one.stop());
  };
}

export default { render };
