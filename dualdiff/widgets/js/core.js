// The reverse process in the browser: the formulas of dualdiff's denoisers, exact, samplers, correct
// and resampling, on flat arrays ([n, d], row by row). `Floats` is Float32Array, or Float64Array
// where the tests compare with torch.
import { fastEngine, plainEngine, roomFor } from "./engine.js";
import { floorOf, isPlane, movedProduct, shares } from "./plane.js";

// --- noise ------------------------------------------------------------------------------------

const GOLDEN = 0x9e3779b9;

/** The 32-bit finaliser of MurmurHash3. */
function mixed(x) {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** The hash that all numbers of one step share. */
function stepKey(seed, step) {
  return mixed((mixed((seed + GOLDEN) | 0) + step + GOLDEN) | 0);
}

/** Number `index` of a step, uniform on (0, 1). */
function uniformAt(key, index) {
  return (mixed((key + index + GOLDEN) | 0) + 0.5) / 4294967296;
}

/** Standard normal numbers of a step into `out`: each hangs on its place alone (Box-Muller). */
function normals(seed, step, out) {
  const key = stepKey(seed, step);
  for (let i = 0; i < out.length; i++) {
    const radius = Math.sqrt(-2 * Math.log(uniformAt(key, 2 * i)));
    out[i] = radius * Math.cos(2 * Math.PI * uniformAt(key, 2 * i + 1));
  }
  return out;
}

// --- the process ------------------------------------------------------------------------------

const abarAt = (process, t) => (t < 0 ? 1 : process.alpha_bar[t]);
const signalAt = (process, t) => Math.sqrt(abarAt(process, t));
const noiseAt = (process, t) => Math.sqrt(1 - abarAt(process, t));

/** Nearest integer, halves to the even one, as Python rounds. */
function rounded(x) {
  const floor = Math.floor(x);
  return x - floor === 0.5 ? floor + (floor % 2) : Math.round(x);
}

/** The steps visited, from T - 1 down to 0 (`Sampler.timesteps`). */
function timesteps(process, count) {
  const last = process.alpha_bar.length - 1;
  if (count === 1) return [last];
  return Array.from({ length: count }, (_, i) => rounded(((count - 1 - i) * last) / (count - 1)));
}

// --- members ----------------------------------------------------------------------------------

/** A network (`denoisers.MLP`) bound to the standardised condition `c` and n points. */
function bindNetwork(member, stage, c, n, engine) {
  const { process, read } = stage;
  const dy = process.y_mean.length;
  const { fourier, width, activation, preconditioned, object_frame: framed } = member;
  const rows = roomFor(n);
  const waves = dy * (1 + 2 * fourier);
  const entry = read(member.layers[0].weight);
  const features = read(member.features);
  const featureCount = features.length / process.alpha_bar.length;
  const columns = waves + (framed ? 0 : c.length) + featureCount;
  const filled = (values, count) => {
    const out = engine.array(count);
    out.set(values);
    return out;
  };
  const first = engine.matrix(entry, width, columns, 0, waves);
  const hidden = member.layers.slice(1).map((layer) => ({
    weight: engine.matrix(read(layer.weight), width, width, 0, width),
    bias: filled(read(layer.bias), width),
  }));
  const outputs = engine.width(dy);
  const head = engine.matrix(read(member.head.weight), dy, width, 0, width);
  const headBias = filled(read(member.head.bias), outputs);
  const centre = process.y_mean.map((mean, k) =>
    framed
      ? (c[k] * process.c_std[k] + process.c_mean[k] + member.offset[k] - mean) / process.y_std[k]
      : 0,
  );
  // What the condition adds to the first layer is the same for all points and steps.
  const fixed = Float64Array.from(read(member.layers[0].bias));
  if (!framed) {
    for (let i = 0; i < width; i++) {
      for (let k = 0; k < c.length; k++) fixed[i] += entry[i * columns + waves + k] * c[k];
    }
  }
  const bias = engine.array(width);
  const seen = engine.array(rows * waves);
  const out = engine.array(rows * outputs);
  let h = engine.array(rows * width);
  let spare = engine.array(rows * width);

  function look(y, signal, scale) {
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < dy; k++) {
        const x = (y[i * dy + k] - signal * centre[k]) * scale[k];
        let place = i * waves + k;
        seen[place] = x;
        for (let o = 0, angle = (x * Math.PI) / 4; o < fourier; o++, angle *= 2) {
          seen[(place += dy)] = Math.sin(angle);
          seen[(place += dy)] = Math.cos(angle);
        }
      }
    }
  }

  /** The first layer's bias at step t: what time adds is the same for all points. */
  function biasAt(t) {
    const from = columns - featureCount;
    for (let i = 0; i < width; i++) {
      let total = fixed[i];
      for (let k = 0; k < featureCount; k++) {
        total += entry[i * columns + from + k] * features[t * featureCount + k];
      }
      bias[i] = total;
    }
  }

  return (y, t, eps) => {
    const signal = signalAt(process, t);
    const noise = noiseAt(process, t);
    const variance = member.residual.map((r) => (signal * r) ** 2 + noise ** 2);
    const scale = variance.map((v) => (preconditioned ? 1 / Math.sqrt(v) : 1));
    look(y, signal, scale);
    biasAt(t);
    engine.dense(seen, rows, waves, first, width, bias, h);
    engine.activate(activation, h, rows * width);
    for (const layer of hidden) {
      engine.dense(h, rows, width, layer.weight, width, layer.bias, spare);
      engine.activate(activation, spare, rows * width);
      [h, spare] = [spare, h];
    }
    engine.dense(h, rows, width, head, outputs, headBias, out);
    for (let k = 0; k < dy; k++) {
      const skip = preconditioned ? noise / variance[k] : 0;
      const gain = preconditioned ? signal * member.residual[k] * scale[k] : 1;
      for (let i = 0; i < n; i++) {
        const x = y[i * dy + k] - signal * centre[k];
        eps[i * dy + k] = skip * x + gain * out[i * outputs + k];
      }
    }
  };
}

