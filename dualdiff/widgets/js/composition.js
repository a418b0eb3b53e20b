// The composition widget: samples of two models at once, redrawn while a weight is dragged.
import { ASKED, keyOf, refusal, request, wallOf } from "./asked.js";
import { conditionPad } from "./pad.js";
import { axes, outlines, placeOf, points, shareAt, wall } from "./panel.js";
import { percent, readout, scoreBoxes } from "./readout.js";
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
    this.build();
    this.drawn = keepDrawn(root, () => this.draw(), model.get("pictured"));
    this.again = () => this.drawn.again();
    this.torch = new Torch(model, this.again);
    this.startWorker();
    const stops = [
      ...this.pickers.map((list) => list.stop),
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
    return this.model.get("scenes")[this.model.get("scene")];
  }

  /** Why what is shown is not what is set; null if it is. */
  get reason() {
    const now = keyOf(this.model);
    return (
      refusal(this.model) ??
      this.broken ??
      (this.failure?.key === now ? this.failure.text : null) ??
      (!this.result || (this.late && this.result.key !== now) ? "Computing …" : null)
    );
  }

  // --- elements -------------------------------------------------------------------------------

  build() {
    const button = (label, title, click) => {
      const found = element("button", { type: "button", textContent: label, title });
      found.addEventListener("click", click);
      return found;
    };
    this.note = element("p", { className: "dualdiff-note" });
    this.panels = element("div", { className: "dualdiff-panels" });
    this.play = button("▶ play", "Play the reverse process (space)", () => this.togglePlay());
    this.slider = element("input", { type: "range", min: 0, step: 1, "aria-label": "step" });
    this.slider.addEventListener("input", () => this.setFrame(Number(this.slider.value)));
    this.level = element("output", { className: "dualdiff-level" });
    const row = element(
      "div",
      { className: "dualdiff-row" },
      button("◀", "One step back", () => this.moveFrame(-1)),
      this.play,
      button("▶▏", "One step on", () => this.moveFrame(1)),
      this.slider,
      button("new noise", "Start from other noise", () => this.newNoise()),
      button("reset", "All settings as at the start", () => this.reset()),
    );
    this.readout = readout();
    this.root.className = "dualdiff dualdiff-composition";
    const titles = this.model.get("titles");
    const lists = { scene: "scene", rule: "rule", sampler: "sampler", source: "computed by" };
    this.pickers = Object.entries(lists)
      .filter(([trait]) => titles[trait].length > 1)
      .map(([trait, label]) => picker(this.model, trait, label, Object.fromEntries(titles[trait])));
    const choices = element(
      "div",
      { className: "dualdiff-row" },
      ...this.pickers.map((list) => list.place),
    );
    this.root.append(choices, this.note, this.panels, this.readout.place, row, this.level);
    this.root.addEventListener("keydown", (event) => this.key(event));
  }

  /** One canvas per panel of the scene, and a pad for its condition if that can be moved. */
  buildPanels() {
    const scene = this.scene ?? { panels: [] };
    this.canvases = scene.panels.map((panel) => {
      const canvas = element("canvas", { tabIndex: 0, role: "img", "aria-label": panel.title });
      if (scene.wall && panel.axes[0] === 0) this.dragWall(canvas);
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
    assign(this.model, { weights_off: guided, guidance_off: !guided });
    this.ask(ROUGH[this.model.get("sampler")], false);
    this.timers.refine = setTimeout(() => this.refine(), REFINE_AFTER);
    this.torch.wait(this.torch.missing);
  }

  refine() {
    this.ask({ points: this.model.get("points"), steps: this.model.get("steps") }, true);
  }

  ask(size, fine) {
    this.again();
    if (refusal(this.model) || !this.worker) {
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
    const { scene, ...rest } = this.model.get("start");
    assign(this.model, { ...rest, frame: this.lastFrame });
    if (scene === this.model.get("scene")) assign(this.model, { condition: this.scene.condition });
    else assign(this.model, { scene });
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
    const source = this.pickers.find((list) => list.trait === "source").place;
    source.style.display = this.torch.kernel ? "" : "none";
    this.canvases.forEach((figure, index) => {
      const panel = scene.panels[index];
      const canvas = figure.firstChild;
      const view = fit(canvas, panel.ratio);
      const place = placeOf(panel, view);
      axes(view, panel, place);
      outlines(view, panel, place, (role) => this.colour(role));
      const stands = panel.axes[0] === 0 ? wallOf(this.model) : null;
      if (stands !== null) wall(view, panel, place, stands);
      canvas.style.cursor = stands === null ? "" : "ew-resize";
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
    label(`${result.points} samples, accuracy ${percent(result.scores[frame].accuracy)}`);
    const rough = result.fine ? "" : " (refined when you pause)";
    const c = scene.movable
      ? `, c = (${model.get("condition").map(number).join(", ")})`
      : "";
    const status =
      `${result.points} samples in ${result.steps} steps${c}: ${result.ms.toFixed(0)} ms in your ` +
      `browser${rough}.${this.torch.words()}`;
    this.readout.show(scoreBoxes(result, frame, scene), status, Boolean(this.timers.play));
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
