// Torch's samples in the composition widget, where there is a kernel to make them.
import { ASKED } from "./asked.js";
import { listen } from "./ui.js";

const NO_TORCH_AFTER = 4000; // ms without an answer

/** Calls `again` whenever what is known of torch changes; `stop` ends that. */
export class Torch {
  constructor(model, again) {
    Object.assign(this, { model, again, kernel: false, missing: false, timer: 0 });
    const hear = (message) => {
      if (!message.kernel) return;
      this.kernel = true;
      this.wait();
    };
    model.on("msg:custom", hear);
    const unlisten = listen(model, ["source", "torch"], () => this.wait());
    this.stop = () => {
      clearTimeout(this.timer);
      model.off("msg:custom", hear);
      unlisten();
    };
    try {
      model.send({ ask: "kernel" }); // on a page without one nobody answers
    } catch {
      // and some have nothing to send it with
    }
  }

  get source() {
    return this.kernel ? this.model.get("source") : "browser";
  }

  /** The samples, where they are wanted and belong to what is set now; null otherwise. */
  samples() {
    const { settings, numbers } = this.model.get("torch");
    if (this.source === "browser" || !numbers) return null;
    const same = (name) => JSON.stringify(settings[name]) === JSON.stringify(this.model.get(name));
    if (![...ASKED, "scene"].every(same)) return null;
    const end = numbers.byteOffset + numbers.byteLength;
    return new Float32Array(numbers.buffer.slice(numbers.byteOffset, end));
  }

  /** Wait for an answer, unless torch is known to be `missing`: it did not answer the last time. */
  wait(missing = false) {
    clearTimeout(this.timer);
    this.missing = missing;
    if (this.source !== "browser" && !missing) {
      this.timer = setTimeout(() => {
        this.missing = !this.samples();
        this.again();
      }, NO_TORCH_AFTER);
    }
    this.again();
  }

  words() {
    if (this.source === "browser") return "";
    if (this.samples()) return ` torch: ${this.model.get("torch").ms.toFixed(0)} ms.`;
    if (!this.missing) return " Waiting for torch.";
    return " Torch does not answer: these are the browser's samples.";
  }
}
