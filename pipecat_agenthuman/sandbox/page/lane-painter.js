// The lanes of the timeline on canvas, one function for each kind of lane.

import { PEAK_SECS } from "./sound-track.js";
import { leadCorners } from "./wire-words.js";

const TURN = 2 * Math.PI;
const LABEL_GAP = 10;
const HEAP_PX = 26;
const OWN_VOICE_ROOM = 60;
export const FONT = '11px "Inter", "SF Pro Text", "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

/** What a painter gets: the 2D context, the colours, `x(secs)`, the visible `from`/`to`, `now`, and `hit(box, thing)`. */

function pill(p, x, y, width, height, colour) {
  p.g.fillStyle = colour;
  p.g.beginPath();
  p.g.roundRect(x - width / 2, y - height / 2, width, height, Math.min(width, height) / 2);
  p.g.fill();
}

/** Messages of speech, on both ways: the longer the speech, the taller the pill. */
export function paintMessages(p, lane, marks, colour) {
  for (const { entry, words } of marks) {
    const samples = entry.samples ?? entry.audio_samples ?? 0;
    const height = 9 + (lane.height - 16) * Math.min(1, samples / (entry.sample_rate ?? 16000) / 1.2);
    pill(p, p.x(entry.at_secs), lane.middle, 4, height, words.bad ? p.colours.bad : colour);
    p.hit(p.x(entry.at_secs), lane, { entry, words });
  }
}

/** From each message down to its confirmation: the flatter the line, the longer it took. */
export function paintRoundTrips(p, from, to, marks) {
  p.g.strokeStyle = p.colours.confirm;
  p.g.globalAlpha = 0.45;
  p.g.lineWidth = 1.2;
  p.g.beginPath();
  for (const { entry } of marks) {
    if (entry.after_secs === undefined) continue;
    const [x0, x1] = [p.x(entry.at_secs - entry.after_secs), p.x(entry.at_secs)];
    const [y0, y1] = [from.middle + 6, to.middle - 6];
    p.g.moveTo(x0, y0);
    p.g.bezierCurveTo(x0, (y0 + y1) / 2, x1, (y0 + y1) / 2, x1, y1);
  }
  p.g.stroke();
  p.g.globalAlpha = 1;
}

/** Utterances as bars, with the sound's outline in them; behind a cut, what nobody heard. */
export function paintPlaying(p, lane, utterances, soundOf) {
  const ids = [...new Set(utterances.map((one) => one.session_id))];
  const height = (lane.height - 8) / Math.max(1, ids.length);
  for (const one of utterances) {
    const top = lane.top + 4 + ids.indexOf(one.session_id) * height;
    const box = { x: p.x(one.starts_at_secs), end: p.x(one.ends_at_secs), top, height: Math.max(4, height - 2) };
    if (one.dropped_secs > 0) paintDropped(p, box, p.x(one.ends_at_secs + one.dropped_secs));
    p.g.fillStyle = p.colours["speech-soft"];
    p.g.strokeStyle = p.colours.speech;
    p.g.beginPath();
    p.g.roundRect(box.x, box.top, Math.max(2, box.end - box.x), box.height, 4);
    if (one.state === "lost") {
      p.g.setLineDash([3, 3]);
      p.g.stroke();
      p.g.setLineDash([]);
    } else {
      p.g.fill();
    }
    paintSound(p, box, soundOf(one.session_id).runs);
    p.hit((box.x + box.end) / 2, { top: box.top, height: box.height }, { utterance: one }, (box.end - box.x) / 2);
  }
}

function paintDropped(p, box, end) {
  p.g.save();
  p.g.beginPath();
  p.g.roundRect(box.end, box.top, Math.max(1, end - box.end), box.height, 4);
  p.g.clip();
  p.g.strokeStyle = p.colours.cut;
  p.g.globalAlpha = 0.5;
  p.g.lineWidth = 1;
  p.g.beginPath();
  const first = Math.max(box.end, p.left);
  for (let x = first - ((first - box.end) % 6) - box.height; x < Math.min(end, p.right); x += 6) {
    p.g.moveTo(x, box.top + box.height);
    p.g.lineTo(x + box.height, box.top);
  }
  p.g.stroke();
  p.g.restore();
}

function paintSound(p, box, runs, voice = p.colours.speech) {
  const middle = box.top + box.height / 2;
  const draw = (colour, from, to) => {
    p.g.fillStyle = colour;
    for (const run of runs) {
      if (run.endsAt < from || run.startsAt > to) continue;
      const first = Math.max(0, Math.floor((Math.max(from, p.from) - run.startsAt) / PEAK_SECS));
      const last = Math.min(run.peaks.length, Math.ceil((Math.min(to, p.to) - run.startsAt) / PEAK_SECS));
      const step = Math.max(1, Math.round(2.5 / (p.perSec * PEAK_SECS)));
      for (let i = first - (first % step); i < last; i += step) {
        let peak = 0;
        for (let k = Math.max(0, i); k < Math.min(i + step, last); k++) peak = Math.max(peak, run.peaks[k] ?? 0);
        const half = Math.max(0.6, Math.min(1, Math.sqrt(peak) * 1.15) * (box.height / 2 - 2));
        const x = p.x(run.startsAt + i * PEAK_SECS);
        if (x >= box.x && x <= box.end) p.g.fillRect(x, middle - half, Math.max(1, step * PEAK_SECS * p.perSec - 0.8), half * 2);
      }
    }
  };
  draw(voice, -Infinity, p.now);
  p.g.globalAlpha = 0.4; // known already, not heard yet
  draw(voice, p.now, Infinity);
  p.g.globalAlpha = 1;
}

