// The microphone: 16-bit samples at 16 kHz over the room's socket, while this page has it.

import { byId, setText } from "./dom.js";

/** The button, the level beside it, and the sound behind them. */
export class Microphone {
  #room;
  #connection;
  #say;
  #button = byId("microphone");
  #wanted = false;
  #capture = null;

  /** say: tells the person something. */
  constructor(room, connection, say) {
    this.#room = room;
    this.#connection = connection;
    this.#say = say;
    this.#button.onclick = () => this.#turn(!this.#wanted);
    room.news.on("talk", () => this.#follow());
    room.news.on("hello", () => this.#askAgain());
  }

  /** The connection is gone, and the microphone with it. */
  lost() {
    this.#stop();
  }

  async #turn(isOn) {
    this.#wanted = isOn;
    if (!isOn) {
      this.#connection.send({ type: "microphone", is_on: false });
      this.#stop();
    } else if (await this.#start()) {
      this.#connection.send({ type: "microphone", is_on: true });
    } else {
      this.#wanted = false;
    }
    this.#show();
  }

  #askAgain() {
    if (this.#wanted && this.#capture !== null) this.#connection.send({ type: "microphone", is_on: true });
  }

  #follow() {
    const { can_speak: canSpeak, microphone } = this.#room.talk;
    if (this.#wanted && (!canSpeak || microphone === "taken")) {
      this.#wanted = false;
      this.#stop();
    }
    this.#show();
  }

  async #start() {
    if (this.#capture !== null) return true;
    if (!navigator.mediaDevices) {
      this.#say("This browser gives no microphone to a page at this address. Open it at 127.0.0.1.", "warning");
      return false;
    }
    let stream = null;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 } });
      const context = new AudioContext({ latencyHint: "interactive" });
      await context.audioWorklet.addModule("/room/microphone-worklet.js");
      const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
      context.createMediaStreamSource(stream).connect(node);
      node.port.onmessage = ({ data }) => this.#take(data);
      this.#capture = { stream, context };
      return true;
    } catch (error) {
      for (const track of stream?.getTracks() ?? []) track.stop();
      const refused = error.name === "NotAllowedError";
      this.#say(refused ? "The browser refused the microphone. Allow it for this page, and try again." : `There is no microphone to be had: ${error.message}`, "warning");
      return false;
    }
  }

  #stop() {
    for (const track of this.#capture?.stream.getTracks() ?? []) track.stop();
    this.#capture?.context.close();
    this.#capture = null;
    this.#level(0);
  }

  #take({ pcm, level }) {
    const isMine = this.#room.talk.microphone === "yours";
    if (isMine) this.#connection.sendSound(pcm);
    this.#level(isMine ? level : 0);
  }

  #level(level) {
    this.#button.style.setProperty("--level", String(Math.min(1, Math.sqrt(level) * 1.6)));
  }

  #show() {
    const { can_speak: canSpeak, microphone, is_hosted: isHosted } = this.#room.talk;
    const isOn = this.#wanted && microphone === "yours";
    this.#button.hidden = !isHosted;
    this.#button.disabled = !canSpeak || (microphone === "taken" && !this.#wanted);
    this.#button.setAttribute("aria-pressed", String(isOn));
    const words = isOn ? "Turn the microphone off" : microphone === "taken" ? "Another page has the microphone" : "Talk by voice";
    this.#button.title = canSpeak ? words : (this.#room.talk.why_not_speak ?? "This bot does not listen");
    setText(byId("microphone-label"), words);
  }
}
