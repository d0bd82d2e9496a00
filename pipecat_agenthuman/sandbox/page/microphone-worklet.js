// Runs on the audio thread: whatever rate the microphone has, 16-bit samples at 16 kHz come out.

const RATE = 16000;
const MESSAGE_SAMPLES = 320; // 20 ms
const HALF_TAPS = 12; // of the low-pass on each side, in samples of the slower rate

class Microphone extends AudioWorkletProcessor {
  #step = sampleRate / RATE; // samples of the microphone for one of ours
  #reach = Math.ceil(HALF_TAPS * Math.max(1, this.#step));
  #held = new Float32Array(2 * this.#reach); // silence before the first sound
  #position = this.#reach; // of the next sample of ours, in what is held
  #out = new Int16Array(MESSAGE_SAMPLES);
  #filled = 0;
  #peak = 0;

  process([[sound]]) {
    if (sound === undefined) return true;
    const all = new Float32Array(this.#held.length + sound.length);
    all.set(this.#held);
    all.set(sound, this.#held.length);
    while (this.#position + this.#reach < all.length) {
      this.#put(this.#step === 1 ? all[this.#position] : this.#filtered(all));
      this.#position += this.#step;
    }
    const first = Math.max(0, Math.floor(this.#position) - this.#reach);
    this.#held = all.slice(first);
    this.#position -= first;
    return true;
  }

  /** One sample between those of the microphone, without what 16 kHz cannot hold. */
  #filtered(all) {
    const cutoff = Math.min(1, 1 / this.#step) * 0.94;
    let sum = 0;
    let weights = 0;
    for (let i = Math.ceil(this.#position - this.#reach); i <= this.#position + this.#reach; i++) {
      const x = (i - this.#position) * cutoff;
      const sinc = Math.abs(x) < 1e-9 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
      const window = 0.5 + 0.5 * Math.cos((Math.PI * (i - this.#position)) / (this.#reach + 1));
      sum += all[i] * sinc * window;
      weights += sinc * window;
    }
    return sum / weights;
  }

  #put(value) {
    const sample = Math.max(-1, Math.min(1, value));
    this.#out[this.#filled++] = Math.round(sample * 32767);
    this.#peak = Math.max(this.#peak, Math.abs(sample));
    if (this.#filled < MESSAGE_SAMPLES) return;
    const pcm = this.#out.slice().buffer;
    this.port.postMessage({ pcm, level: this.#peak }, [pcm]);
    this.#filled = 0;
    this.#peak = 0;
  }
}

registerProcessor("microphone", Microphone);
