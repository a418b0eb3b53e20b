// A pad on which the condition of a scene is moved.
import { placeOf } from "./panel.js";
import { assign, element, fit, inks } from "./ui.js";

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** The pad of a model's condition in the box `movable`: `{ place, draw }`. */
export function conditionPad(model, { low, high, names }) {
  const label = "condition: arrow keys move it, Shift makes the steps larger";
  const canvas = element("canvas", { tabIndex: 0, role: "application", "aria-label": label });

  const moveTo = (x, y) => {
    const condition = [...model.get("condition")];
    [x, y].forEach((value, k) => (condition[k] = Math.max(low[k], Math.min(high[k], value))));
    assign(model, { condition });
  };
  const pointed = (event) => {
    const box = canvas.getBoundingClientRect();
    const right = (event.clientX - box.left) / box.width;
    const up = 1 - (event.clientY - box.top) / box.height;
    moveTo(low[0] + right * (high[0] - low[0]), low[1] + up * (high[1] - low[1]));
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointed(event);
  });
  canvas.addEventListener("pointermove", (event) => event.buttons && pointed(event));
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    const size = event.shiftKey ? 1 : 0.25;
    const [x, y] = model.get("condition");
    moveTo(x + size * KEYS[event.key][0], y + size * KEYS[event.key][1]);
  });

  const draw = () => {
    const view = fit(canvas, 1);
    const panel = { axes: [0, 1], x: [low[0], high[0]], y: [low[1], high[1]], labels: names };
    const place = placeOf(panel, view, 0);
    const { context, width, height } = view;
    const { paper, faint, ink } = inks();
    context.fillStyle = paper;
    context.fillRect(0, 0, width, height);
    context.strokeStyle = faint;
    context.strokeRect(0.5, 0.5, width - 1, height - 1);
    const [x, y] = place(model.get("condition"));
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height);
    context.moveTo(0, y);
    context.lineTo(width, y);
    context.stroke();
    context.fillStyle = ink;
    context.beginPath();
    context.arc(x, y, 6, 0, 2 * Math.PI);
    context.fill();
  };
  const caption = element("figcaption", { textContent: "the condition c: drag it" });
  return { place: element("figure", { className: "dualdiff-pad" }, canvas, caption), draw };
}
