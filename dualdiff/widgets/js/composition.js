// The composition widget: samples of two models at once, redrawn while a weight is dragged.
import { assign, element, fit, inks, keepDrawn, listen, picker } from "./ui.js";
import { coefficients } from "./rules.js";
import { axes, outlines, placeOf, points } from "./panel.js";
import WORKER from "./worker.js?text";

// While something moves: few points and, without fresh noise, few steps. Then all of them.
const ROUGH = { ancestral: { points: 100, steps: 30 }, "dpm++": { points: 100, steps: 12 } };
const REFINE_AFTER = 180; // ms of rest
const PLAY_EVERY = 120; // ms per step
const NO_KERNEL_AFTER = 4000; // ms without an answer
const ASKED = [
  ...["rule", "w_general", "w_specialised", "guidance"],
  ...["sampler", "steps", "points", "seed", "condition"],
];
const SAMPLES = { sum: "joint", composable: "told", guidance: "guided", smc: "smc" };
const NAMES = { general: "general model", specialised: "specialised model", truth: "wanted law" };

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const number = (x) => x.toFixed(Math.abs(x) < 10 ? 2 : 1);

/** What the model asks for, and why it cannot be had (null if it can). */
function request(model) {
  const [rule, general, specialised] = ["rule", "w_general", "w_specialised"].map((k) => model.get(k));
  const weights = coefficients(rule, general, specialised, model.get("guidance"));
  const corrected = rule === "smc";
  const { group, threshold } = model.get("resampling");
  const ancestral = model.get("sampler") === "ancestral";
  const common = { weights, corrected, ancestral, group, threshold, seed: model.get("seed") };
  const problem =
    rule !== "composable" && weights.general + weights.specialised <= 0
      ? "The weights need a positive sum: there is no such product of densities. Move one up."
      : null;
  return { common, problem };
}

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
    this.startWorker();
    const stops = [
      ...this.pickers.map((list) => list.stop),
      listen(model, ASKED, () => this.changed()),
      listen(model, ["scene"], () => this.newScene()),
      listen(model, ["frame"], () => this.again()),
      listen(model, ["source", "torch"], () => this.showSource()),
    ];
    this.drawn = keepDrawn(root, () => this.draw());
    this.again = () => this.drawn.again();
    this.stop = () => {
      stops.forEach((stop) => stop());
      Object.values(this.timers).forEach(clearTimeout);
      this.drawn.stop();
      this.worker?.terminate();
    };
    this.newScene(false);
  }

  get scene() {
    return this.model.get("scenes")[this.model.get("scene")];
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
    this.readout = element("div", { className: "dualdiff-scores" });
    this.status = element("p", { className: "dualdiff-faint", "aria-live": "polite" });
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
    this.root.append(choices, this.note, this.panels, this.readout, row, this.level, this.status);
    this.root.addEventListener("keydown", (event) => this.key(event));
  }

  /** One canvas per panel of the scene, and a pad for its condition if that can be moved. */
  buildPanels() {
    const { scene } = this;
    this.canvases = scene.panels.map((panel) => {
      const canvas = element("canvas", { tabIndex: 0, role: "img", "aria-label": panel.title });
      return element("figure", {}, canvas, element("figcaption", { textContent: panel.title }));
    });
    this.legend = this.buildLegend();
    this.panels.replaceChildren(...this.canvases, this.legend);
    this.pad = null;
    if (scene.movable) {
      const label = "condition: arrow keys move it, Shift makes the steps larger";
      this.pad = element("canvas", { tabIndex: 0, role: "application", "aria-label": label });
      const move = (event) => this.pointed(event);
      this.pad.addEventListener("pointerdown", (event) => {
        this.pad.setPointerCapture(event.pointerId);
        move(event);
      });
      this.pad.addEventListener("pointermove", (event) => event.buttons && move(event));
      this.pad.addEventListener("keydown", (event) => this.padKey(event));
      const caption = element("figcaption", { textContent: "the condition c: drag it" });
      this.legend.before(element("figure", { className: "dualdiff-pad" }, this.pad, caption));
    }
  }

  /** A mark and a word for every role; the marks are coloured when they are drawn. */
  buildLegend() {
    const kinds = new Set(this.scene.panels.flatMap((p) => p.outlines.map((line) => line.role)));
    const items = ["general", "specialised", "object", "truth"].filter((kind) => kinds.has(kind));
    const words = { ...NAMES, ...this.scene.names, samples: "samples" };
    const entries = [...items, "samples"].map((kind) => {
      const mark = element("i", { "data-role": kind });
      return element("span", { className: "dualdiff-key" }, mark, words[kind]);
    });
    return element("div", { className: "dualdiff-legend" }, ...entries);
  }

  colour(role) {
    if (role === "samples") return COLOURS[SAMPLES[this.model.get("rule")]];
    return role === "truth" || role === "object" ? inks().ink : COLOURS[role];
  }

  // --- sampling -------------------------------------------------------------------------------

  startWorker() {
    try {
      const address = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
      this.worker = new Worker(address);
      this.worker.onmessage = ({ data }) => this.arrived(data);
      this.worker.onerror = () => this.failed();
    } catch {
      this.failed();
    }
  }

  failed() {
    this.status.textContent =
      "This browser does not let the page compute in the background, so nothing moves here.";
  }

  changed() {
    clearTimeout(this.timers.refine);
    const guided = this.model.get("rule") === "guidance";
    assign(this.model, { weights_off: guided, guidance_off: !guided });
    this.ask(ROUGH[this.model.get("sampler")], false);
    this.timers.refine = setTimeout(() => this.refine(), REFINE_AFTER);
    this.showSource();
  }

  refine() {
    this.ask({ points: this.model.get("points"), steps: this.model.get("steps") }, true);
  }

  ask(size, fine) {
    const { common, problem } = request(this.model);
    this.problem = problem;
    this.again();
    if (problem || !this.worker) return;
    const name = this.model.get("scene");
    if (!this.opened.has(name)) {
      this.opened.add(name);
      this.worker.postMessage({ open: this.scene, name });
    }
    const steps = Math.min(size.steps, this.model.get("steps"));
    const points = Math.min(size.points, this.model.get("points"));
    const condition = this.model.get("condition");
    const settings = { ...common, steps, points, condition };
    // Rough ones wait for each other, or a fast hand would see none of them; what is being refined
    // is given up.
    if (this.sent && !this.sent.fine && !fine) {
      this.next = size;
      return;
    }
    this.id += 1;
    this.worker.postMessage({ id: this.id, stage: name, settings });
    this.sent = { id: this.id, fine, scene: name, points, steps };
    this.next = null;
  }

  arrived(answer) {
    const { sent } = this;
    if (answer.id !== sent?.id) return; // given up
    this.sent = null;
    if (answer.error) this.status.textContent = answer.error;
    else if (sent.scene === this.model.get("scene")) this.keep({ ...answer, ...sent });
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
      scores: { ...scores, points, steps },
    });
    this.again();
  }

  newScene(reset = true) {
    const { condition, note } = this.scene;
    this.result = null;
    this.note.textContent = note;
    this.buildPanels();
    const same = JSON.stringify(condition) === JSON.stringify(this.model.get("condition"));
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

  // --- the condition --------------------------------------------------------------------------

  moveTo(x, y) {
    const { low, high } = this.scene.movable;
    const condition = [...this.model.get("condition")];
    [x, y].forEach((value, k) => (condition[k] = Math.max(low[k], Math.min(high[k], value))));
    assign(this.model, { condition });
  }

  pointed(event) {
    const { low, high } = this.scene.movable;
    const box = this.pad.getBoundingClientRect();
    const right = (event.clientX - box.left) / box.width;
    const up = 1 - (event.clientY - box.top) / box.height;
    this.moveTo(low[0] + right * (high[0] - low[0]), low[1] + up * (high[1] - low[1]));
  }

  padKey(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const size = event.shiftKey ? 1 : 0.25;
    const [x, y] = this.model.get("condition");
    this.moveTo(x + size * moves[event.key][0], y + size * moves[event.key][1]);
  }

  // --- torch ----------------------------------------------------------------------------------

  /** Torch's samples, where they are wanted and belong to what is set now; null otherwise. */
  torchSamples() {
    const { settings, numbers } = this.model.get("torch");
    if (this.model.get("source") === "browser" || !numbers) return null;
    const same = (name) => JSON.stringify(settings[name]) === JSON.stringify(this.model.get(name));
    if (![...ASKED, "scene"].every(same)) return null;
    const end = numbers.byteOffset + numbers.byteLength;
    return new Float32Array(numbers.buffer.slice(numbers.byteOffset, end));
  }

  showSource() {
    clearTimeout(this.timers.kernel);
    this.missing = false;
    if (this.model.get("source") !== "browser") {
      this.timers.kernel = setTimeout(() => {
        this.missing = !this.torchSamples();
        this.again();
      }, NO_KERNEL_AFTER);
    }
    this.again();
  }

  // --- drawing --------------------------------------------------------------------------------

  draw() {
    const { result, scene } = this;
    const frame = Math.min(this.model.get("frame"), this.lastFrame);
    const torch = frame === this.lastFrame ? this.torchSamples() : null;
    const own = this.model.get("source") !== "torch" || !torch;
    this.canvases.forEach((figure, index) => {
      const panel = scene.panels[index];
      const canvas = figure.firstChild;
      const view = fit(canvas, panel.ratio);
      const place = placeOf(panel, view);
      axes(view, panel, place);
      outlines(view, panel, place, (role) => this.colour(role));
      if (result && own) {
        const size = result.states.length / result.timesteps.length;
        const now = result.states.subarray(frame * size, (frame + 1) * size);
        points(view, panel, place, now, result.points, this.colour("samples"), false);
      }
      if (torch) {
        points(view, panel, place, torch, this.model.get("torch").points, inks().ink, true);
      }
    });
    if (this.pad) this.drawPad();
    for (const mark of this.legend.querySelectorAll("i")) {
      mark.style.borderColor = this.colour(mark.dataset.role);
    }
    this.say(frame);
  }

  drawPad() {
    const view = fit(this.pad, 1);
    const { low, high, names } = this.scene.movable;
    const panel = { axes: [0, 1], x: [low[0], high[0]], y: [low[1], high[1]], labels: names };
    const place = placeOf(panel, view, 0);
    const { context, width, height } = view;
    const { paper, faint, ink } = inks();
    context.fillStyle = paper;
    context.fillRect(0, 0, width, height);
    context.strokeStyle = faint;
    context.strokeRect(0.5, 0.5, width - 1, height - 1);
    const [x, y] = place(this.model.get("condition"));
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
  }

  say(frame) {
    const { result, model, scene } = this;
    this.slider.max = this.lastFrame;
    this.slider.value = frame;
    this.slider.setAttribute("aria-valuetext", `step ${frame} of ${this.lastFrame}`);
    if (this.problem) {
      this.status.textContent = this.problem;
      return;
    }
    if (!result) return;
    const t = result.timesteps[frame];
    const abar = t < 0 ? 1 : scene.process.alpha_bar[t];
    this.level.textContent =
      `step ${frame} of ${this.lastFrame}: ` +
      (t < 0 ? "samples, no noise left" : `${percent(1 - abar)} of the variance is noise`);
    this.readout.replaceChildren(...this.scoreBoxes(result));
    const found = `accuracy ${percent(result.scores.accuracy)}`;
    this.canvases.forEach((figure, index) => {
      const label = `${scene.panels[index].title}: ${result.points} samples, ${found}`;
      figure.firstChild.setAttribute("aria-label", label);
    });
    const rough = result.fine ? "" : " (refined when you pause)";
    const c = scene.movable
      ? `, c = (${model.get("condition").map(number).join(", ")})`
      : "";
    const torch = this.torchWords();
    this.status.textContent =
      `${result.points} samples in ${result.steps} steps${c}: ${result.ms.toFixed(0)} ms in your ` +
      `browser${rough}.${torch}`;
  }

  torchWords() {
    if (this.model.get("source") === "browser") return "";
    if (this.missing) {
      return " No kernel answers here, so this is the browser: torch needs JupyterLab.";
    }
    const own = this.torchSamples();
    return own ? ` torch: ${this.model.get("torch").ms.toFixed(0)} ms.` : " Waiting for torch.";
  }

  scoreBoxes({ scores, points }) {
    const floor = this.scene.floors[String(points)];
    const perfect = floor === undefined ? "" : `a perfect sampler: ${floor.toFixed(2)}`;
    const boxes = [
      ["accuracy", percent(scores.accuracy), this.scene.inside],
      ["total variation", scores.total_variation.toFixed(2), perfect],
      ["unique", percent(scores.unique), "share of different samples"],
    ];
    return boxes.map(([name, value, hint]) =>
      element(
        "div",
        { className: "dualdiff-score", title: hint },
        element("b", { textContent: value }),
        element("span", { textContent: name }),
        element("small", { textContent: hint }),
      ),
    );
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
