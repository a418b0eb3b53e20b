// The composition widget: samples of two models at once, redrawn while a weight is dragged.
import { ASKED, keyOf, refusal, request, sceneOf, wallOf } from "./asked.js";
import { slider, weightControls } from "./controls.js";
import { canMove, grabbable } from "./grab.js";
import { conditionPad } from "./pad.js";
import { axes, outlines, placeOf, points, shareAt, wall } from "./panel.js";
import { percent, readout, scoreBoxes, shareBoxes } from "./readout.js";
import { follow, linkOf, savePicture, short } from "./share.js";
import { Torch } from "./torch.js";
import { assign, element, fit, inks, keepDrawn, listen, picker } from "./ui.js";
import WORKER from "./worker.js?text";

// While something moves: few points and, without fresh noise, few steps. Then all of them.
const ROUGH = { ancestral: { points: 100, steps: 30 }, "dpm++": { points: 100, steps: 12 } };
const REFINE_AFTER = 180; // ms of rest
const PLAY_EVERY = 120; // ms per step
const LATE_AFTER = 600; // ms without an answer: what is shown is no longer what is set
const SAMPLES = { sum: "joint", composable: "told", guidance: "guided", smc: "smc" };
const NAMES = { general: "general model", specialised: "specialised model", truth: "wanted law" };

const number = (x) => x.toFixed(Math.abs(x) < 10 ? 2 : 1);