/** A Gaussian mixture (`exact.ExactMixture`), around the condition if it is `framed`. */
function bindMixture(member, stage, c, n) {
  const { process } = stage;
  const dy = process.y_mean.length;
  const { log_weights: logWeights, means, variances, basis } = member;
  const count = logWeights.length;
  const centre = process.y_mean.map((mean, k) =>
    member.framed ? (c[k] * process.c_std[k] + process.c_mean[k] - mean) / process.y_std[k] : 0,
  );
  const residual = new Float64Array(count * dy); // float64: tails are far below float32's
  const logs = new Float64Array(count);
  const inverse = new Float64Array(count * dy);
  const shares = new Float64Array(count);
  return (y, t, eps) => {
    const signal = signalAt(process, t);
    const noise = noiseAt(process, t);
    shares.set(logWeights);
    for (let m = 0; m < count * dy; m++) {
      const variance = signal ** 2 * variances[m] + noise ** 2;
      inverse[m] = 1 / variance;
      shares[Math.floor(m / dy)] -= 0.5 * Math.log(variance);
    }
    for (let i = 0; i < n; i++) {
      let top = -Infinity;
      for (let m = 0; m < count; m++) {
        let log = shares[m];
        for (let e = 0; e < dy; e++) {
          let along = 0;
          for (let d = 0; d < dy; d++) {
            const x = y[i * dy + d] - signal * (centre[d] + means[m * dy + d]);
            along += x * basis[(m * dy + d) * dy + e];
          }
          residual[m * dy + e] = along * inverse[m * dy + e];
          log -= 0.5 * along * residual[m * dy + e];
        }
        logs[m] = log;
        top = Math.max(top, log);
      }
      let mass = 0;
      for (let m = 0; m < count; m++) mass += logs[m] = Math.exp(logs[m] - top);
      for (let d = 0; d < dy; d++) {
        let total = 0;
        for (let m = 0; m < count; m++) {
          if (logs[m] < 1e-20) continue; // adds nothing, and most add nothing
          for (let e = 0; e < dy; e++) {
            total += logs[m] * residual[m * dy + e] * basis[(m * dy + d) * dy + e];
          }
        }
        eps[i * dy + d] = (noise * total) / mass;
      }
    }
  };
}

/** exp(x^2) erfc(x) for x >= 0: a series, and a continued fraction from 2 on. */
function erfcx(x) {
  if (x < 2) {
    let [term, sum] = [x, x];
    for (let n = 1; term > 1e-17 * sum; n++) sum += term *= (2 * x * x) / (2 * n + 1);
    return Math.exp(x * x) - (2 / Math.sqrt(Math.PI)) * sum;
  }
  let below = x;
  for (let n = 60; n > 0; n--) below = x + n / 2 / below;
  return 1 / (Math.sqrt(Math.PI) * below);
}

