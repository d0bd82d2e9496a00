// A mouth on canvas, from the parameters that the sandbox computes of the sound.

import { faded } from "./paths.js";

const REST_HALF_WIDTH = 47;
const WIDEST = 13; // added to the half width of spread lips, `wide` 1
const ROUNDEST = 23; // taken from it for rounded ones, `wide` -1
const TALLEST = 58; // the opening's height at `open` 1

const clamp = (x) => Math.min(1, Math.max(0, x));

/** The mouth at rest: what is drawn while nothing sounds. */
export const CLOSED = Object.freeze({ open: 0, wide: 0, teeth: 0, press: 0 });

/** How far the chin drops, in the face's units. */
export const jawDrop = (mouth) => 30 * clamp(mouth.open);

/**
 * Draw a mouth whose closed lips meet at (0, 0).
 *
 * g: a 2D context. mouth: `open` 0 to 1, `wide` -1 (rounded) to 1 (spread), `teeth` 0 to 1 (as for s
 * and f), `press` 0 to 1 (lips together, as for m, b, p). colours: `lip`, `lipDark`, `lipLight`.
 * smile: how far the corners are up, 0 to 1.
 */
export function drawMouth(g, mouth, colours, smile) {
  const open = clamp(mouth.open);
  const round = clamp(-mouth.wide);
  const spread = clamp(mouth.wide);
  const thin = 1 - 0.34 * clamp(mouth.press) * (1 - open); // pressed lips roll inwards
  const half = REST_HALF_WIDTH + WIDEST * spread - ROUNDEST * round - 5 * open;
  const height = TALLEST * open * (1 - 0.12 * round);
  const up = height * 0.24; // the upper lip rises less than the jaw falls
  const down = height * 0.76;
  const corner = -7 * smile * (1 - round) + down * 0.22;
  const upperLip = (10 + 4 * round - 2.5 * spread) * thin;
  const lowerLip = (14.5 + 4 * round - 3 * spread) * thin;
  const fullness = 0.56 + 0.16 * round + 0.1 * open; // where the curves' handles stand

  const inner = new Path2D();
  inner.moveTo(-half + 3, corner);
  inner.bezierCurveTo(-half * fullness, -up - 2.5, -half * 0.28, -up, 0, -up + 1.5);
  inner.bezierCurveTo(half * 0.28, -up, half * fullness, -up - 2.5, half - 3, corner);
  inner.bezierCurveTo(half * fullness, down + 1, half * 0.34, down + 2, 0, down + 2);
  inner.bezierCurveTo(-half * 0.34, down + 2, -half * fullness, down + 1, -half + 3, corner);
  inner.closePath();

  const outer = new Path2D();
  outer.moveTo(-half - 2, corner);
  outer.bezierCurveTo(-half * 0.62, corner - up * 0.5 - upperLip * 0.72, -half * 0.34, -up - upperLip * 1.28, -half * 0.15, -up - upperLip * 1.12);
  outer.quadraticCurveTo(0, -up - upperLip * 0.78, half * 0.15, -up - upperLip * 1.12);
  outer.bezierCurveTo(half * 0.34, -up - upperLip * 1.28, half * 0.62, corner - up * 0.5 - upperLip * 0.72, half + 2, corner);
  outer.bezierCurveTo(half * (0.68 + 0.1 * open), down + lowerLip * 0.9, half * 0.34, down + lowerLip * 1.12, 0, down + lowerLip * 1.12);
  outer.bezierCurveTo(-half * 0.34, down + lowerLip * 1.12, -half * (0.68 + 0.1 * open), down + lowerLip * 0.9, -half - 2, corner);
  outer.closePath();

  const lips = g.createLinearGradient(0, -up - upperLip, 0, down + lowerLip);
  lips.addColorStop(0, colours.lipDark);
  lips.addColorStop(0.42, colours.lip);
  lips.addColorStop(1, colours.lip);
  g.fillStyle = lips;
  g.fill(outer);

  // The lower lip catches the light.
  g.save();
  g.clip(outer);
  const shine = g.createRadialGradient(0, down + lowerLip * 0.5, 1, 0, down + lowerLip * 0.5, half * 0.62);
  shine.addColorStop(0, colours.lipLight);
  shine.addColorStop(1, faded(colours.lipLight, 0));
  g.globalAlpha = 0.75;
  g.fillStyle = shine;
  g.fillRect(-half, down + 1, 2 * half, lowerLip);
  g.restore();

  if (height > 1.5) drawInside(g, inner, { half, up, down, height, mouth });
  g.strokeStyle = colours.lipDark;
  g.globalAlpha = 0.55;
  g.lineWidth = 2.6;
  g.lineCap = "round";
  g.stroke(inner);
  g.globalAlpha = 1;
}

function drawInside(g, inner, { half, up, down, height, mouth }) {
  g.save();
  g.clip(inner);
  const depth = g.createLinearGradient(0, -up, 0, down);
  depth.addColorStop(0, "#3a0f18");
  depth.addColorStop(1, "#64202a");
  g.fillStyle = depth;
  g.fillRect(-half - 4, -up - 6, 2 * half + 8, height + 14);
  // The tongue lies low, and comes up a little with narrow openings.
  g.fillStyle = "#c4606a";
  g.beginPath();
  g.ellipse(0, down + 4, half * 0.62, Math.max(5, height * 0.4), 0, 0, 2 * Math.PI);
  g.fill();
  g.fillStyle = "rgba(255,255,255,0.10)";
  g.beginPath();
  g.ellipse(0, down - height * 0.1, half * 0.36, Math.max(2, height * 0.12), 0, 0, 2 * Math.PI);
  g.fill();
  // The upper teeth stay where the skull is; the lip uncovers them.
  const shown = Math.min(height * 0.52, 6 + 9 * clamp(mouth.teeth) + 5 * clamp(mouth.wide));
  const teeth = new Path2D();
  teeth.roundRect(-half * 0.78, -up - 8, half * 1.56, shown + 8, [0, 0, 7, 7]);
  g.fillStyle = "#f7f3ec";
  g.fill(teeth);
  g.fillStyle = "rgba(60,20,30,0.16)";
  g.fillRect(-half, -up - 6, 2 * half, 9);
  // Hissing shows the lower ones, too.
  if (mouth.teeth > 0.35) {
    g.fillStyle = "#e9e2d8";
    g.beginPath();
    g.roundRect(-half * 0.6, down - 5 * clamp(mouth.teeth), half * 1.2, 14, [5, 5, 0, 0]);
    g.fill();
  }
  g.restore();
}
