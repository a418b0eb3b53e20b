// A panel of the composition widget: axes, outlines of laws, points.
import { inks, isDark } from "./ui.js";

const MARGIN = { left: 44, bottom: 36, other: 8 };

/** The function from samples (or other points) to pixels: `place(point)` gives [x, y]. */
export function placeOf(panel, { width, height }, margin = 1) {
  const left = MARGIN.left * margin;
  const [wide, high] = [
    width - left - MARGIN.other * margin,
    height - (MARGIN.bottom + MARGIN.other) * margin,
  ];
  const [a, b] = panel.axes;
  return (point, offset = 0) => {
    const [x, y] = [point[offset + a], point[offset + b]];
    return [
      left + ((x - panel.x[0]) / (panel.x[1] - panel.x[0])) * wide,
      MARGIN.other * margin + (1 - (y - panel.y[0]) / (panel.y[1] - panel.y[0])) * high,
    ];
  };
}

/** Round numbers between two ends, about `count` of them. */
function ticks([low, high], count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9; k++) {
    found.push(Number((k * step).toPrecision(12)));
  }
  return found;
}

/** A point with the two drawn coordinates at their places. */
function at(panel, x, y) {
  const point = [];
  point[panel.axes[0]] = x;
  point[panel.axes[1]] = y;
  return point;
}

/** Left, bottom, right and top of what a panel shows, in pixels. */
function frameOf(panel, place) {
  return [...place(at(panel, panel.x[0], panel.y[0])), ...place(at(panel, panel.x[1], panel.y[1]))];
}

/** Paper, grid, ticks and labels. */
export function axes({ context, width, height }, panel, place) {
  const { ink, faint, grid, paper } = inks();
  context.clearRect(0, 0, width, height);
  context.fillStyle = paper;
  context.fillRect(0, 0, width, height);
  context.font = "11px system-ui, sans-serif";
  context.lineWidth = 1;
  const [left, bottom, right, top] = frameOf(panel, place);
  const line = (x0, y0, x1, y1) => {
    context.beginPath();
    context.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
    context.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
    context.stroke();
  };
  context.fillStyle = faint;
  context.strokeStyle = grid;
  context.textBaseline = "middle";
  context.textAlign = "center";
  for (const x of ticks(panel.x, Math.max(2, width / 60))) {
    const [px] = place(at(panel, x, panel.y[0]));
    line(px, bottom, px, top);
    context.fillText(String(x), px, bottom + 9);
  }
  context.textAlign = "right";
  for (const y of ticks(panel.y, Math.max(2, height / 50))) {
    const [, py] = place(at(panel, panel.x[0], y));
    line(left, py, right, py);
    context.fillText(String(y), left - 4, py);
  }
  context.fillStyle = ink;
  context.textAlign = "center";
  context.fillText(panel.labels[0], (left + right) / 2, height - 7);
  context.save();
  context.translate(9, (top + bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(panel.labels[1], 0, 0);
  context.restore();
}

/** The first coordinate at a place of the canvas, as a share of the panel's width. */
export function shareAt(view, px) {
  const left = MARGIN.left;
  return Math.max(0, Math.min(1, (px - left) / (view.width - left - MARGIN.other)));
}

/** A wall: what lies to its right is shaded. */
export function wall({ context }, panel, place, x) {
  const [left, bottom, right, top] = frameOf(panel, place);
  const [px] = place(at(panel, x, panel.y[0]));
  const from = Math.max(left, Math.min(right, px));
  context.fillStyle = inks().faint;
  context.globalAlpha = 0.25;
  context.fillRect(from, top, right - from, bottom - top);
  context.globalAlpha = 1;
  context.fillStyle = inks().ink;
  context.fillRect(from - 1.5, top, 3, bottom - top);
}

/**
 * Closed outlines, filled faintly; those of one role in one colour. The specialised one stands at its
 * `shift`; with a `truth` those lines are drawn in place of the panel's.
 */
export function outlines({ context }, panel, place, colour, { shift = [0, 0], truth = null } = {}) {
  const [left, bottom, right, top] = frameOf(panel, place);
  context.save();
  context.beginPath();
  context.rect(left, top, right - left, bottom - top);
  context.clip();
  for (const { role, lines, fill } of panel.outlines) {
    context.beginPath();
    const by = panel.axes.map((axis) => (role === "specialised" ? shift[axis] ?? 0 : 0));
    for (const line of role === "truth" && truth ? truth : lines) {
      line.forEach(([x, y], k) => {
        const [px, py] = place(at(panel, x + by[0], y + by[1]));
        if (k === 0) context.moveTo(px, py);
        else context.lineTo(px, py);
      });
      context.closePath();
    }
    context.fillStyle = colour(role);
    context.globalAlpha = fill;
    context.fill("evenodd");
    context.globalAlpha = 1;
    context.strokeStyle = colour(role);
    context.lineWidth = role === "object" ? 1 : 2;
    context.setLineDash(role === "truth" ? [5, 4] : []);
    context.stroke();
    context.setLineDash([]);
  }
  context.restore();
}

/** Points [n, dy] as dots, or as rings. Those outside the panel are left out. */
export function points(view, panel, place, values, n, colour, { rings = false, opacity = 1 }) {
  const { context } = view;
  const dy = values.length / n;
  const size = n > 200 ? 2.2 : 3;
  const [left, bottom, right, top] = frameOf(panel, place);
  context.fillStyle = colour;
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.globalAlpha = opacity * (rings || isDark() ? 0.9 : 0.65);
  for (let i = 0; i < n; i++) {
    const [x, y] = panel.map
      ? place(mapped(panel.map, values, i * dy))
      : place(values, i * dy);
    if (!(x >= left && x <= right && y >= top && y <= bottom)) continue;
    context.beginPath();
    context.arc(x, y, rings ? size + 1.5 : size, 0, 2 * Math.PI);
    if (rings) context.stroke();
    else context.fill();
  }
  context.globalAlpha = 1;
}

/** An affine map of the plane: rows [a, b, shift]. */
function mapped(map, values, offset) {
  return map.map(([a, b, shift]) => a * values[offset] + b * values[offset + 1] + shift);
}