const normalBelow = (x) => {
  const tail = 0.5 * erfcx(Math.abs(x) / Math.SQRT2) * Math.exp((-x * x) / 2);
  return x < 0 ? tail : 1 - tail;
};

/** Noise of a coordinate that is uniform between two ends, `x` from each in units of the noise. */
function uniformNoise(above, below) {
  // Mirrored to the side where the nearer end is below zero: there no exponential overflows.
  const flip = above + below > 0;
  const [near, far] = flip ? [-below, -above] : [above, below];
  const [middle, half] = [(near + far) / 2, (near - far) / 2];
  const sign = flip ? -1 : 1;
  if (half * (1 + Math.abs(middle)) < 1e-4) return sign * middle * (1 - half ** 2 / 3);
  const ratio = Math.exp((near ** 2 - far ** 2) / 2);
  const root = Math.sqrt(2 * Math.PI);
  if (near < 0) {
    const mass = 0.5 * (erfcx(-near / Math.SQRT2) - ratio * erfcx(-far / Math.SQRT2));
    return (-sign * (1 - ratio)) / (root * mass);
  }
  const top = Math.exp((-near * near) / 2) * (1 - ratio);
  return (-sign * top) / (root * (normalBelow(near) - normalBelow(far)));
}

/** A box around the condition (`exact.ExactBox`), closed from the right by a wall. */
function bindBox({ low, high }, stage, c, n) {
  const { process } = stage;
  const dy = process.y_mean.length;
  const centre = process.y_mean.map(
    (mean, k) => (c[k] * process.c_std[k] + process.c_mean[k] - mean) / process.y_std[k],
  );
  return (y, t, eps) => {
    const signal = signalAt(process, t);
    const noise = noiseAt(process, t);
    for (let i = 0; i < y.length; i++) {
      const k = i % dy;
      const above = (y[i] - signal * (centre[k] + low[k])) / noise;
      eps[i] = uniformNoise(above, (y[i] - signal * (centre[k] + high[k])) / noise);
    }
  };
}

const BINDERS = { network: bindNetwork, mixture: bindMixture, box: bindBox };

/** A member by name; the wall is where the settings say. */
function memberOf(stage, name, wall) {
  if (name !== "wall") return stage.members[name];
  const { low, high, unit } = stage.wall;
  return { kind: "box", low, high: [wall / unit, ...high.slice(1)] };
}

/** A stage as it came from Python, with its numbers at hand: `read(reference)` gives an array. */
export function openStage(stage) {
  const bytes = stage.numbers; // DataView: neither aligned nor alone in its buffer
  const all = new Float32Array(
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
  );
  return { ...stage, read: ({ at, size }) => all.subarray(at, at + size) };
}

// --- one chain --------------------------------------------------------------------------------

const fast = fastEngine();

const isMoved = (shift) => shift?.some((by) => by !== 0) ?? false;

/** A member of the law moved by `shift` (original units): eps(y - signal shift), exactly. */
function translated(predict, process, shift, moved) {
  const dy = process.y_mean.length;
  const by = process.y_std.map((unit, k) => (shift[k] ?? 0) / unit);
  return (y, t, eps) => {
    const signal = signalAt(process, t);
    for (let i = 0; i < y.length; i++) moved[i] = y[i] - signal * by[i % dy];
    predict(moved, t, eps);
  };
}

/** The sum of the members' noise predictions, and the members' own if asked to keep them. */
function sumOf(stage, { weights, wall, points: n, told, shift }, c, Floats) {
  const engine = Floats === Float32Array && fast ? fast : plainEngine(Floats);
  engine.reset();
  const active = Object.keys(weights).filter((name) => weights[name] !== 0);
  const dy = stage.process.y_mean.length;
  const members = active.map((name) => {
    const member = memberOf(stage, name, wall);
    const own = told ? told[name] : c; // members may be told different things
    const predict = BINDERS[member.kind](member, stage, own, n, engine);
    const elsewhere = name === "specialised" && isMoved(shift);
    return {
      weight: weights[name],
      predict: elsewhere ? translated(predict, stage.process, shift, new Floats(n * dy)) : predict,
    };
  });
  const scratch = new Floats(n * dy);
  return (y, t, total, kept) => {
    total.fill(0);
    members.forEach(({ weight, predict }, m) => {
      const eps = kept ? kept[m] : scratch;
      predict(y, t, eps);
      for (let i = 0; i < total.length; i++) total[i] += weight * eps[i];
    });
  };
}

