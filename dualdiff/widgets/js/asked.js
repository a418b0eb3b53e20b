// What the composition widget asks its worker for, and why that may be impossible.
import { coefficients } from "./rules.js";

export const ASKED = [
  ...["rule", "w_general", "w_specialised", "w_wall", "wall", "guidance"],
  ...["sampler", "steps", "points", "seed", "condition", "shift"],
];

/** The settings as one text, to see whether samples are of what is set now. */
export const keyOf = (model) => JSON.stringify(["scene", ...ASKED].map((name) => model.get(name)));

const weightsOf = (model) =>
  coefficients(
    ...["rule", "w_general", "w_specialised", "guidance"].map((name) => model.get(name)),
    sceneOf(model)?.wall ? model.get("w_wall") : 0,
  );

export const sceneOf = (model) => model.get("scenes")[model.get("scene")];

/** First coordinate of the wall, in the frame of the first panel; null where it has no weight. */
export function wallOf(model) {
  if (!weightsOf(model).wall) return null;
  const [left, right] = sceneOf(model).panels[0].x;
  return left + model.get("wall") * (right - left);
}

/** The settings of a request, but for its size. */
export function request(model) {
  const { group, threshold } = model.get("resampling");
  return {
    weights: weightsOf(model),
    wall: wallOf(model),
    corrected: model.get("rule") === "smc",
    ancestral: model.get("sampler") === "ancestral",
    group,
    threshold,
    seed: model.get("seed"),
    shift: sceneOf(model).moves ? model.get("shift") : [0, 0],
    condition: model.get("condition"),
  };
}

/**
 * Why there are no samples of what is set; null where there are. A page without a kernel refuses
 * nothing that a linked widget sets, so everything is checked here.
 */
export function refusal(model) {
  for (const trait of ["scene", "rule", "sampler"]) {
    const known = model.get("titles")[trait];
    if (known.some(([value]) => value === model.get(trait))) continue;
    const names = known.map(([, title]) => title).join(", ");
    return `There is no ${trait} “${model.get(trait)}” here, only: ${names}.`;
  }
  const scene = sceneOf(model);
  const condition = model.get("condition");
  if (condition.length !== scene.condition.length || !condition.every(Number.isFinite)) {
    return `The condition needs ${scene.condition.length} numbers.`;
  }
  if (model.get("shift").length !== 2 || !model.get("shift").every(Number.isFinite)) {
    return "The shift of the specialised model needs 2 numbers.";
  }
  const most = { steps: scene.process.alpha_bar.length, points: 2000 };
  for (const [name, high] of Object.entries(most)) {
    const value = model.get(name);
    if (!(Number.isInteger(value) && value >= 1 && value <= high)) {
      return `The number of ${name} must be from 1 to ${high}.`;
    }
  }
  for (const name of ["w_general", "w_specialised", "w_wall", "wall", "guidance", "seed"]) {
    if (!Number.isFinite(model.get(name))) return `There is no number for ${name}.`;
  }
  const sum = Object.values(weightsOf(model)).reduce((a, b) => a + b, 0);
  return sum > 0
    ? null
    : "The weights need a positive sum: there is no such product of densities. Move one up.";
}
