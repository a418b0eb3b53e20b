// A widget on a page of its own, without Jupyter: its model is a plain object.
"use strict";

(async ({ place, script, style, state, buffers }) => {
  const root = document.getElementById(place);
  if (!root) return;
  const heard = {};
  const model = {
    get: (name) => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      for (const call of [...(heard[`change:${name}`] ?? [])]) call();
    },
    on: (event, call) => (heard[event] = [...(heard[event] ?? []), call]),
    off: (event, call) => (heard[event] = (heard[event] ?? []).filter((one) => one !== call)),
    save_changes() {},
    send() {}, // there is no kernel
  };
  for (const [path, text] of buffers) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    path.slice(0, -1).reduce((inside, name) => inside[name], state)[path.at(-1)] = new DataView(bytes.buffer);
  }
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const { default: widget } = await import(address);
  const sheet = document.createElement("style");
  sheet.textContent = style;
  document.head.append(sheet);
  const own = document.createElement("div");
  root.prepend(own);
  widget.render({ model, el: own });
  root.classList.add("dualdiff-lives"); // which hides what stands there for where no script runs
})(GIVEN);