/** Variance of the step between t and the next one visited (`samplers.transition`). */
const betaOf = (process, t, following) => 1 - abarAt(process, t) / abarAt(process, following);

/** One ancestral step with variance beta, in place; no noise at the last one (`samplers.DDPM`). */
function ancestralStep(process, y, eps, t, following, fresh) {
  const beta = betaOf(process, t, following);
  const shift = beta / noiseAt(process, t);
  const scale = 1 / Math.sqrt(1 - beta);
  const spread = following < 0 ? 0 : Math.sqrt(beta);
  for (let i = 0; i < y.length; i++) y[i] = (y[i] - shift * eps[i]) * scale + spread * fresh[i];
}

/** One step of DPM-Solver++ (2M) from t to `following`, in place (`samplers.DPMSolverPP`). */
function solverStep(process, y, eps, t, following, memory, clean) {
  const abar = abarAt(process, t);
  const next = abarAt(process, following);
  const [signal, noise] = [Math.sqrt(abar), Math.sqrt(1 - abar)];
  for (let i = 0; i < y.length; i++) clean[i] = (y[i] - noise * eps[i]) / signal;
  if (following < 0) {
    y.set(clean);
    return null;
  }
  const here = 0.5 * Math.log(abar / (1 - abar));
  const h = 0.5 * Math.log(next / (1 - next)) - here;
  const slope = memory ? (0.5 * h) / (here - memory.here) : 0;
  const keep = Math.sqrt((1 - next) / (1 - abar));
  const move = -Math.sqrt(next) * Math.expm1(-h);
  for (let i = 0; i < y.length; i++) {
    const direction = memory ? clean[i] + slope * (clean[i] - memory.clean[i]) : clean[i];
    y[i] = keep * y[i] + move * direction;
  }
  return { here, clean };
}

/** What the step at t adds to the log weights (`correct.feynman_kac_step`). */
function addWeights(logWeights, weights, kept, total, process, t, following) {
  const dy = total.length / logWeights.length;
  const factor = betaOf(process, t, following) / (2 * noiseAt(process, t) ** 2);
  for (let i = 0; i < logWeights.length; i++) {
    let gap = 0;
    for (let k = i * dy; k < (i + 1) * dy; k++) {
      gap += total[k] ** 2;
      weights.forEach((weight, m) => (gap -= weight * kept[m][k] ** 2));
    }
    logWeights[i] += factor * gap;
  }
}

/** Effective sample size as a share of the group (`resampling.effective_share`). */
function effectiveShare(logs) {
  const top = Math.max(...logs);
  let first = 0;
  let second = 0;
  for (const log of logs) {
    const weight = Math.exp(log - top);
    first += weight;
    second += weight ** 2;
  }
  return first ** 2 / second / logs.length;
}

/** Ancestors of a group by systematic resampling (`resampling.systematic`). */
function systematic(logs, uniform) {
  const top = Math.max(...logs);
  let total = 0;
  const cumulated = Array.from(logs, (log) => (total += Math.exp(log - top)));
  let from = 0;
  return Array.from(logs, (_, k) => {
    const place = ((k + uniform) / logs.length) * total;
    while (from < logs.length - 1 && cumulated[from] <= place) from++;
    return from;
  });
}

/** Ancestors of all points; groups that are due are resampled and their weights set to zero. */
function ancestorsOf(logWeights, group, threshold, last, key) {
  const places = new Int32Array(logWeights.length);
  for (let start = 0; start < logWeights.length; start += group) {
    const logs = logWeights.subarray(start, start + group);
    const due = last || effectiveShare(logs) < threshold;
    const chosen = due ? systematic(logs, uniformAt(key, start)) : null;
    for (let k = 0; k < group; k++) places[start + k] = start + (due ? chosen[k] : k);
    if (due) logs.fill(0);
  }
  return places;
}

function taken(values, places, dy) {
  const copy = values.slice();
  places.forEach((from, to) => {
    for (let k = 0; k < dy; k++) values[to * dy + k] = copy[from * dy + k];
  });
}

const UNIFORM_STREAM = 1 << 20;

