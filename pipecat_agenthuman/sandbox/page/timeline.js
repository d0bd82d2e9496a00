// The wire over time: lanes on a canvas that runs along, stands still, is moved and looked into.

import { byId, make, prefersStillness, setText } from "./dom.js";
import { FONT, diamond, dot, paintLead, paintMessages, paintOwnVoice, paintPlaying, paintRoundTrips, paintWords, triangle } from "./lane-painter.js";
import { palette } from "./palette.js";
import { pageNow } from "./sandbox-clock.js";
import { LANES, wordsOf } from "./wire-words.js";

const LANE_HEIGHTS = { playing: 46, lead: 38 };
const LANE_HEIGHT = 30;
const AXIS_HEIGHT = 22;
const GUTTER = 86;
const NARROW = 520; // below it, labels stand in the lanes
const LABEL_HEIGHT = 11; // which makes the lanes so much taller
const SPANS = [5, 10, 20, 40, 90, 180]; // seconds to be seen
const AHEAD = 0.08; // of the span: speech is known before it sounds
const FRAME_SECS = 1 / 30;
const STILL_FRAME_SECS = 0.5;
const NEAR = 7; // pixels

/** Draws the timeline and answers mouse and keys. */
export class Timeline {
  #room;
  #clock;
  #filter;
  #canvas = byId("timeline");
  #tip = byId("timeline-tip");
  #span = SPANS[2];
  #frozenAt = null; // the time at the right edge while paused
  #targets = [];
  #focused = null;
  #drawnAt = 0;
  #drag = null;

  /** Called with what was clicked: `{entry, words}` or `{utterance}`. */
  onPick = null;
  /** Called when it was paused or goes on. */
  onPause = null;

  /** filter: says which lanes and sessions are to be seen. */
  constructor(room, clock, filter) {
    this.#room = room;
    this.#clock = clock;
    this.#filter = filter;
    this.#listen();
    const loop = () => {
      requestAnimationFrame(loop);
      const every = prefersStillness() ? STILL_FRAME_SECS : FRAME_SECS;
      if (pageNow() - this.#drawnAt >= every * 0.9) this.draw();
    };
    requestAnimationFrame(loop);
  }

  /** Whether it stands still. */
  get isPaused() {
    return this.#frozenAt !== null;
  }

  /** Stand still, or go on with the time. */
  pause(isPaused) {
    if (isPaused === this.isPaused) return;
    this.#frozenAt = isPaused ? this.#end() : null;
    this.onPause?.(isPaused);
  }

  /** Show more (-1) or less (1) time. */
  zoom(direction) {
    const index = SPANS.indexOf(this.#span) - direction;
    this.#span = SPANS[Math.min(SPANS.length - 1, Math.max(0, index))];
    setText(byId("span"), `${this.#span} s`);
    this.draw();
  }

  #now() {
    return this.#clock.at(pageNow());
  }

  #end() {
    return this.#frozenAt ?? this.#now() + Math.max(0.8, this.#span * AHEAD);
  }

  // --- drawing ---

