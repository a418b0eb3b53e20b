// The numbers under the pictures of the composition widget, or why there are none.
import { element } from "./ui.js";

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** What is read out, also to those who see no picture: `show(parts, status)`. */
export function readout() {
  const numbers = element("div", { className: "dualdiff-scores" });
  const status = element("p", { className: "dualdiff-faint" });
  const place = element("div", { "aria-live": "polite" }, numbers, status);
  const says = { numbers: "", status: "" };
  return {
    place,
    /** Replaces what changed and no more: whatever is replaced is read out again. */
    show(boxes, text, playing) {
      place.setAttribute("aria-live", playing ? "off" : "polite");
      const now = JSON.stringify(boxes);
      if (now !== says.numbers) numbers.replaceChildren(...boxes.map(box));
      if (text !== says.status) status.textContent = text;
      Object.assign(says, { numbers: now, status: text });
    },
  };
}

function box({ reason, name, value, hint }) {
  if (reason) return element("p", { className: "dualdiff-reason", textContent: reason });
  return element(
    "div",
    { className: "dualdiff-score", title: hint },
    element("b", { textContent: value }),
    element("span", { textContent: name }),
    element("small", { textContent: hint }),
  );
}

/** The scores of the points at a step; at the last one with what chance alone would give. */
export function scoreBoxes({ scores, points, timesteps, news }, frame, { inside, floors }) {
  const { accuracy, total_variation, behind, unique } = scores[frame];
  const floor = news.floor ?? floors[String(points)];
  const perfect =
    floor === undefined ? "" : `of it ${floor.toFixed(2)} is the noise of ${points} samples`;
  const last = frame === timesteps.length - 1;
  const hint = (text) => (last ? text : `at step ${frame} of ${timesteps.length - 1}`);
  return [
    { name: "accuracy", value: percent(accuracy), hint: hint(inside) },
    behind === undefined
      ? { name: "total variation", value: total_variation.toFixed(2), hint: hint(perfect) }
      : { name: "behind the wall", value: percent(behind), hint: hint("accuracy counts none of it") },
    { name: "unique", value: percent(unique), hint: hint("share of different samples") },
  ];
}

/** Where samples of a plane lie, in place of scores: in both members' regions, in one, in neither. */
export function shareBoxes({ news: { shares } }) {
  const names = {
    both: "where both models put theirs",
    general: "the general model only",
    specialised: "the specialised model only",
    neither: "neither of the two",
  };
  return Object.entries(names).map(([name, words]) => ({
    name: words,
    value: `${(100 * shares[name]).toFixed(0)} %`,
    hint: "",
  }));
}