/**
 * Run the reverse process, yielding after every step how many are done; returns all states.
 *
 * settings: `weights` (see coefficients), `shift` (of the specialised member), `ancestral` (else DPM-Solver++), `corrected` (ancestral too,
 * with Feynman-Kac SMC), `condition` (original units), `steps`, `points`, `seed`, `told` (standardised
 * conditions by member, in place of the one of all), and for tests `ancestors` (places per step) in
 * place of those drawn.
 */
export function* reverse(stage, settings, Floats = Float32Array) {
  const { process } = stage;
  const { points: n, seed, corrected } = settings;
  const dy = process.y_mean.length;
  const visited = timesteps(process, settings.steps);
  const c = settings.condition.map((x, k) => (x - process.c_mean[k]) / process.c_std[k]);
  const predict = sumOf(stage, settings, c, Floats);
  const active = Object.values(settings.weights).filter((weight) => weight !== 0);
  const size = n * dy;
  const [y, total, fresh] = [new Floats(size), new Floats(size), new Floats(size)];
  const kept = corrected ? active.map(() => new Floats(size)) : null;
  const logWeights = new Float64Array(n);
  const states = new Float32Array((visited.length + 1) * size);
  const spread = corrected ? 1 / Math.sqrt(active.reduce((a, b) => a + b, 0)) : 1;
  normals(seed, 0, y);
  for (let i = 0; i < size; i++) y[i] *= spread;
  show(stage, settings.condition, y, visited[0], states, 0);
  let memory = null;
  const buffers = [new Floats(size), new Floats(size)];
  for (let s = 0; s < visited.length; s++) {
    const [t, following] = [visited[s], s + 1 < visited.length ? visited[s + 1] : -1];
    predict(y, t, total, kept);
    if (corrected) {
      addWeights(logWeights, active, kept, total, process, t, following);
      const key = stepKey(seed, UNIFORM_STREAM + s);
      const drawn = ancestorsOf(logWeights, settings.group, settings.threshold, following < 0, key);
      const places = settings.ancestors ? settings.ancestors[s] : drawn;
      taken(y, places, dy);
      taken(total, places, dy);
    }
    if (corrected || settings.ancestral) {
      if (following >= 0) normals(seed, s + 1, fresh);
      ancestralStep(process, y, total, t, following, fresh);
    } else {
      memory = solverStep(process, y, total, t, following, memory, buffers[s % 2]);
    }
    show(stage, settings.condition, y, following, states, s + 1);
    yield s + 1;
  }
  return { states, timesteps: [...visited, -1], last: decoded(process, y) };
}

function decoded(process, y) {
  const dy = process.y_mean.length;
  return y.map((x, i) => x * process.y_std[i % dy] + process.y_mean[i % dy]);
}

/** The point from which samples at a condition are seen (`regions.Region.anchor`). */
function anchorOf({ anchor }, condition) {
  if (!anchor) return condition;
  return anchor.map((row) => row.reduce((sum, factor, k) => sum + factor * (condition[k] ?? 1), 0));
}

/**
 * The state as it is drawn: around the condition in a stage that is `framed`, so that the noise of
 * the first frame stands where its samples will; else in original units.
 */
function show(stage, condition, y, t, states, frame) {
  const { process } = stage;
  const dy = process.y_mean.length;
  const signal = signalAt(process, t);
  const anchor = anchorOf(stage, condition);
  for (let i = 0; i < y.length; i++) {
    const k = i % dy;
    const origin = stage.framed ? signal * (process.y_mean[k] - anchor[k]) : process.y_mean[k];
    states[frame * y.length + i] = process.y_std[k] * y[i] + origin;
  }
}

// --- scores -----------------------------------------------------------------------------------

const binOf = (unit, bins) => Math.min(bins - 1, Math.max(0, Math.floor(unit * bins)));

/** Cell of a point in a box, -1 outside (`regions.Box`). */
function boxCell({ low, high, divisions, tolerance }, u) {
  let far = 0;
  let cell = 0;
  low.forEach((a, k) => {
    far += (u[k] - Math.min(high[k], Math.max(a, u[k]))) ** 2;
    cell = cell * divisions + binOf((u[k] - a) / (high[k] - a), divisions);
  });
  return Math.sqrt(far) <= tolerance ? cell : -1;
}

