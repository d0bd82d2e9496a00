// What a page lets a person hear: measured at the elements that play, whoever made them.
//
// Import it before anything that plays. `await pageEar.voices()` gives the session ids of those
// whose tone is heard now, through an element that plays, is not muted, and whose track lives.

const elements = new Set();
const { set, get, ...rest } = Object.getOwnPropertyDescriptor(
  HTMLMediaElement.prototype,
  "srcObject",
);
Object.defineProperty(HTMLMediaElement.prototype, "srcObject", {
  ...rest,
  get,
  set(stream) {
    if (stream) elements.add(this);
    return set.call(this, stream);
  },
});

const LOUD_DB = -50;
// The analyser looks at the last 4096 samples: after that, what it tells is of now.
const LISTEN_MS = 120;

let context;
const taps = new WeakMap();

/** What sounds on a track: an analyser, fed from the track itself. */
function tapOf(track) {
  if (!taps.has(track)) {
    context ??= new AudioContext();
    const source = new MediaStreamAudioSourceNode(context, {
      mediaStream: new MediaStream([track]),
    });
    const analyser = new AnalyserNode(context, { fftSize: 4096, smoothingTimeConstant: 0 });
    source.connect(analyser);
    taps.set(track, analyser);
  }
  return taps.get(track);
}

/** Tracks that reach a loudspeaker now. */
function playing() {
  return [...elements]
    .filter((element) => element.srcObject && !element.muted && element.volume > 0)
    .filter((element) => !element.paused)
    .flatMap((element) => element.srcObject.getAudioTracks())
    .filter((track) => track.readyState === "live" && track.enabled);
}

function hears(analyser, toneHz) {
  const levels = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(levels);
  const bin = Math.round((toneHz * analyser.fftSize) / context.sampleRate);
  return Math.max(...levels.slice(bin - 1, bin + 2)) > LOUD_DB;
}

globalThis.pageEar = {
  elements,
  playing,
  /** How often each voice is heard: more than once is an echo. */
  async counts() {
    playing().forEach(tapOf);
    await context?.resume();
    await new Promise((done) => setTimeout(done, LISTEN_MS));
    const counts = {};
    for (const analyser of playing().map(tapOf)) {
      for (const [who, toneHz] of Object.entries(globalThis.dailyRoom.tones)) {
        if (hears(analyser, toneHz)) counts[who] = (counts[who] ?? 0) + 1;
      }
    }
    return counts;
  },
  async voices() {
    return Object.keys(await this.counts()).sort();
  },
};
