// Two mixtures of the plane of which the second has been moved: their product on the grid of a scene,
// what of it counts as inside, and where each of the two has most of its mass.

const HOLDS = 0.95; // of the mass, within an outline (`experiments.scenes.Plane.HOLDS`)
const BLOCK = 2; // fine cells count as inside by the mean of that many points along each axis

/** Log density of a mixture without noise at [x, y] from the condition, up to a constant. */
function logDensity({ log_weights: logWeights, means, variances, basis }, unit, x, y) {
  const [a, b] = [x / unit[0], y / unit[1]];
  let [top, sum] = [-Infinity, 0];
  for (let m = 0; m < logWeights.length; m++) {
    let log = logWeights[m];
    for (let e = 0; e < 2; e++) {
      const along =
        (a - means[2 * m]) * basis[4 * m + e] + (b - means[2 * m + 1]) * basis[4 * m + 2 + e];
      log -= 0.5 * (along ** 2 / variances[2 * m + e] + Math.log(variances[2 * m + e]));
    }
    if (log > top) [top, sum] = [log, sum * Math.exp(top - log) + 1];
    else sum += Math.exp(log - top);
  }
  return top + Math.log(sum);
}

/** The value that bounds the largest ones, which together have a share of the sum of all. */
function levelOf(values, share = HOLDS) {
  const sorted = Float64Array.from(values).sort().reverse();
  const wanted = share * sorted.reduce((a, b) => a + b, 0);
  let sum = 0;
  return sorted[sorted.findIndex((value) => (sum += value) >= wanted)];
}

/** exp of log values on the midpoints of a grid of side² cells, largest 1; first index along x. */
function onGrid({ low, high }, side, log) {
  const logs = new Float64Array(side * side);
  for (let i = 0; i < side; i++) {
    const x = low[0] + ((i + 0.5) / side) * (high[0] - low[0]);
    for (let j = 0; j < side; j++) {
      logs[i * side + j] = log(x, low[1] + ((j + 0.5) / side) * (high[1] - low[1]), i * side + j);
    }
  }
  const top = logs.reduce((a, b) => Math.max(a, b));
  return { values: logs.map((value) => Math.exp(value - top)), logs, top };
}

/** Means (or sums) over blocks of a square table. */
function blocks(values, side, size, mean) {
  const count = side / size;
  const out = new Float64Array(count * count);
  for (let i = 0; i < side; i++) {
    for (let j = 0; j < side; j++) {
      const at = Math.floor(i / size) * count + Math.floor(j / size);
      out[at] += values[i * side + j] / (mean ? size * size : 1);
    }
  }
  return out;
}

/** Both members of a scene, where each has most of its mass; neither moved. */
function membersOf(stage) {
  const { target, members, process } = stage;
  const side = BLOCK * target.fine;
  const known = (member) => {
    const log = (x, y) => logDensity(member, process.y_std, x, y);
    const { values, logs, top } = onGrid(target, side, log);
    return { log, logs, level: top + Math.log(levelOf(values)) };
  };
  return { general: known(members.general), specialised: known(members.specialised) };
}

/** Whether a scene's wanted law is the product of two mixtures of the plane. */
export const isPlane = ({ target, members, framed }) =>
  framed &&
  target.kind === "grid" &&
  ["general", "specialised"].every((name) => members[name].kind === "mixture");

/** Which of both members have a sample where they have most of their mass: shares that sum to 1. */
export function shares(stage, points, n, [dx, dy]) {
  const { general, specialised } = (stage.plane ??= membersOf(stage));
  const found = { both: 0, general: 0, specialised: 0, neither: 0 };
  for (let i = 0; i < n; i++) {
    const [x, y] = [points[2 * i], points[2 * i + 1]];
    const a = general.log(x, y) >= general.level;
    const b = specialised.log(x - dx, y - dy) >= specialised.level;
    found[a && b ? "both" : a ? "general" : b ? "specialised" : "neither"] += 1 / n;
  }
  return found;
}

/** The wanted law of a plane when the specialised member has been moved by [dx, dy]. */
export function movedProduct(stage, [dx, dy]) {
  const { target } = stage;
  const { general, specialised } = (stage.plane ??= membersOf(stage));
  const side = BLOCK * target.fine;
  const log = (x, y, at) => general.logs[at] + specialised.log(x - dx, y - dy);
  const { values } = onGrid(target, side, log);
  const total = values.reduce((a, b) => a + b, 0);
  const level = levelOf(values);
  const inside = blocks(values, side, BLOCK, true).map((value) => (value >= level ? 1 : 0));
  return {
    masses: blocks(values, side, side / target.cells, false).map((value) => value / total),
    inside,
    outline: outlineOf(target, inside),
  };
}

/** Closed lines around the cells of a square table that are inside, their corners cut. */
function outlineOf({ low, high, fine }, inside) {
  const is = (i, j) => i >= 0 && j >= 0 && i < fine && j < fine && inside[i * fine + j] > 0;
  const from = new Map(); // corners from which an edge leads on, what is inside on its left
  const edge = (a, b) => from.set(String(a), [...(from.get(String(a)) ?? []), b]);
  for (let i = 0; i < fine; i++) {
    for (let j = 0; j < fine; j++) {
      if (!is(i, j)) continue;
      if (!is(i, j - 1)) edge([i, j], [i + 1, j]);
      if (!is(i + 1, j)) edge([i + 1, j], [i + 1, j + 1]);
      if (!is(i, j + 1)) edge([i + 1, j + 1], [i, j + 1]);
      if (!is(i - 1, j)) edge([i, j + 1], [i, j]);
    }
  }
  const lines = [];
  const scale = (k, place) => low[k] + (place / fine) * (high[k] - low[k]);
  while (from.size) {
    const line = [];
    let at = from.values().next().value[0];
    for (let next = from.get(String(at)); next; next = from.get(String(at))) {
      const to = next.pop();
      if (!next.length) from.delete(String(at));
      line.push([scale(0, (at[0] + to[0]) / 2), scale(1, (at[1] + to[1]) / 2)]);
      at = to;
    }
    lines.push(cut(cut(line)));
  }
  return lines;
}

/** A closed line through the middles of the edges of another. */
const cut = (line) =>
  line.map(([x, y], k) => {
    const [a, b] = line[(k + 1) % line.length];
    return [(x + a) / 2, (y + b) / 2];
  });

/** Mean total variation of n draws of a law to itself (`stages.grid_floor`). */
export function floorOf(masses, n) {
  const rest = 1 - masses.reduce((a, b) => a + b, 0);
  const logs = new Float64Array(n + 1); // of factorials
  for (let k = 1; k <= n; k++) logs[k] = logs[k - 1] + Math.log(k);
  let total = 0;
  for (const p of [...masses, Math.max(0, rest)]) {
    const m = Math.floor(n * p) + 1;
    if (p <= 0 || m > n) continue;
    const log = logs[n] - logs[m] - logs[n - m] + m * Math.log(p) + (n - m) * Math.log1p(-p);
    total += m * (1 - p) * Math.exp(log);
  }
  return total / n;
}