/** Cell of a point on a disc, -1 off it (`regions.Disc`). */
function discCell({ radius, centre, height, thickness, rings, sectors, tolerance }, u) {
  const [x, y] = [u[0] - centre[0], u[1] - centre[1]];
  const beside = Math.max(0, Math.hypot(x, y) - radius);
  const above = Math.max(0, Math.abs(u[2] - height) - thickness);
  if (Math.hypot(beside, above) > tolerance) return -1;
  const turn = Math.atan2(y, x) / (2 * Math.PI);
  const ring = binOf((x ** 2 + y ** 2) / radius ** 2, rings);
  return ring * sectors + binOf(turn - Math.floor(turn), sectors);
}

/** Cell of a point by a table of cells, -1 outside (any other `regions.Region`). */
function tableCell({ low, high, side }, u, table) {
  let at = 0;
  for (let k = 0; k < low.length; k++) {
    const place = Math.floor(((u[k] - low[k]) / (high[k] - low[k])) * side);
    if (place < 0 || place >= side) return -1;
    at = at * side + place;
  }
  return table[at];
}

/** Cell of a point of the plane, -1 outside the grid. */
function gridCell({ low, high, cells }, u) {
  const at = [0, 1].map((k) => Math.floor(((u[k] - low[k]) / (high[k] - low[k])) * cells));
  return at.every((place) => place >= 0 && place < cells) ? at[0] * cells + at[1] : -1;
}

/** Whether a point lies where the fine grid says "inside". */
function gridInside(target, u, inside) {
  const cell = gridCell({ ...target, cells: target.fine }, u);
  return cell >= 0 && inside[cell] > 0;
}

/** The wanted law with the specialised member moved: of a plane the new product, else moved along. */
export function wantedAt(stage, shift = [0, 0]) {
  const { target } = stage;
  const key = String(shift);
  if (stage.wanted?.key === key) return stage.wanted;
  stage.wanted = { key, by: [0, 0] };
  if (target.kind === "grid" && isMoved(shift)) Object.assign(stage.wanted, movedProduct(stage, shift));
  else if (target.kind === "grid") {
    Object.assign(stage.wanted, { masses: stage.read(target.masses), inside: stage.read(target.inside) });
  } else stage.wanted.by = shift;
  return stage.wanted;
}

/**
 * What else is to be said of samples [n, dy]: in a plane the shares where both members, one or neither
 * have most of their mass; where the wanted law is another than at first its outline, and the total
 * variation of a perfect sampler.
 */
export function newsOf(stage, points, n, shift) {
  const { masses, outline } = wantedAt(stage, shift);
  return {
    shift,
    shares: isPlane(stage) ? shares(stage, points, n, shift) : null,
    ...(outline && { outline, floor: floorOf(masses, n) }),
  };
}

/**
 * Accuracy, total variation to the target on its cells, share of different points.
 * `points [n, dy]` in the frame in which states are drawn. With a `wall` accuracy asks for both, and
 * there is the share behind the wall in place of a variation.
 */
export function scores(stage, points, n, wall = null, shift = [0, 0]) {
  const { target } = stage;
  const dy = points.length / n;
  const grid = target.kind === "grid";
  const { masses, inside, by } = wantedAt(stage, shift);
  const kinds = { box: boxCell, disc: discCell, grid: gridCell, table: tableCell };
  const [cellOf, table] = [kinds[target.kind], target.kind === "table" && stage.read(target.cells)];
  const count = grid ? masses.length : target.count;
  const seen = new Float64Array(count);
  const different = new Set();
  let hits = 0;
  let behind = 0;
  for (let i = 0; i < n; i++) {
    const u = points.slice(i * dy, (i + 1) * dy);
    different.add(u.join());
    const beyond = wall !== null && u[0] > wall;
    by.forEach((shifted, k) => (u[k] -= shifted));
    const cell = cellOf(target, u, table);
    if (cell >= 0) seen[cell] += 1 / n;
    if (beyond) behind += 1;
    else if (grid ? gridInside(target, u, inside) : cell >= 0) hits += 1;
  }
  const found = { accuracy: hits / n, unique: different.size / n };
  if (wall !== null) return { ...found, behind: behind / n };
  let variation = 1 - seen.reduce((a, b) => a + b, 0);
  for (let k = 0; k < count; k++) variation += Math.abs(seen[k] - (grid ? masses[k] : 1 / count));
  return { ...found, total_variation: variation / 2 };
}

/** Whether single precision runs in WebAssembly here. */
export const isFast = () => fast !== null;
