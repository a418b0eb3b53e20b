/**
 * Weights of the noise predictions by rule (`compose.Weighted`, `compose.guided`).
 * @returns {{general: number, specialised: number, unconditional: number, wall: number}}
 */
export function coefficients(rule, general, specialised, guidance, wall) {
  if (rule === "guidance") {
    return { general: 1 - guidance, specialised: guidance, unconditional: 0, wall: 0 };
  }
  const rest = rule === "composable" ? 1 - general - specialised - wall : 0;
  return { general, specialised, unconditional: rest, wall };
}