class View {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.result = null; // the latest answer of the worker
    this.id = 0;
    this.opened = new Set(); // the scenes that the worker has
    this.timers = {};
    this.times = [];
    this.asked = model.get("compact") ? null : follow(model); // what the address asks for in vain
    this.build();
    this.drawn = keepDrawn(root, () => this.draw(), model.get("pictured"));
    this.again = () => this.drawn.again();
    this.torch = new Torch(model, this.again);
    this.startWorker();
    const relink = () => {
      this.asked = follow(model);
      this.changed();
    };
    if (!model.get("compact")) window.addEventListener("hashchange", relink);
    const bound = { ...this.pickers, ...this.sliders, weights: this.weights };
    const stops = [
      ...Object.values(bound).map((one) => one.stop),
      () => window.removeEventListener("hashchange", relink),
      listen(model, ASKED, () => this.changed()),
      listen(model, ["scene"], () => this.newScene()),
      listen(model, ["frame"], this.again),
      this.torch.stop,
      this.drawn.stop,
    ];
    this.stop = () => {
      stops.forEach((stop) => stop());
      Object.values(this.timers).forEach(clearTimeout);
      this.worker?.terminate();
    };
    this.newScene(false);
  }

  /** Undefined for a name that only a linked widget knows. */
  get scene() {
    return sceneOf(this.model);
  }

  /** Why what is shown is not what is set; null if it is. */
  get reason() {
    const now = keyOf(this.model);
    return (
      this.asked ??
      refusal(this.model) ??
      this.broken ??
      (this.failure?.key === now ? this.failure.text : null) ??
      (!this.result || (this.late && this.result.key !== now) ? "Computing …" : null)
    );
  }

  // --- elements -------------------------------------------------------------------------------

  build() {
    const { model } = this;
    const titles = model.get("titles");
    const button = (label, title, click) => {
      const found = element("button", { type: "button", textContent: label, title });
      found.addEventListener("click", click);
      return found;
    };
    const list = (trait, label) => picker(model, trait, label, Object.fromEntries(titles[trait]));
    this.pickers = {
      scene: list("scene", "scene"),
      rule: list("rule", "rule"),
      source: list("source", "computed by"),
      sampler: list("sampler", "sampler"),
    };
    this.weights = weightControls(model, { compact: model.get("compact") });
    this.sliders = {
      guidance: slider(model, "guidance", "guidance weight", {
        ...{ low: -1, high: 5, marks: [0, 1, 2, 3, 4, 5].map((value) => [value, String(value)]) },
      }),
      w_wall: slider(model, "w_wall", "weight, wall", { low: 0, high: 3, marks: [[0, "0"], [1, "1"]] }),
      wall: slider(model, "wall", "wall at", { low: 0, high: 1 }),
      steps: slider(model, "steps", "steps", { low: 1, high: this.mostSteps, step: 1 }),
    };
    this.note = element("p", { className: "dualdiff-note" });
    this.panels = element("div", { className: "dualdiff-panels" });
    this.readout = readout();
    this.play = button("▶ play", "Play the reverse process (space)", () => this.togglePlay());
    this.slider = element("input", { type: "range", min: 0, step: 1, "aria-label": "step" });
    this.slider.addEventListener("input", () => this.setFrame(Number(this.slider.value)));
    this.level = element("output", { className: "dualdiff-level" });
    this.link = button("copy link", "A link that opens this page as it is now", () => this.copyLink());
    const row = (...parts) => element("div", { className: "dualdiff-row" }, ...parts);
    const parts = this.pickers;
    this.more = element(
      "details",
      {},
      element("summary", { textContent: "a third model, sampler, steps" }),
      this.sliders.w_wall.place,
      this.sliders.wall.place,
      this.sliders.steps.place,
      row(parts.sampler.place),
    );
    const side = element(
      "div",
      { className: "dualdiff-side" },
      this.weights.place,
      this.sliders.guidance.place,
      this.readout.place,
      this.more,
      row(
        button("new noise", "Start from other noise", () => this.newNoise()),
        button("reset", "All settings as at the start", () => this.reset()),
        this.link,
        button("save picture", "Save the picture as a file", () => this.savePicture()),
      ),
    );
    const time = row(
      button("◀", "One step back", () => this.moveFrame(-1)),
      this.play,
      button("▶▏", "One step on", () => this.moveFrame(1)),
      this.slider,
    );
    this.body = element("div", { className: "dualdiff-body" }, this.panels, side);
    this.root.className = "dualdiff dualdiff-composition";
    if (model.get("compact")) {
      this.root.classList.add("dualdiff-compact");
      this.more.remove();
      side.lastChild.remove();
      const places = model.get("compact").map(([name, shift]) =>
        button(name, "Move the specialised model there", () => assign(model, { shift })),
      );
      side.prepend(element("p", { textContent: "Drag the small disc, or a weight:" }), row(...places));
      this.root.append(this.body);
    } else {
      const choices = row(parts.scene.place, parts.rule.place, parts.source.place);
      parts.scene.place.style.display = titles.scene.length > 1 ? "" : "none";
      this.root.append(choices, this.body, time, this.level, this.note);
    }
    this.root.addEventListener("keydown", (event) => this.key(event));
  }

  get mostSteps() {
    const scenes = Object.values(this.model.get("scenes"));
    return Math.min(60, ...scenes.map(({ process }) => process.alpha_bar.length));
  }

  /** One canvas per panel of the scene, and a pad for its condition if that can be moved. */
  buildPanels() {
    const scene = this.scene ?? { panels: [] };
    this.body.classList.toggle("dualdiff-two", scene.panels.length > 1);
    this.weights.offer(scene);
    for (const name of ["w_wall", "wall"]) {
      this.sliders[name].place.style.display = scene.wall ? "" : "none";
    }
    this.canvases = scene.panels.map((panel) => {
      const role = canMove(this.model) ? "application" : "img";
      const canvas = element("canvas", { tabIndex: 0, role, "aria-label": panel.title });
      if (scene.wall && panel.axes[0] === 0) this.dragWall(canvas);
      if (canMove(this.model)) {
        grabbable(this.model, canvas, panel, () => wallOf(this.model) === null);
      }
      return element("figure", {}, canvas, element("figcaption", { textContent: panel.title }));
    });
    this.legend = this.buildLegend(scene);
    this.panels.replaceChildren(...this.canvases, this.legend);
    this.pad = null;
    if (scene.movable) {
      this.pad = conditionPad(this.model, scene.movable);
      this.legend.before(this.pad.place);
    }
  }

  /** Let a pointer drag the wall, where it has a weight. */
  dragWall(canvas) {
    const drag = (event) => {
      if (wallOf(this.model) === null) return;
      const box = canvas.getBoundingClientRect();
      assign(this.model, { wall: shareAt({ width: box.width }, event.clientX - box.left) });
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (wallOf(this.model) === null) return;
      canvas.setPointerCapture(event.pointerId);
      drag(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && drag(event));
  }

  /** A mark and a word for every role; the marks are coloured when they are drawn. */
  buildLegend({ panels, names }) {
    const kinds = new Set(panels.flatMap((panel) => panel.outlines.map((line) => line.role)));
    if (panels.length) kinds.add("samples");
    const roles = ["general", "specialised", "object", "truth", "samples"];
    const words = { ...NAMES, ...names, samples: "samples" };
    const entries = roles.filter((kind) => kinds.has(kind)).map((kind) => {
      const mark = element("i", { "data-role": kind });
      return element("span", { className: "dualdiff-key" }, mark, words[kind]);
    });
    return element("div", { className: "dualdiff-legend" }, ...entries);
  }

  colour(role) {
    if (role === "samples") {
      return this.reason ? inks().faint : COLOURS[SAMPLES[this.model.get("rule")]];
    }
    return role === "truth" || role === "object" ? inks().ink : COLOURS[role];
  }

  // --- sampling -------------------------------------------------------------------------------

  startWorker() {
    try {
      const address = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
      this.worker = new Worker(address);
      this.worker.onmessage = ({ data }) => this.arrived(data);
      this.worker.onerror = ({ message }) => this.failed(message);
    } catch (error) {
      this.failed(error);
    }
  }

  failed(why) {
    this.worker?.terminate();
    this.worker = null;
    const because = why ? ` (${why})` : "";
    this.broken = `Nothing can be sampled: this page cannot compute in the background${because}.`;
    this.ask(ROUGH.ancestral, false); // which draws what there is no more
  }

  changed() {
    clearTimeout(this.timers.refine);
    const guided = this.model.get("rule") === "guidance";
    this.weights.place.style.display = guided ? "none" : "";
    this.sliders.guidance.place.style.display = guided ? "" : "none";
    this.ask(ROUGH[this.model.get("sampler")], false);
    this.timers.refine = setTimeout(() => this.refine(), REFINE_AFTER);
    this.torch.wait(this.torch.missing);
  }

  refine() {
    this.ask({ points: this.model.get("points"), steps: this.model.get("steps") }, true);
  }

  ask(size, fine) {
    this.again();
    if (this.asked || refusal(this.model) || !this.worker) {
      this.answered();
      this.next = null;
      assign(this.model, { scores: {} });
      return;
    }
    // Rough ones wait for each other, or a fast hand would see none of them; what is being refined
    // is given up.
    if (this.sent && !this.sent.fine && !fine) {
      this.next = size;
      return;
    }
    if (this.sent?.fine) this.answered(); // or the next one would be late at once
    const name = this.model.get("scene");
    if (!this.opened.has(name)) {
      this.opened.add(name);
      this.worker.postMessage({ open: this.scene, name });
    }
    const steps = Math.min(size.steps, this.model.get("steps"));
    const points = Math.min(size.points, this.model.get("points"));
    const settings = { ...request(this.model), steps, points };
    this.id += 1;
    this.worker.postMessage({ id: this.id, stage: name, settings });
    this.sent = { id: this.id, fine, scene: name, points, steps, key: keyOf(this.model) };
    this.next = null;
    this.timers.late ??= setTimeout(() => {
      this.late = true;
      this.again();
    }, LATE_AFTER);
  }

  answered() {
    clearTimeout(this.timers.late);
    Object.assign(this, { sent: null, late: false });
    this.timers.late = null;
  }

  arrived(answer) {
    const { sent } = this;
    if (answer.id !== sent?.id) return; // given up
    this.answered();
    if (answer.error) {
      this.failure = { key: sent.key, text: `Nothing could be sampled here: ${answer.error}.` };
      assign(this.model, { scores: {} });
      this.again();
    } else if (sent.scene === this.model.get("scene")) this.keep({ ...answer, ...sent });
    if (this.next) this.ask(this.next, false);
  }

  /** Show a result at the same share of its steps as the one before, at first at its end. */
  keep(result) {
    const share = this.result ? Math.min(1, this.model.get("frame") / this.lastFrame) : 1;
    this.result = result;
    const { scores, points, steps, ms } = result;
    this.times.push({ ms, points, steps });
    assign(this.model, {
      frame: Math.round(share * this.lastFrame),
      scores: { ...scores.at(-1), points, steps },
    });
    this.again();
  }

  newScene(reset = true) {
    const now = this.model.get("condition");
    const { condition, note } = this.scene ?? { condition: now, note: "" };
    this.result = null;
    if (reset) assign(this.model, { shift: [0, 0] });
    this.note.textContent = note;
    this.buildPanels();
    const same = JSON.stringify(condition) === JSON.stringify(now);
    if (reset && !same) assign(this.model, { condition }); // which is heard
    else this.changed();
  }

  newNoise() {
    assign(this.model, { seed: this.model.get("seed") + 1 });
  }

  reset() {
    this.pause();
    this.asked = null;
    const { scene, ...rest } = this.model.get("start");
    assign(this.model, { ...rest, frame: this.lastFrame });
    if (scene === this.model.get("scene")) assign(this.model, { condition: this.scene.condition });
    else assign(this.model, { scene });
    this.weights.narrow();
    this.changed();
  }

  /** The link goes to the clipboard, and where there is none it can be copied from the address. */
  async copyLink() {
    const address = `${window.location.href.split("#")[0]}#${linkOf(this.model)}`;
    window.history.replaceState(null, "", address);
    const copied = await navigator.clipboard?.writeText(address).then(() => true, () => false);
    this.link.textContent = copied ? "copied" : "see address";
    clearTimeout(this.timers.link);
    this.timers.link = setTimeout(() => (this.link.textContent = "copy link"), 2000);
  }

  savePicture() {
    const { model, scene } = this;
    const weights = ["w_general", "w_specialised"].map((trait) => short(model.get(trait)));
    const asked = model.get("rule") === "guidance" ? short(model.get("guidance")) : weights.join(", ");
    const rule = model.get("titles").rule.find(([name]) => name === model.get("rule"))?.[1];
    const words = `${scene.title}; ${rule}, ${asked}; ${this.result?.points ?? 0} samples`;
    const canvases = this.canvases.map((figure) => figure.firstChild);
    savePicture(canvases, words, `dualdiff-${model.get("scene")}`);
  }

  // --- time -----------------------------------------------------------------------------------

  get lastFrame() {
    return this.result ? this.result.timesteps.length - 1 : 0;
  }

  setFrame(frame) {
    assign(this.model, { frame: Math.max(0, Math.min(this.lastFrame, frame)) });
  }

  moveFrame(by) {
    this.pause();
    this.setFrame(Math.min(this.model.get("frame"), this.lastFrame) + by);
  }

  togglePlay() {
    if (this.timers.play) {
      this.pause();
      return;
    }
    if (this.model.get("frame") >= this.lastFrame) this.setFrame(0);
    this.play.textContent = "⏸ pause";
    this.timers.play = setInterval(() => {
      this.setFrame(this.model.get("frame") + 1);
      if (this.model.get("frame") >= this.lastFrame) this.pause();
    }, PLAY_EVERY);
  }

  pause() {
    clearInterval(this.timers.play);
    this.timers.play = null;
    this.play.textContent = "▶ play";
  }

  key(event) {
    if (event.key === " " && event.target.tagName === "CANVAS") {
      event.preventDefault();
      this.togglePlay();
    }
  }

  // --- drawing --------------------------------------------------------------------------------

  draw() {
    const { result, scene, reason } = this;
    const frame = Math.min(this.model.get("frame"), this.lastFrame);
    const torch = frame === this.lastFrame ? this.torch.samples() : null;
    const own = this.torch.source !== "torch" || !torch;
    this.root.classList.toggle("dualdiff-stale", Boolean(reason && result));
    this.pickers.source.place.style.display = this.torch.kernel ? "" : "none";
    this.link.style.display = this.torch.kernel ? "none" : ""; // with one the page is no book's
    const shift = this.model.get("shift");
    const moved = canMove(this.model) && shift.some((by) => by !== 0);
    // The wanted law moves with it: until its outline arrives there is none.
    const same = JSON.stringify(result?.news.shift) === JSON.stringify(shift);
    const truth = moved ? (same && result.news.outline) || [] : null;
    this.canvases.forEach((figure, index) => {
      const panel = scene.panels[index];
      const canvas = figure.firstChild;
      const view = fit(canvas, panel.ratio);
      const place = placeOf(panel, view);
      axes(view, panel, place);
      outlines(view, panel, place, (role) => this.colour(role), { shift: moved ? shift : [0, 0], truth });
      const stands = panel.axes[0] === 0 ? wallOf(this.model) : null;
      if (stands !== null) wall(view, panel, place, stands);
      if (stands !== null) canvas.style.cursor = "ew-resize";
      else if (canvas.style.cursor === "ew-resize") canvas.style.cursor = "";
      canvas.style.touchAction = stands === null ? "" : "none";
      if (result && own) {
        const size = result.states.length / result.timesteps.length;
        const now = result.states.subarray(frame * size, (frame + 1) * size);
        const opacity = reason ? 0.25 : 1;
        points(view, panel, place, now, result.points, this.colour("samples"), { opacity });
      }
      if (torch) {
        const count = this.model.get("torch").points;
        points(view, panel, place, torch, count, inks().ink, { rings: true });
      }
    });
    this.pad?.draw();
    for (const mark of this.legend.querySelectorAll("i")) {
      mark.style.borderColor = this.colour(mark.dataset.role);
    }
    this.say(frame, reason);
  }

  say(frame, reason) {
    const { result, model, scene } = this;
    this.slider.max = this.lastFrame;
    this.slider.value = frame;
    this.slider.setAttribute("aria-valuetext", `step ${frame} of ${this.lastFrame}`);
    const label = (text) =>
      this.canvases.forEach((figure, index) => {
        figure.firstChild.setAttribute("aria-label", `${scene.panels[index].title}: ${text}`);
      });
    if (reason) {
      this.readout.show([{ reason }], "", false);
      this.level.textContent = "";
      label(reason);
      return;
    }
    const t = result.timesteps[frame];
    const abar = t < 0 ? 1 : scene.process.alpha_bar[t];
    this.level.textContent =
      `step ${frame} of ${this.lastFrame}: ` +
      (t < 0 ? "samples, no noise left" : `${percent(1 - abar)} of the variance is noise`);
    const hand = canMove(model) ? "; arrow keys move the specialised model, Shift in larger steps" : "";
    label(`${result.points} samples, accuracy ${percent(result.scores[frame].accuracy)}${hand}`);
    const rough = result.fine ? "" : " (refined when you pause)";
    const pair = (values) => `(${values.map(number).join(", ")})`;
    const c = scene.movable ? `, c = ${pair(model.get("condition"))}` : "";
    const by = result.news.shift.some((x) => x !== 0)
      ? `, the specialised model moved by ${pair(result.news.shift)}`
      : "";
    const status =
      `${result.points} samples in ${result.steps} steps${c}${by}: ${result.ms.toFixed(0)} ms in your ` +
      `browser${rough}.${this.torch.words()}`;
    const boxes =
      model.get("compact") && result.news.shares
        ? shareBoxes(result)
        : scoreBoxes(result, frame, scene);
    this.readout.show(boxes, status, Boolean(this.timers.play));
  }
}

function render({ model, el }) {
  const root = element("div");
  el.append(root);
  const view = new View(model, root);
  root.view = view; // for the measurements of the tests
  return view.stop;
}

export default { render };