/** The bot's own voice, in the colour of no avatar. */
export function paintOwnVoice(p, lane, track) {
  for (const run of track.runs) {
    if (run.endsAt < p.from || run.startsAt > p.to) continue;
    const box = { x: p.x(run.startsAt), end: p.x(run.endsAt), top: lane.top + 4, height: lane.height - 10 };
    p.g.strokeStyle = p.colours.dim;
    p.g.setLineDash([3, 3]);
    p.g.beginPath();
    p.g.roundRect(box.x, box.top, Math.max(2, box.end - box.x), box.height, 4);
    p.g.stroke();
    p.g.setLineDash([]);
    paintSound(p, box, [run], p.colours.dim);
    if (box.end - box.x < OWN_VOICE_ROOM) continue;
    p.g.fillStyle = p.colours.surface; // so that the words can be read
    p.g.fillRect(box.x + 3, box.top + 2, OWN_VOICE_ROOM - 8, 12);
    p.g.fillStyle = p.colours.dim;
    p.g.fillText("own voice", box.x + 5, box.top + 8);
  }
}

/** The lead of each session as a line over an area. */
export function paintLead(p, lane, entriesBySession) {
  const lines = [...entriesBySession.values()].map(leadCorners);
  const visible = lines.flat().filter(([at]) => at >= p.from && at <= p.to);
  const most = Math.max(1, ...visible.map(([, lead]) => lead));
  const y = (lead) => lane.top + lane.height - 5 - (lead / most) * (lane.height - 10);
  for (const corners of lines) {
    if (corners.length === 0) continue;
    const trace = new Path2D();
    trace.moveTo(p.x(corners[0][0]), y(0));
    for (const [at, lead] of corners) trace.lineTo(p.x(at), y(lead));
    p.g.globalAlpha = 0.16;
    p.g.fillStyle = p.colours.accent;
    p.g.fill(trace);
    p.g.globalAlpha = 1;
    p.g.strokeStyle = p.colours.accent;
    p.g.lineWidth = 1.4;
    p.g.stroke(trace);
  }
  if (visible.length > 0) {
    p.g.fillStyle = p.colours.dim;
    p.g.textAlign = "right";
    p.g.fillText(`${most.toFixed(1)} s`, p.right - 4, lane.top + 11);
    p.g.textAlign = "left";
  }
}

/** Marks with as much of their words as there is room for. */
export function paintWords(p, lane, marks, shape) {
  for (const { entry, words } of marks) {
    shape(p, p.x(entry.at_secs), lane.middle, entry, words);
    p.hit(p.x(entry.at_secs), lane, { entry, words });
  }
  const heaps = heapsOf(p, marks);
  heaps.forEach((heap, index) => {
    const end = index + 1 < heaps.length ? heaps[index + 1].from : p.right;
    const room = end - heap.to - LABEL_GAP - 8;
    if (room < 34) return;
    p.g.fillStyle = heap.words.bad ? p.colours.bad : p.colours.dim;
    p.g.fillText(fitted(p.g, heap.words.text, Math.min(room, 240)), heap.to + LABEL_GAP, lane.middle + 0.5);
  });
}

/** Marks that lie so close that only one of them can be written out. */
function heapsOf(p, marks) {
  const heaps = [];
  for (const { entry, words } of marks) {
    const x = p.x(entry.at_secs);
    const last = heaps.at(-1);
    if (last === undefined || x - last.to > HEAP_PX) {
      heaps.push({ from: x, to: x, words });
      continue;
    }
    last.to = x;
    if (words.saying >= last.words.saying) last.words = words;
  }
  return heaps;
}

const widths = new Map();

function fitted(g, text, room) {
  if (!widths.has(text)) {
    if (widths.size > 2000) widths.clear();
    widths.set(text, g.measureText(text).width);
  }
  const width = widths.get(text);
  if (width <= room) return text;
  return `${text.slice(0, Math.max(1, Math.floor((text.length * room) / width) - 1))}…`;
}

/** A dot: full for what came from the bot, a ring for what went to it. */
export function dot(p, x, y, entry, words) {
  const colour = words.bad ? p.colours.bad : p.colours.calls;
  p.g.beginPath();
  p.g.arc(x, y, 4, 0, TURN);
  if (entry.direction === "out") {
    p.g.fillStyle = p.colours.surface;
    p.g.fill();
    p.g.strokeStyle = colour;
    p.g.lineWidth = 1.8;
    p.g.stroke();
  } else {
    p.g.fillStyle = colour;
    p.g.fill();
  }
}

/** A diamond for what interrupts. */
export function diamond(p, x, y, entry) {
  const size = entry.what === "agent.interrupt" ? 5.5 : 3.5;
  p.g.fillStyle = p.colours.cut;
  p.g.beginPath();
  p.g.moveTo(x, y - size);
  p.g.lineTo(x + size, y);
  p.g.lineTo(x, y + size);
  p.g.lineTo(x - size, y);
  p.g.closePath();
  if (entry.direction === "out") {
    p.g.strokeStyle = p.colours.cut;
    p.g.lineWidth = 1.6;
    p.g.stroke();
  } else {
    p.g.fill();
  }
}

/** A triangle for trouble; ordered trouble is hollow. */
export function triangle(p, x, y, entry) {
  p.g.beginPath();
  p.g.moveTo(x, y - 5.5);
  p.g.lineTo(x + 6, y + 4.5);
  p.g.lineTo(x - 6, y + 4.5);
  p.g.closePath();
  if (entry.what === "fault") {
    p.g.strokeStyle = p.colours.cut;
    p.g.lineWidth = 1.8;
    p.g.stroke();
  } else {
    p.g.fillStyle = p.colours.bad;
    p.g.fill();
  }
}
