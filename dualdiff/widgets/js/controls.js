// Sliders and presets of the composition widget.
import { assign, element, listen } from "./ui.js";

const THUMB = 16; // px: as wide as ui.css makes it

/** Ticks under a track from low to high; `marks` are pairs of a value and its sign. */
function tickMarks(place, marks, low, high) {
  const shown = marks.filter(([value]) => value >= low && value <= high);
  place.replaceChildren(
    ...shown.map(([value, sign]) => {
      const found = element("span", { textContent: sign });
      const share = (value - low) / (high - low);
      found.style.left = `calc(${THUMB / 2}px + ${share} * (100% - ${THUMB}px))`;
      return found;
    }),
  );
}

/** A slider bound to a trait: `{ place, range, stop }`; `range(low, high)` sets its ends. */
export function slider(model, trait, label, { low, high, step = 0.05, marks = [] }) {
  const input = element("input", { type: "range", step, "aria-label": label });
  const value = element("output");
  const places = element("div", { className: "dualdiff-ticks", "aria-hidden": "true" });
  const name = element("span", { textContent: label });
  const place = element("div", { className: "dualdiff-slider" }, name, value, input, places);
  const show = () => {
    const now = model.get(trait);
    input.value = now;
    value.textContent = Number.isFinite(now) ? String(Number(now.toFixed(2))) : "–";
  };
  const range = (from, to) => {
    Object.assign(input, { min: from, max: to });
    tickMarks(places, marks, from, to);
    show(); // a value between the ends that was not between those before
  };
  input.addEventListener("input", () => assign(model, { [trait]: Number(input.value) }));
  range(low, high);
  return { place, range, stop: listen(model, [trait], show) };
}

const MARKS = [[-1, "−1"], [0, "0"], [0.25, "¼"], [1, "1"], [2, "2"], [3, "3"]];
const NARROW = [0, 2];
const WIDE = [-1, 3];
const PRESETS = { general: [1, 0], specialised: [0, 1], joint: [1, 1] };
const SAYS = {
  general: "The general model alone",
  specialised: "The specialised model alone",
  joint: "The thesis's joint sampling: both noise predictions, each with weight 1",
  learned: "Weights that were learned from cases held out",
};

/** The two weights: presets, sliders, and the switch to weights below 0 and above 2. */
export function weightControls(model, { compact }) {
  const traits = { w_general: "weight, general", w_specialised: "weight, specialised" };
  const now = () => Object.keys(traits).map((trait) => model.get(trait));
  const sliders = Object.entries(traits).map(([trait, label]) => {
    const found = slider(model, trait, label, { low: 0, high: 2, marks: MARKS });
    found.place.dataset.trait = trait;
    return found;
  });
  const presets = element("div", { className: "dualdiff-presets" });
  const wide = element("input", { type: "checkbox" });
  const outside = () => now().some((w) => w < NARROW[0] || w > NARROW[1]);
  const show = () => {
    if (outside()) wide.checked = true;
    for (const { range } of sliders) range(...(wide.checked ? WIDE : NARROW));
    for (const button of presets.children) {
      button.setAttribute("aria-pressed", String(button.weights.every((w, k) => w === now()[k])));
    }
  };
  wide.addEventListener("change", () => {
    if (!wide.checked) {
      const kept = now().map((w) => Math.max(NARROW[0], Math.min(NARROW[1], w)));
      assign(model, { w_general: kept[0], w_specialised: kept[1] });
    }
    show();
  });
  /** The presets of a scene, which may have learned weights. */
  const offer = (scene) => {
    const known = { ...PRESETS, ...(scene?.learned && { learned: scene.learned }) };
    presets.replaceChildren(
      ...Object.entries(known).map(([name, weights]) => {
        const button = element("button", { type: "button", textContent: name, title: SAYS[name] });
        button.weights = weights;
        button.addEventListener("click", () =>
          assign(model, { w_general: weights[0], w_specialised: weights[1] }),
        );
        return button;
      }),
    );
    show();
  };
  const toggle = element("label", { className: "dualdiff-faint" }, wide, "from −1 to 3");
  const place = element("div", {}, presets, ...sliders.map((one) => one.place));
  if (!compact) place.append(toggle);
  const unlisten = listen(model, Object.keys(traits), show);
  const stop = () => [unlisten, ...sliders.map((one) => one.stop)].forEach((end) => end());
  /** Back to the narrow range, unless a weight lies outside. */
  const narrow = () => {
    wide.checked = false;
    show();
  };
  return { place, offer, narrow, stop };
}
