// The worker of the composition widget: samples in the background, newest request first.
import { newsOf, openStage, reverse, scores } from "./core.js";

const stages = {};
let latest = 0;

// Messages that arrived are seen between two turns of the event loop; a timer would wait longer.
const channel = new MessageChannel();
const turn = () =>
  new Promise((resume) => {
    channel.port1.onmessage = resume;
    channel.port2.postMessage(0);
  });

async function sampled({ id, stage: name, settings, double }) {
  const began = performance.now();
  const stage = stages[name];
  if (stage.error) throw stage.error;
  const chain = reverse(stage, settings, double ? Float64Array : Float32Array);
  let seen = performance.now();
  let step = chain.next();
  while (!step.done) {
    if (performance.now() - seen > 8) {
      await turn();
      if (id !== latest) return;
      seen = performance.now();
    }
    step = chain.next();
  }
  const { states, timesteps, last } = step.value;
  if (!last.every(Number.isFinite)) throw new Error("the samples ran off beyond all numbers");
  const size = states.length / timesteps.length;
  const { points, wall, shift } = settings;
  const found = timesteps.map((_, frame) =>
    scores(stage, states.subarray(frame * size, (frame + 1) * size), points, wall, shift),
  );
  const news = newsOf(stage, states.subarray(-size), points, shift);
  const answer = { id, states, timesteps, last, scores: found, news, ms: performance.now() - began };
  self.postMessage(answer, [states.buffer, last.buffer]);
}

self.onmessage = ({ data }) => {
  if (data.open) {
    try {
      stages[data.name] = openStage(data.open);
    } catch (error) {
      stages[data.name] = { error }; // told to whoever asks for its samples
    }
    return;
  }
  latest = data.id;
  sampled(data).catch((error) => self.postMessage({ id: data.id, error: String(error) }));
};
