// How a character holds itself: breathing, swaying, looking about, blinking. Pure: the same
// time, seed and mood give the same pose, so nothing has to be remembered between two frames.

const BREATH_SECS = 4.2;
const BLINK_EVERY_SECS = 3.7; // on average; the moment within each span depends on the seed
const BLINK_SECS = 0.17;
const GLANCE_EVERY_SECS = 2.3;
const GLANCE_SECS = 0.09; // how long the eyes are under way
const DOUBLE_BLINKS = 0.18; // share of blinks that come twice

/** A number from 0 to 1 that looks random and depends on nothing but its arguments. */
export function chance(seed, index) {
  let h = Math.imul(seed ^ Math.imul(index + 1, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
}

const smooth = (x) => x * x * (3 - 2 * x);
const wave = (secs, period, phase) => Math.sin((secs / period + phase) * 2 * Math.PI);

/** How far the lids are closed, 0 to 1. */
function lids(secs, seed) {
  const span = Math.floor(secs / BLINK_EVERY_SECS);
  const into = secs - span * BLINK_EVERY_SECS;
  const start = (0.1 + 0.7 * chance(seed, span)) * BLINK_EVERY_SECS;
  const starts = [start];
  if (chance(seed, span + 7919) < DOUBLE_BLINKS) starts.push(start + BLINK_SECS * 1.6);
  let closed = 0;
  for (const at of starts) {
    const x = (into - at) / BLINK_SECS;
    if (x > 0 && x < 1) closed = Math.max(closed, x < 0.4 ? smooth(x / 0.4) : smooth((1 - x) / 0.6));
  }
  return closed;
}

/** Where the eyes look: mostly at the viewer, sometimes a little aside. */
function gaze(secs, seed, calm) {
  const target = (index) => {
    if (chance(seed, index * 3) < (calm ? 0.72 : 0.55)) return [0, 0];
    return [(chance(seed, index * 3 + 1) - 0.5) * 1.2, (chance(seed, index * 3 + 2) - 0.5) * 0.5];
  };
  const index = Math.floor(secs / GLANCE_EVERY_SECS);
  const k = smooth(Math.min(1, (secs - index * GLANCE_EVERY_SECS) / GLANCE_SECS));
  const [from, to] = [target(index - 1), target(index)];
  return { x: from[0] + (to[0] - from[0]) * k, y: from[1] + (to[1] - from[1]) * k };
}

/**
 * The pose at a time.
 *
 * secs: any clock's seconds. seed: an integer of the character's own. mood: `speaking` and
 * `listening` from 0 to 1, and `still` where the viewer wants as little motion as possible:
 * then the character blinks and speaks, and does nothing else.
 */
export function poseAt(secs, seed, { speaking = 0, listening = 0, still = false } = {}) {
  const phase = chance(seed, 1);
  const pose = {
    lids: lids(secs, seed),
    gaze: { x: 0, y: 0 },
    breath: 0, // -1 to 1
    yaw: 0, // the head turned to its left or right, -1 to 1
    pitch: 0, // and up or down
    tilt: 0, // radians
    brows: 0.25 * speaking + 0.35 * listening, // raised, 0 to 1
  };
  if (still) return pose;
  const lively = 0.35 + 0.65 * speaking;
  pose.gaze = gaze(secs, seed, speaking > 0.5 || listening > 0.5);
  pose.breath = wave(secs, BREATH_SECS, phase);
  pose.yaw = lively * (0.6 * wave(secs, 5.3, phase) + 0.4 * wave(secs, 2.9, phase * 3)) + pose.gaze.x * 0.25;
  pose.pitch =
    lively * (0.5 * wave(secs, 4.1, phase * 5) + 0.5 * speaking * wave(secs, 1.7, phase * 2)) +
    listening * 0.25 * wave(secs, 3.3, phase);
  pose.tilt = 0.018 * lively * wave(secs, 6.7, phase * 7) + 0.035 * listening;
  pose.brows += speaking * 0.3 * Math.max(0, wave(secs, 2.6, phase * 4));
  return pose;
}
