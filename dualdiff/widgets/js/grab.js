// The specialised model is moved: by a pointer in a panel, or by its arrow keys.
import { sceneOf } from "./asked.js";
import { placeOf } from "./panel.js";
import { assign } from "./ui.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const REACH = 12; // px around what is grabbed: fingers are wide

/** Let the outline of the specialised member be dragged in a canvas, as long as `free()` says so. */
export function grabbable(model, canvas, panel, free) {
  const view = () => {
    const box = canvas.getBoundingClientRect();
    return { width: box.width, height: box.height, left: box.left, top: box.top };
  };
  const moves = panel.axes.map((axis) => axis < 2); // what is moved are the first two coordinates
  const span = [panel.x, panel.y].map(([low, high]) => high - low);

  /** Set the shift, as far as the panel is wide; of the axes that it shows. */
  const moveTo = (found) => {
    const shift = [...model.get("shift")];
    panel.axes.forEach((axis, k) => {
      if (moves[k]) shift[axis] = Math.max(-span[k], Math.min(span[k], found[k]));
    });
    assign(model, { shift });
  };
  const here = () => panel.axes.map((axis) => model.get("shift")[axis] ?? 0);

  /** Whether a pointer is on the specialised outline, or near the box around it. */
  const isOn = (event) => {
    const seen = view();
    const place = placeOf(panel, seen);
    const by = here();
    const [x, y] = [event.clientX - seen.left, event.clientY - seen.top];
    const lines = panel.outlines.filter(({ role }) => role === "specialised");
    const found = lines.flatMap(({ lines: rings }) => rings.flat());
    const at = found.map((point) => {
      const full = [];
      panel.axes.forEach((axis, k) => (full[axis] = point[k] + by[k]));
      return place(full);
    });
    const [xs, ys] = [at.map((p) => p[0]), at.map((p) => p[1])];
    return (
      at.length > 0 &&
      x > Math.min(...xs) - REACH && x < Math.max(...xs) + REACH &&
      y > Math.min(...ys) - REACH && y < Math.max(...ys) + REACH
    );
  };
  let grabbed = null; // where, and what the shift was
  canvas.addEventListener("pointerdown", (event) => {
    if (!free() || !isOn(event)) return;
    canvas.setPointerCapture(event.pointerId);
    grabbed = { at: [event.clientX, event.clientY], from: here() };
    canvas.style.cursor = "grabbing";
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!grabbed) {
      if (free()) canvas.style.cursor = isOn(event) ? "grab" : "";
      return;
    }
    const seen = view();
    const place = placeOf(panel, seen);
    const unit = [0, 1].map((k) => {
      const point = (value) => {
        const full = [0, 0, 0];
        full[panel.axes[k]] = value;
        return place(full)[k];
      };
      return point(1) - point(0); // px, upwards negative
    });
    const now = [event.clientX, event.clientY];
    moveTo(grabbed.from.map((from, k) => from + (now[k] - grabbed.at[k]) / unit[k]));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => (grabbed = null));
  }
  // On a touch screen the page scrolls with a finger, but not with what the finger holds.
  const hold = (event) => free() && isOn(event.touches[0]) && event.preventDefault();
  canvas.addEventListener("touchstart", hold, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in ARROWS) || !free()) return;
    event.preventDefault();
    const size = event.shiftKey ? 0.1 : 0.02;
    const by = ARROWS[event.key];
    moveTo(here().map((from, k) => from + size * span[k] * by[k]));
  });
}

/** Whether the scene that is shown lets its specialised member be moved. */
export const canMove = (model) => Boolean(sceneOf(model)?.moves);