  /** Draw now. */
  draw() {
    this.#drawnAt = pageNow();
    const width = this.#canvas.clientWidth;
    if (width === 0 || this.#room.hello === null) return;
    const isNarrow = width < NARROW;
    const lanes = this.#layOut(isNarrow ? LABEL_HEIGHT : 0);
    const bottom = lanes.at(-1) ? lanes.at(-1).top + lanes.at(-1).height : 0;
    const height = bottom + AXIS_HEIGHT;
    const g = this.#fit(width, height);
    const left = isNarrow ? 6 : GUTTER;
    const right = width - 6;
    const to = this.#end();
    const from = to - this.#span;
    const perSec = (right - left) / this.#span;
    const colours = palette();
    this.#targets = [];
    const painter = {
      g, colours, from, to, left, right, perSec, now: this.#now(), x: (secs) => left + (secs - from) * perSec,
      hit: (x, lane, thing, half = 4) => this.#targets.push({ x, half, top: lane.top, bottom: lane.top + lane.height, thing }),
    };
    g.clearRect(0, 0, width, height);
    g.font = FONT;
    g.textBaseline = "middle";
    this.#paintGround(painter, lanes, bottom);
    g.save();
    g.beginPath();
    g.rect(left, 0, right - left, height);
    g.clip();
    this.#paintLanes(painter, lanes);
    this.#paintNow(painter, bottom);
    g.restore();
    this.#paintLabels(painter, lanes, isNarrow);
    this.#paintFocus(painter);
  }

  #layOut(labelHeight) {
    let bottom = 0;
    return LANES.filter((lane) => this.#filter.showsLane(lane.id)).map((lane) => {
      const height = LANE_HEIGHTS[lane.id] ?? LANE_HEIGHT;
      const top = bottom + labelHeight;
      bottom = top + height;
      return { ...lane, top, height, middle: top + height / 2 };
    });
  }

  #fit(width, height) {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const [pixelWidth, pixelHeight] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.#canvas.width !== pixelWidth || this.#canvas.height !== pixelHeight) {
      Object.assign(this.#canvas, { width: pixelWidth, height: pixelHeight });
      this.#canvas.style.height = `${height}px`;
    }
    const g = this.#canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    return g;
  }

  #paintGround({ g, colours, left, right, from, to, now, x }, lanes, bottom) {
    g.fillStyle = colours.sunken; // what is still to come
    g.globalAlpha = 0.7;
    g.fillRect(Math.max(left, x(now)), 0, Math.max(0, right - Math.max(left, x(now))), bottom);
    g.globalAlpha = 1;
    g.strokeStyle = colours.line;
    g.lineWidth = 1;
    g.beginPath();
    for (const lane of lanes) {
      g.moveTo(0, lane.top + lane.height - 0.5);
      g.lineTo(right, lane.top + lane.height - 0.5);
    }
    const step = [1, 2, 5, 10, 20, 30].find((secs) => (secs / (to - from)) * (right - left) > 62) ?? 60;
    g.fillStyle = colours.dim;
    g.textAlign = "center";
    for (let secs = Math.ceil(from / step) * step; secs <= to; secs += step) {
      if (secs < 0) continue;
      g.moveTo(x(secs), 0);
      g.lineTo(x(secs), bottom + 4);
      const label = `${Math.floor(secs / 60)}:${String(secs % 60).padStart(2, "0")}`;
      if (x(secs) > left + 12 && x(secs) < right - 12) g.fillText(label, x(secs), bottom + 13);
    }
    g.textAlign = "left";
    g.globalAlpha = 0.7;
    g.stroke();
    g.globalAlpha = 1;
  }

  #paintLanes(painter, lanes) {
    const marks = this.#visibleMarks(painter);
    const lane = Object.fromEntries(lanes.map((one) => [one.id, one]));
    const utterances = [...this.#room.utterances.values()].filter(
      (one) =>
        this.#filter.showsSession(one.session_id) &&
        one.starts_at_secs < painter.to &&
        one.ends_at_secs + one.dropped_secs > painter.from,
    );
    if (lane.playing) paintPlaying(painter, lane.playing, utterances, (id) => this.#room.soundOf(id));
    if (lane.playing) paintOwnVoice(painter, lane.playing, this.#room.ownVoice);
    if (lane.lead) paintLead(painter, lane.lead, this.#leadEntries());
    if (lane.audio && lane.confirmed) paintRoundTrips(painter, lane.audio, lane.confirmed, marks.confirmed);
    if (lane.audio) paintMessages(painter, lane.audio, marks.audio, painter.colours.speech);
    if (lane.confirmed) paintMessages(painter, lane.confirmed, marks.confirmed, painter.colours.confirm);
    if (lane.calls) paintWords(painter, lane.calls, marks.calls, dot);
    if (lane.interrupts) paintWords(painter, lane.interrupts, marks.interrupts, diamond);
    if (lane.trouble) paintWords(painter, lane.trouble, marks.trouble, triangle);
  }

  #visibleMarks({ from, to }) {
    const marks = Object.fromEntries(LANES.map(({ id }) => [id, []]));
    const entries = this.#room.entries;
    let low = 0;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (entries[middle].at_secs < from - 12) low = middle + 1; // labels reach in from the left
      else high = middle;
    }
    for (let i = low; i < entries.length && entries[i].at_secs <= to; i++) {
      if (!this.#filter.showsSession(entries[i].session_id)) continue;
      const words = wordsOf(entries[i]);
      if (words !== null) marks[words.lane].push({ entry: entries[i], words });
    }
    return marks;
  }

  #leadEntries() {
    const bySession = new Map();
    for (const entry of this.#room.entries) {
      if (entry.session_id === null || !this.#filter.showsSession(entry.session_id)) continue;
      if (!bySession.has(entry.session_id)) bySession.set(entry.session_id, []);
      bySession.get(entry.session_id).push(entry);
    }
    return bySession;
  }

  #paintNow({ g, colours, x, now }, bottom) {
    g.fillStyle = colours.accent;
    g.fillRect(x(now) - 0.75, 0, 1.5, bottom + 3);
  }

  #paintLabels({ g, colours }, lanes, isNarrow) {
    g.textAlign = "left";
    g.fillStyle = colours.dim;
    if (isNarrow) g.font = FONT.replace("11px", "10px");
    for (const lane of lanes) g.fillText(lane.label, 4, isNarrow ? lane.top + 1 : lane.middle + 0.5);
    g.font = FONT;
  }

  #paintFocus({ g, colours }) {
    const target = this.#targets.find(({ thing }) => same(thing, this.#focused));
    if (target === undefined) return;
    g.strokeStyle = colours.ink;
    g.lineWidth = 1.5;
    g.beginPath();
    g.roundRect(target.x - target.half - 5, target.top + 2, 2 * target.half + 10, target.bottom - target.top - 4, 6);
    g.stroke();
  }

  // --- mouse and keys ---

  #listen() {
    const canvas = this.#canvas;
    canvas.addEventListener("pointerdown", (event) => {
      this.#drag = { x: event.clientX, end: this.#end(), moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => (this.#drag ? this.#pan(event) : this.#hover(event)));
    canvas.addEventListener("pointerup", (event) => {
      const wasDragged = this.#drag?.moved;
      this.#drag = null;
      if (!wasDragged) this.#pick(this.#near(event));
    });
    canvas.addEventListener("pointercancel", () => (this.#drag = null));
    canvas.addEventListener("pointerleave", () => (this.#tip.hidden = true));
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  #pan(event) {
    const moved = event.clientX - this.#drag.x;
    if (!this.#drag.moved && Math.abs(moved) < 5) return;
    this.#drag.moved = true;
    this.#tip.hidden = true;
    this.pause(true);
    this.#frozenAt = this.#drag.end - (moved / (this.#canvas.clientWidth - GUTTER)) * this.#span;
  }

  #near(event) {
    const box = this.#canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const distance = (target) => Math.max(0, Math.abs(target.x - x) - target.half);
    const inLane = this.#targets.filter((target) => y >= target.top && y < target.bottom && distance(target) < NEAR);
    return inLane.sort((a, b) => distance(a) - distance(b))[0] ?? null;
  }

  #hover(event) {
    const target = this.#near(event);
    this.#canvas.style.cursor = target ? "pointer" : "";
    this.#tip.hidden = target === null;
    if (target === null) return;
    const { entry, words, utterance } = target.thing;
    const at = entry?.at_secs ?? utterance.starts_at_secs;
    this.#tip.replaceChildren(make("b", {}, words?.text ?? utterance.summary), make("span", {}, `${at.toFixed(3)} s · click for the message`));
    const box = this.#canvas.getBoundingClientRect();
    const x = Math.min(Math.max(event.clientX - box.left, 90), box.width - 130);
    this.#tip.style.left = `${x}px`;
    this.#tip.style.top = `${target.top - 6}px`;
  }

  #pick(target) {
    if (target === null) return;
    this.#focused = target.thing;
    this.#tip.hidden = true;
    this.onPick?.(target.thing);
  }

  #key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" && this.#focused) return this.onPick?.(this.#focused);
    if (event.key === "+" || event.key === "-") return this.zoom(event.key === "+" ? 1 : -1);
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.pause(true);
    this.draw(); // what came since the last picture is there to be chosen, too
    const ordered = this.#targets.toSorted((a, b) => a.x - b.x);
    const index = ordered.findIndex(({ thing }) => same(thing, this.#focused));
    const next = index < 0 ? ordered.length - 1 : Math.min(ordered.length - 1, Math.max(0, index + steps[event.key]));
    if (index === next) this.#frozenAt += (this.#span / 2) * Math.sign(steps[event.key]); // at the edge: look beyond it
    this.#focused = ordered[next]?.thing ?? null;
    const { words, utterance, entry } = this.#focused ?? {};
    if (this.#focused) setText(byId("timeline-said"), `${(entry?.at_secs ?? utterance.starts_at_secs).toFixed(2)} seconds: ${words?.text ?? utterance.summary}`);
    this.draw();
  }
}

/** Whether two things on the timeline are one: entries stay, utterances are replaced as they grow. */
function same(a, b) {
  if (!a || !b) return false;
  if (a.entry || b.entry) return a.entry === b.entry;
  return a.utterance.session_id === b.utterance.session_id && a.utterance.number === b.utterance.number;
}
