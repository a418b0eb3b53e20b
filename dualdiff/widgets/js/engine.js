// The arithmetic of networks: in WebAssembly where single precision will do, or in JavaScript.
import { DENSE_WASM } from "./dense.js";

const ROWS = 4; // rows are computed in fours, so buffers have room for whole fours
export const roomFor = (n) => ROWS * Math.ceil(n / ROWS);
const upTo = (count, multiple) => multiple * Math.ceil(count / multiple);

/** Rows from..to of a matrix [m, columns], transposed: [to - from, wide], zeros beyond m. */
function transposed(matrix, m, columns, from, to, wide, out) {
  for (let i = 0; i < m; i++) {
    for (let q = from; q < to; q++) out[(q - from) * wide + i] = matrix[i * columns + q];
  }
  return out;
}

/** The same in JavaScript, in either precision. Matrices are kept as [m, k], m even. */
export function plainEngine(Floats) {
  return {
    reset() {},
    array: (count) => new Floats(count),
    width: (m) => upTo(m, 2),
    matrix(values, m, columns, from, to) {
      const k = to - from;
      const out = new Floats(upTo(m, 2) * k);
      for (let i = 0; i < m; i++) {
        for (let q = 0; q < k; q++) out[i * k + q] = values[i * columns + from + q];
      }
      return out;
    },
    dense: plainDense,
    activate(kind, h, count) {
      if (kind === "relu") {
        for (let i = 0; i < count; i++) if (h[i] < 0) h[i] = 0;
      } else {
        for (let i = 0; i < count; i++) h[i] /= 1 + Math.exp(-h[i]);
      }
    },
  };
}

/** out [n, m] = h [n, k] W^T + bias for W [m, k], m even; rows in fours, columns in twos. */
function plainDense(h, n, k, weight, m, bias, out) {
  for (let i = 0; i < n; i += ROWS) {
    const r0 = i * k;
    const r1 = r0 + k;
    const r2 = r1 + k;
    const r3 = r2 + k;
    for (let j = 0; j < m; j += 2) {
      let a0 = bias[j];
      let a1 = a0;
      let a2 = a0;
      let a3 = a0;
      let b0 = bias[j + 1];
      let b1 = b0;
      let b2 = b0;
      let b3 = b0;
      const u = j * k;
      const v = u + k;
      for (let q = 0; q < k; q++) {
        const left = weight[u + q];
        const right = weight[v + q];
        const x0 = h[r0 + q];
        const x1 = h[r1 + q];
        const x2 = h[r2 + q];
        const x3 = h[r3 + q];
        a0 += left * x0;
        a1 += left * x1;
        a2 += left * x2;
        a3 += left * x3;
        b0 += right * x0;
        b1 += right * x1;
        b2 += right * x2;
        b3 += right * x3;
      }
      const o = i * m + j;
      out[o] = a0;
      out[o + 1] = b0;
      out[o + m] = a1;
      out[o + m + 1] = b1;
      out[o + 2 * m] = a2;
      out[o + 2 * m + 1] = b2;
      out[o + 3 * m] = a3;
      out[o + 3 * m + 1] = b3;
    }
  }
}

/** The engine in WebAssembly; null where the browser has none, or no 128-bit arithmetic. */
export function fastEngine() {
  const bytes = Uint8Array.from(atob(DENSE_WASM), (letter) => letter.charCodeAt(0));
  let instance;
  try {
    instance = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  } catch {
    return null; // no WebAssembly, an old one, or one that the page's policy forbids
  }
  const { memory, dense, relu, silu } = instance.exports;
  let used = 0;
  const array = (count) => {
    const found = new Float32Array(memory.buffer, used, count);
    used += upTo(4 * count, 16);
    return found.fill(0);
  };
  return {
    reset: () => (used = 0), // arrays live for one request
    array,
    width: (m) => upTo(m, 8),
    matrix(values, m, columns, from, to) {
      const wide = upTo(m, 8);
      return transposed(values, m, columns, from, to, wide, array((to - from) * wide));
    },
    dense: (h, n, k, weight, m, bias, out) =>
      dense(h.byteOffset, n, k, weight.byteOffset, m, bias.byteOffset, out.byteOffset),
    activate: (kind, h, count) => (kind === "relu" ? relu : silu)(h.byteOffset, count),
  };
}
