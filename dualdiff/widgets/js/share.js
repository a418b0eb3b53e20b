// A link that opens the composition widget with given settings, and its picture as a file.
import { sceneOf } from "./asked.js";
import { assign, element, inks } from "./ui.js";

const numberIn = (text) => (/^-?\d+(\.\d+)?$/.test(text) ? Number(text) : NaN);
const numbersIn = (text) => text.split(",").map(numberIn);
/** A number as a link and a picture write it. */
export const short = (value) => String(Number(value.toFixed(3)));

// Name in a link: the trait, how it is read and written. What a link leaves out is as at the start.
const PARTS = {
  rule: ["rule", String, String],
  wall: ["wall", numberIn, short],
  guidance: ["guidance", numberIn, short],
  sampler: ["sampler", String, String],
  steps: ["steps", numberIn, short],
  points: ["points", numberIn, short],
  seed: ["seed", numberIn, short],
  c: ["condition", numbersIn, (c) => c.map(short).join()],
  shift: ["shift", numbersIn, (by) => by.map(short).join()],
};

/** The part of an address behind #: the weights, the scene, and what else is not as at the start. */
export function linkOf(model) {
  const start = { ...model.get("start"), condition: sceneOf(model).condition };
  const weights = ["w_general", "w_specialised", "w_wall"].map((trait) => model.get(trait));
  if (!weights[2]) weights.pop();
  const rest = Object.entries(PARTS)
    .filter(([, [trait]]) => JSON.stringify(model.get(trait)) !== JSON.stringify(start[trait]))
    .map(([name, [trait, , written]]) => `${name}=${written(model.get(trait))}`);
  return [`w=${weights.map(short).join()}`, `scene=${model.get("scene")}`, ...rest].join("&");
}

/** Set what the address asks for; returns in words what it asks for that there is not, or null. */
export function follow(model, hash = window.location.hash) {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  if (!asked.has("w") && !asked.has("scene")) return null;
  const names = Object.keys(model.get("scenes"));
  const wanted = asked.get("scene") ?? model.get("scene");
  const scene = names.find((name) => name === wanted) ?? names.find((name) => name.startsWith(wanted));
  if (!scene) return `The link asks for scene “${wanted}”; there are ${names.join(", ")}.`;
  const values = {};
  if (asked.has("w")) {
    const weights = numbersIn(asked.get("w"));
    if (weights.length < 2 || weights.length > 3 || !weights.every(Number.isFinite)) {
      return `The link has w=${asked.get("w")}; it must be two numbers, such as w=1,0.5.`;
    }
    const [w_general, w_specialised, w_wall = 0] = weights;
    Object.assign(values, { w_general, w_specialised, w_wall });
  }
  for (const [name, text] of asked) {
    if (name === "w" || name === "scene") continue;
    if (!(name in PARTS)) {
      return `The link sets ${name}; it may set w, scene, ${Object.keys(PARTS).join(", ")}.`;
    }
    const [trait, read] = PARTS[name];
    values[trait] = read(text);
  }
  const { condition } = model.get("scenes")[scene];
  assign(model, { ...model.get("start"), scene, condition });
  assign(model, values); // whose refusals the view shows
  return null;
}

/** All panels side by side, and a line of words below them, as a picture that is saved. */
export function savePicture(canvases, words, name) {
  const { ink, paper } = inks();
  const scale = window.devicePixelRatio || 1;
  const [gap, line] = [8 * scale, 26 * scale];
  const sheet = element("canvas", {
    width: canvases.reduce((sum, canvas) => sum + canvas.width, gap * (canvases.length - 1)),
    height: Math.max(...canvases.map((canvas) => canvas.height)) + line,
  });
  const context = sheet.getContext("2d");
  context.fillStyle = paper;
  context.fillRect(0, 0, sheet.width, sheet.height);
  let left = 0;
  for (const canvas of canvases) {
    context.drawImage(canvas, left, 0);
    left += canvas.width + gap;
  }
  context.fillStyle = ink;
  context.font = `${12 * scale}px system-ui, sans-serif`;
  context.fillText(words, gap, sheet.height - 9 * scale, sheet.width - 2 * gap);
  const link = element("a", { href: sheet.toDataURL("image/png"), download: `${name}.png` });
  link.click();
}
